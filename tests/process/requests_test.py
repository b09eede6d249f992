"""Many ask for shutdown, each with a plan of his own: the ledger merges them all."""

import datetime
import random
import signal
import threading
import time
import unittest

import grpc

from clients import SLACK, wait_until
from echo_pb2 import EchoRequest
from echo_pb2 import ShutdownRequest as EchoShutdown
from harness import Daemon
from lastcall.admin.v1 import admin_pb2

CONFIGURED = {"delay": 20.0, "grace": 20.0, "cancel": 20.0}
STAGES = ("delay", "grace", "cancel")
# Instants in a receipt are written to the millisecond.
NEAR = 0.05


def instants(request):
    """When the stages after delay, grace and cancel begin, by one entry of the receipt."""
    instant = datetime.datetime.fromisoformat(request["at"].replace("Z", "+00:00")).timestamp()
    found = []
    for stage in STAGES:
        instant += request.get(f"{stage}_s", CONFIGURED[stage])
        found.append(instant)
    return found


def minimum(requests):
    return [min(column) for column in zip(*map(instants, requests))]


def admin_request(admin, reason, **lengths):
    """Asks the admin service; its reply."""
    request = admin_pb2.ShutdownRequest(reason=reason)
    for stage, seconds in lengths.items():
        setattr(request, f"{stage}_s", seconds)
    return admin.Shutdown(request, timeout=20)


def crowd(actions):
    """Runs them in threads of their own, all at the same moment."""
    start = threading.Barrier(len(actions))
    failures = []

    def run(action):
        start.wait()
        try:
            action()
        except Exception as error:  # pylint: disable=broad-except
            failures.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


class LengthsTest(unittest.TestCase):
    def test_what_is_no_length_is_refused(self):
        """NaN is not 0: it would end a stage, and the calls in it."""
        with Daemon() as daemon:
            held, admin = daemon.held(), daemon.admin()
            for stage in STAGES:
                for seconds, written in ((float("nan"), "nan"), (-float("nan"), "-nan"),
                                         (-1.0, "-1.000000"), (-float("inf"), "-inf")):
                    for dry_run in (True, False):
                        with self.assertRaises(grpc.RpcError) as refused:
                            admin.Shutdown(admin_pb2.ShutdownRequest(
                                dry_run=dry_run, **{f"{stage}_s": seconds}), timeout=20)
                        self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
                        self.assertEqual(
                            refused.exception.details(),
                            f"{stage}_s must be 0 or more seconds, not {written}; "
                            "infinity means no limit")
            self.assertEqual(daemon.current_stage(), "serving")
            plan = admin_request(admin, "patience", delay=float("inf")).plan
            self.assertFalse(plan.HasField("grace_in_s"))
            held.finish()


class ManyRequestsTest(unittest.TestCase):
    CALLERS = 64

    def random_lengths(self, chance):
        """A plan that leaves out what the chance decides, never nearer than the crowd needs."""
        ranges = {"delay": (6.0, 10.0), "grace": (0.5, 3.0), "cancel": (0.5, 2.0)}
        return {stage: chance.uniform(*ranges[stage])
                for stage in STAGES if chance.random() < 0.7}

    def test_the_minimum_wins(self):
        seed = random.randrange(1 << 30)
        chance = random.Random(seed)
        shutdown = {stage: f"{int(seconds)}s" for stage, seconds in CONFIGURED.items()}
        with self.subTest(seed=seed), Daemon(shutdown=shutdown) as daemon:
            moved = {}
            stubborn = daemon.slow(60, method="Stubborn")
            daemon.await_calls(1, "Stubborn")

            def by_admin(number, admin, lengths):
                reply = admin_request(admin, f"admin {number}", **lengths)
                moved[f"admin {number}"] = reply.moved

            handler = daemon.echo()
            actions = [lambda: daemon.ctl("shutdown", "--no-wait", "--reason", "ctl",
                                          "--delay", "8s", "--grace", "0.8s", check=True),
                       lambda: handler.Shutdown(EchoShutdown(reason="handler"), timeout=20)]
            for number in range(self.CALLERS):
                admin, lengths = daemon.admin(), self.random_lengths(chance)
                actions.append(lambda n=number, a=admin, l=lengths: by_admin(n, a, l))
            # Not both at once, the kernel would make one of them; nor late, for a repeat skips a stage.
            daemon.signal(signal.SIGTERM)
            daemon.wait_log("stop requested by SIGTERM")
            daemon.signal(signal.SIGTERM)
            crowd(actions)
            wait_until(lambda: len(daemon.status().plan.requests) == len(actions) + 2,
                       "every request is in the plan")
            before = time.time()
            plan = daemon.status().plan
            after = time.time()
            self.assertEqual(daemon.wait(), 4)
            ended = time.time()
            self.assertNotEqual(stubborn.code(), grpc.StatusCode.OK)

            requests = daemon.receipt()["requests"]
            expected = minimum(requests)
            for want, left in zip(expected, (plan.grace_in_s, plan.cancel_in_s, plan.end_in_s)):
                self.assertGreaterEqual(want, before + left - NEAR)
                self.assertLessEqual(want, after + left + NEAR)
            self.assertLess(ended, expected[2] + SLACK)
            first = instants({**requests[0], "delay_s": 0})[0]
            self.assertAlmostEqual(daemon.stage("delay")["took_s"], expected[0] - first, delta=SLACK)
            self.check_entries(requests, moved)

    def check_entries(self, requests, moved):
        reasons = [each["cause"].get("reason", each["cause"]["kind"]) for each in requests]
        self.assertCountEqual(reasons, [*moved, "ctl", "handler", "signal", "signal"])
        self.assertEqual(len(moved), self.CALLERS)
        for place, (reason, request) in enumerate(zip(reasons, requests)):
            if reason in moved:
                self.assertEqual(request["moved"], moved[reason], reason)
            if place == 0:
                self.assertTrue(request["moved"])
                continue
            gains = [old - new for old, new in zip(minimum(requests[:place]), instants(request))]
            if max(gains) > NEAR:
                self.assertTrue(request["moved"], (reason, gains))
            elif max(gains) < -NEAR:
                self.assertFalse(request["moved"], (reason, gains))

    def test_later_requests_only_bring_instants_forward(self):
        with Daemon(shutdown={"delay": "3s", "grace": "20s", "cancel": "5s"}) as daemon:
            call = daemon.slow(60)
            daemon.await_calls(1)
            admin = daemon.admin()
            first = admin_request(admin, "first")
            self.assertTrue(first.moved)
            longer = admin_request(admin, "longer", delay=10, grace=60, cancel=60)
            self.assertFalse(longer.moved)
            again = admin_request(admin, "again")  # the same lengths, from now
            self.assertFalse(again.moved)
            for stage in ("grace_in_s", "cancel_in_s", "end_in_s"):
                self.assertLessEqual(getattr(again.plan, stage), getattr(first.plan, stage))
            # It brings one instant forward, and with it those that may not be before it.
            shorter = admin_request(admin, "shorter", delay=2, grace=0.5)
            self.assertTrue(shorter.moved)
            self.assertLessEqual(shorter.plan.cancel_in_s, 2.5)
            self.assertGreater(shorter.plan.cancel_in_s, 2.5 - SLACK)
            shortest = admin_request(admin, "shortest", delay=1, grace=0.5)
            self.assertTrue(shortest.moved)
            self.assertEqual(daemon.wait(), 3)
            self.assertGreaterEqual(time.monotonic() - call.began, 1.5)
            self.assertLess(time.monotonic() - call.began, 1.5 + SLACK)
            self.assertEqual([each["moved"] for each in daemon.receipt()["requests"]],
                             [True, False, False, True, True])

    def test_a_request_in_grace_shortens_it(self):
        with Daemon(shutdown={"delay": "0s", "grace": "30s", "cancel": "5s"}) as daemon:
            call = daemon.slow(60)
            daemon.await_calls(1)
            admin = daemon.admin()
            admin_request(admin, "first")
            self.assertEqual(daemon.current_stage(), "grace")
            reply = admin_request(admin, "second", grace=0.3)
            self.assertTrue(reply.moved)
            self.assertLessEqual(reply.plan.cancel_in_s, 0.3)
            self.assertEqual(daemon.wait(), 3)
            self.assertLess(call.wait().ended - call.began, 0.3 + SLACK)


class HandlerRequestTest(unittest.TestCase):
    def test_from_inside_many_handlers(self):
        with Daemon(shutdown={"delay": "3s"}) as daemon:
            stubs = [daemon.echo(kind=kind) for kind in ("tcp", "unix") for _ in range(8)]
            for echo in stubs:
                echo.Unary(EchoRequest(), timeout=20)  # connected
            answers = []
            crowd([lambda echo=echo: answers.append(
                echo.Shutdown(EchoShutdown(reason="enough"), timeout=20).text) for echo in stubs])
            self.assertEqual(answers, ["shutting down"] * len(stubs))
            self.assertEqual(daemon.wait(), 0)
            causes = [each["cause"] for each in daemon.receipt()["requests"]]
            self.assertEqual(len(causes), len(stubs))
            for cause in causes:
                self.assertEqual((cause["kind"], cause["who"], cause["reason"]),
                                 ("plugin", "echo", "enough"))

    def test_the_call_itself_is_answered(self):
        with Daemon(shutdown={"delay": "0s"}) as daemon:
            answer = daemon.echo().Shutdown(EchoShutdown(), timeout=20)
            self.assertEqual(answer.text, "shutting down")
            self.assertEqual(daemon.wait(), 0)
            self.assertEqual(daemon.receipt()["calls"]["cancelled"], 0)


if __name__ == "__main__":
    unittest.main()
