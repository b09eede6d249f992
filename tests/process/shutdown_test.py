"""How the daemon stops: the stages as clients see them, and that nothing makes it take longer."""

import signal
import socket
import subprocess
import sys
import time
import unittest

import grpc

import callback_echo_pb2
import callback_echo_pb2_grpc
import reflection_pb2_grpc
from clients import AT_ONCE, PATIENCE, SANITIZED, SLACK, Busy, Health, Log, Watch, wait_until
from echo_pb2 import EchoRequest
from harness import Daemon


# More than any buffer between a handler and its client holds.
FLOOD = EchoRequest(text="x" * 100_000, count=1_000_000)


def await_rest(pid):
    """Waits until a process uses no CPU: its handlers wait for somebody."""
    def used():
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13]))

    def rests():
        before = used()
        time.sleep(0.2)
        return used() == before
    wait_until(rests, f"{pid} rests")


def stop(daemon):
    """Asks for it by SIGTERM; when that was."""
    now = time.monotonic()
    daemon.signal(signal.SIGTERM)
    return now


class StagesTest(unittest.TestCase):
    def test_delay_grace_and_cancel_under_load(self):
        with Daemon(shutdown={"delay": "3s", "grace": "4s", "cancel": "2s"}) as daemon, \
                Busy(daemon) as busy:
            health = Log(Health(daemon.channel()).watch())
            fresh = daemon.echo()
            health.when("SERVING")
            held = daemon.held()
            early, long = daemon.slow(60, leave=True), daemon.slow(60)
            daemon.await_calls(2)
            began = stop(daemon)

            # Delay: unhealthy from the first moment, but everything is served, on a new connection.
            self.assertLess(health.when("NOT_SERVING") - began, 3.0)
            while time.monotonic() < began + 2.5:
                self.assertEqual(fresh.Unary(EchoRequest(text="new"), timeout=PATIENCE).text, "new")
            # Grace: whoever finishes is answered, whoever can leaves in its first half.
            daemon.wait_log("stage grace")
            self.assertEqual(held.finish(), "held")
            self.assertGreaterEqual(held.ended - began, 3.0)
            self.assertEqual(early.text(), "left early")
            self.assertGreaterEqual(early.ended - began, 3.0)
            self.assertLess(early.ended - began, 5.0 + SLACK)
            # Cancel: not before its instant.
            self.assertNotEqual(long.code(), grpc.StatusCode.OK)
            self.assertGreaterEqual(long.ended - began, 7.0)
            self.assertLess(long.ended - began, 7.0 + SLACK)
            self.assertEqual(daemon.wait(), 3)

            # Not those that were about to arrive when grace began: they have nowhere to go.
            self.assertEqual([each for each in busy.failed if each[0] < began + 2.0], [])
            self.assertTrue([each for each in busy.ok if began + 0.5 < each < began + 3.0])
            daemon.assert_nothing_left()
            self.check_receipt(daemon, long.began - began)

    def check_receipt(self, daemon, head_start):
        receipt = daemon.receipt()
        self.assertEqual(receipt["exit_code"], 3)
        self.assertEqual(receipt["calls"]["cancelled"], 1)
        self.assertGreaterEqual(receipt["calls"]["finished"], 3)
        (call,) = receipt["cancelled"]
        self.assertEqual(call["method"], "/lastcall.example.Echo/Slow")
        self.assertEqual(call["server"], "public")
        self.assertTrue(call["peer"].startswith("127.0.0.1:"), call["peer"])
        self.assertTrue(call["told"])
        self.assertAlmostEqual(call["age_s"], 7.0 - head_start, delta=SLACK)
        for name, planned in (("delay", 3.0), ("grace", 4.0)):
            stage = daemon.stage(name)
            self.assertAlmostEqual(stage["planned_s"], planned, delta=0.2)
            self.assertAlmostEqual(stage["took_s"], planned, delta=SLACK)
            self.assertEqual(stage["ended_by"], "instant")
        self.assertEqual(daemon.stage("cancel")["ended_by"], "done")
        (request,) = receipt["requests"]
        self.assertEqual(request["cause"]["signal"], "SIGTERM")

    def test_telling_to_leave_is_spread_over_the_first_half_of_grace(self):
        with Daemon(shutdown={"grace": "4s"}) as daemon:
            calls = [daemon.slow(60, leave=True) for _ in range(8)]
            daemon.await_calls(8)
            began = stop(daemon)
            ended = sorted(each.wait().ended - began for each in calls)
            self.assertEqual({each.text() for each in calls}, {"left early"})
            self.assertGreater(ended[-1] - ended[0], 1.0)
            self.assertLess(ended[-1], 2.0 + SLACK)
            self.assertEqual(daemon.wait(), 0)

    def test_a_stubborn_handler_is_left_behind_at_the_last_instant(self):
        with Daemon(shutdown={"delay": "500ms", "grace": "500ms", "cancel": "2s"}) as daemon:
            call = daemon.slow(60, method="Stubborn")
            daemon.await_calls(1, "Stubborn")
            began = stop(daemon)
            self.assertEqual(daemon.wait(), 4)
            took = time.monotonic() - began
            self.assertGreaterEqual(took, 2.4)  # the host goes a little before the last instant
            self.assertLess(took, 3.0 + SLACK)
            self.assertNotEqual(call.code(), grpc.StatusCode.OK)
            daemon.assert_nothing_left()
            (stuck,) = daemon.receipt()["stuck"]
            self.assertEqual((stuck["what"], stuck["name"]),
                             ("call", "/lastcall.example.Echo/Stubborn"))
            self.assertTrue([each for each in stuck["stack"] if "EchoPlugin::Stubborn" in each],
                            stuck["stack"])
            (host,) = daemon.receipt()["processes"]
            self.assertEqual(host["exit_code"], 4)
            if not SANITIZED:  # there it may be too slow for that
                self.assertNotIn("failure", host, "it ended by itself")

    def test_stages_without_length(self):
        with Daemon(shutdown={"delay": "0s", "grace": "0s", "cancel": "0s"}) as daemon:
            call = daemon.slow(60)
            daemon.await_calls(1)
            began = stop(daemon)
            self.assertEqual(daemon.wait(), 4)
            self.assertLess(time.monotonic() - began, AT_ONCE + SLACK)
            self.assertNotEqual(call.code(), grpc.StatusCode.OK)
            daemon.assert_nothing_left()


class EarlyEndTest(unittest.TestCase):
    """A stage ends as soon as it has nothing to do."""

    def test_idle(self):
        with Daemon() as daemon:
            self.assertEqual(len(daemon.hosts()), 1)
            began = stop(daemon)
            self.assertEqual(daemon.wait(), 0)
            self.assertLess(time.monotonic() - began, AT_ONCE)
            daemon.assert_nothing_left()
            self.assertEqual(daemon.receipt()["calls"], {"finished": 0, "cancelled": 0})

    def test_grace_ends_with_the_last_call(self):
        for grace in ("20s", "infinity"):
            with self.subTest(grace=grace), Daemon(shutdown={"grace": grace}) as daemon:
                call = daemon.held()
                stop(daemon)
                daemon.wait_log("host main: stage grace")
                self.assertFalse(call.over())
                self.assertEqual(call.finish(), "held")
                self.assertEqual(daemon.wait(), 0)
                self.assertLess(time.monotonic() - call.ended, AT_ONCE)
                stage = daemon.stage("grace")
                self.assertEqual(stage["ended_by"], "idle")
                if grace == "infinity":
                    self.assertIsNone(stage["planned_s"])
                else:
                    self.assertAlmostEqual(stage["planned_s"], 20.0, delta=0.2)

    def test_quiet_ends_the_delay(self):
        with Daemon(shutdown={"delay": "30s", "quiet": "1s"}) as daemon:
            daemon.echo().Unary(EchoRequest(), timeout=10)
            began = stop(daemon)
            self.assertEqual(daemon.wait(), 0)
            took = time.monotonic() - began
            self.assertGreaterEqual(took, 1.0)
            self.assertLess(took, 1.0 + SLACK)
            self.assertEqual(daemon.stage("delay")["ended_by"], "quiet")

    def test_new_calls_keep_the_delay(self):
        with Daemon(shutdown={"delay": "30s", "quiet": "1s"}) as daemon:
            watch = Watch(daemon)
            with Busy(daemon) as busy:
                began = stop(daemon)
                watch.stage("delay")
                wait_until(lambda: busy.ok[-1] > began + 3, "a while has passed")
                self.assertEqual(daemon.current_stage(), "delay")
            quiet_since = time.monotonic()
            self.assertEqual(daemon.wait(), 0)
            self.assertLess(time.monotonic() - quiet_since, 1.0 + SLACK)
            self.assertEqual(busy.failed, [])
            self.assertGreater(daemon.stage("delay")["took_s"], 3.0)


class PeersTest(unittest.TestCase):
    """What peers do or don't cannot hold the shutdown."""

    def test_streams_that_are_no_work(self):
        with Daemon() as daemon:
            watch = Log(Health(daemon.channel()).watch())
            watch.when("SERVING")
            requests = iter(lambda: time.sleep(60), None)  # asks nothing, ends never
            reflection = reflection_pb2_grpc.ServerReflectionStub(daemon.channel())
            listing = Log(reflection.ServerReflectionInfo(requests))
            idle = daemon.channel()
            grpc.channel_ready_future(idle).result(10)
            wait_until(lambda: daemon.server().connections == 3, "every connection is there")
            began = stop(daemon)
            self.assertEqual(daemon.wait(), 0)
            self.assertLess(time.monotonic() - began, AT_ONCE)
            watch.wait_end()
            listing.wait_end()

    def test_silent_peers(self):
        """One says nothing at all; the other greets, and then answers no ping of the GOAWAY."""
        settings, acknowledged = b"\0\0\0\4\0\0\0\0\0", b"\0\0\0\4\1\0\0\0\0"
        with Daemon() as daemon:
            host, port = daemon.address().rsplit(":", 1)
            with socket.create_connection((host, port)), \
                    socket.create_connection((host, port), PATIENCE) as greeted:
                greeted.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
                heard = b""
                while acknowledged not in heard:
                    heard += greeted.recv(1000)
                wait_until(lambda: daemon.server().connections == 2, "both are accepted")
                began = stop(daemon)
                self.assertEqual(daemon.wait(), 0)
                self.assertLess(time.monotonic() - began, AT_ONCE)

    def test_a_client_that_never_reads(self):
        with Daemon(shutdown={"grace": "1s", "cancel": "2s"}) as daemon:
            stream = daemon.echo().ServerStream(FLOOD)
            next(stream)
            self.expect_bounded(daemon)

    def test_a_client_that_is_stopped(self):
        client = ("import sys, grpc, echo_pb2, echo_pb2_grpc\n"
                  "echo = echo_pb2_grpc.EchoStub(grpc.insecure_channel(sys.argv[1]))\n"
                  "flood = echo_pb2.EchoRequest.FromString(sys.stdin.buffer.read())\n"
                  "for reply in echo.ServerStream(flood): print(reply.number, flush=True)\n")
        with Daemon(shutdown={"grace": "1s", "cancel": "2s"}) as daemon:
            reader = subprocess.Popen([sys.executable, "-c", client, daemon.address()],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            with reader:
                try:
                    reader.stdin.write(FLOOD.SerializeToString())
                    reader.stdin.close()
                    reader.stdout.readline()
                    reader.send_signal(signal.SIGSTOP)
                    self.expect_bounded(daemon)
                finally:
                    reader.kill()

    def expect_bounded(self, daemon):
        """The handler that writes to nobody is cancelled at its instant."""
        await_rest(daemon.process_pid())
        daemon.await_calls(1, "ServerStream")
        began = stop(daemon)
        self.assertEqual(daemon.wait(), 3)
        self.assertGreaterEqual(time.monotonic() - began, 1.0)
        self.assertLess(time.monotonic() - began, 1.0 + SLACK)
        self.assertEqual(daemon.receipt()["cancelled"][0]["method"],
                         "/lastcall.example.Echo/ServerStream")



class LeaveTest(unittest.TestCase):
    def test_reactors_are_told_to_leave_spread_over_the_first_half_of_grace(self):
        servers = {"public": {"plugins": ["callback_echo"]}}
        with Daemon(servers=servers, shutdown={"delay": "0s", "grace": "4s"}) as daemon:
            echo = callback_echo_pb2_grpc.CallbackEchoStub(daemon.channel())
            request = callback_echo_pb2.CallbackRequest(text="x", count=10_000, interval_ms=60_000)
            streams = [Log(echo.ServerStream(request, timeout=PATIENCE)) for _ in range(5)]
            daemon.await_calls(len(streams), method="ServerStream")
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            ended = sorted(stream.wait_end().ended - began for stream in streams)
            for stream in streams:
                self.assertEqual(stream.error.code(), grpc.StatusCode.UNAVAILABLE)
                self.assertIn("asked this call to leave", stream.error.details())
            # At 0, 0.4, 0.8, 1.2 and 1.6 s.
            self.assertLess(ended[0], SLACK)
            for number, moment in enumerate(ended):
                self.assertGreaterEqual(moment, 0.4 * number - 0.1)
            self.assertLess(ended[-1], 1.6 + SLACK)
            self.assertEqual(daemon.wait(), 0)


if __name__ == "__main__":
    unittest.main()
