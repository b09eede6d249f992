"""What a server's own probes tell an operator, and that nobody else hears of them."""

import json
import os
import signal
import time
import unittest

import grpc

import reflection_pb2
import reflection_pb2_grpc
from clients import Health, wait_until
from harness import Daemon

CANARY = "lastcall-canary"


def latency(daemon, name="public"):
    return daemon.server(name).canary.latency_s


def await_probes(daemon, name="public", count=2):
    """Waits until so many probes were answered; no two take the same number of nanoseconds."""
    for _ in range(count):
        before = latency(daemon, name)
        wait_until(lambda: latency(daemon, name) not in (0, before), f"{name} is probed")


class CanaryTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(Daemon(servers={
            "public": {},
            "callback": {"plugins": ["callback_echo"]},
            "single": {"limits": {"threads": 1}},
        }))

    def test_an_operator_sees_it(self):
        for name in "public", "callback":
            await_probes(self.daemon, name)
            canary = self.daemon.server(name).canary
            self.assertFalse(canary.full or canary.HasField("overdue_s"))
            self.assertRegex(self.daemon.ctl("servers", name).stdout, r"\n  canary   [0-9.]+m?[us]s?\n")
        shown = json.loads(self.daemon.ctl("--json", "status").stdout)["servers"]
        self.assertEqual([set(server["canary"]) for server in shown], [{"latency_s", "full"}] * 3)

    def test_it_is_in_no_count(self):
        for name in "public", "callback":
            await_probes(self.daemon, name)
            server = self.daemon.server(name)
            self.assertEqual((server.calls_total, server.calls_in_flight, server.connections,
                              list(server.methods)), (0, 0, 0, []))

    def test_neither_reflection_nor_health_knows_of_it(self):
        with Daemon(servers={"public": {}, "callback": {"plugins": ["callback_echo"]}}) as daemon:
            for name, service in (("public", "Echo"), ("callback", "CallbackEcho")):
                service = "lastcall.example." + service
                channel = daemon.channel(name)
                reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
                reply = next(reflection.ServerReflectionInfo(
                    iter([reflection_pb2.ServerReflectionRequest(list_services="*")]), timeout=10))
                self.assertEqual({each.name for each in reply.list_services_response.service},
                                 {service, "grpc.health.v1.Health",
                                  "grpc.reflection.v1alpha.ServerReflection"})
                self.assertEqual(set(Health(channel).list()), {"", service})

    def test_a_stranger_hears_of_it_as_of_any_method_that_is_not_there(self):
        with Daemon(servers={"public": {}, "callback": {"plugins": ["callback_echo"]}}) as daemon:
            for name in "public", "callback":
                answers = []
                for method in CANARY, "/no.Such/Method":
                    with self.assertRaises(grpc.RpcError) as refused:
                        daemon.channel(name).unary_unary(method)(b"", timeout=10)
                    answers.append((refused.exception.code(), refused.exception.details(),
                                    list(refused.exception.trailing_metadata())))
                self.assertEqual(answers[0], answers[1])
                self.assertEqual(answers[0][0], grpc.StatusCode.UNIMPLEMENTED)
                wait_until(lambda: daemon.server(name).calls_total == 2, "they are counted", 10)

    def test_a_server_whose_threads_are_all_at_work_is_full(self):
        held = self.daemon.held(name="single")
        wait_until(lambda: self.daemon.server("single").canary.full, "it is full", 10)
        self.assertFalse(self.daemon.server("single").canary.HasField("overdue_s"))
        self.assertIn("\nsingle: canary full: every thread", self.daemon.ctl("status").stdout)
        held.finish()
        wait_until(lambda: not self.daemon.server("single").canary.full, "it is not any more", 10)
        self.assertNotRegex(self.daemon.log(), "calls? (was|were) refused")

    def test_one_that_drains_and_one_that_is_replaced_are_probed(self):
        with Daemon(reload={"settle": "100ms"}) as daemon:
            await_probes(daemon)
            daemon.ctl("drain", "public", check=True)
            await_probes(daemon)
            daemon.ctl("restart", "main", check=True)
            await_probes(daemon)

    def test_of_a_process_that_was_stopped_nothing_is_said(self):
        with Daemon() as daemon:
            await_probes(daemon)
            host = daemon.process_pid()
            os.kill(host, signal.SIGSTOP)
            time.sleep(3)
            os.kill(host, signal.SIGCONT)
            before, end = latency(daemon), time.monotonic() + 2.5
            while time.monotonic() < end:
                self.assertFalse(daemon.server().canary.HasField("overdue_s"))
            self.assertNotEqual(latency(daemon), before)
            self.assertLess(latency(daemon), 2)


if __name__ == "__main__":
    unittest.main()
