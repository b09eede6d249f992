"""Clients that watch a server's health lose nothing when it is replaced: what they see first is that
they are sent away."""

import pathlib
import re
import signal
import struct
import unittest

from clients import Health, wait_until
from echo_pb2 import EchoRequest
from harness import Daemon
from hostile_peers import (DATA, GOAWAY, HEADERS, INITIAL_WINDOW, WINDOW_UPDATE, CallPeer, ends,
                           frame)
from reflection_pb2 import ServerReflectionRequest

SERVING = b"\0\0\0\0\2\x08\x01"


def sleeps_of_health(pid):
    """How often the thread that answers in its process went to sleep, once it sleeps."""
    thread, = (task for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
               if (task / "comm").read_text(encoding="utf-8") == "lc-health\n")
    sleeps = []

    def asleep():
        status = (thread / "status").read_text(encoding="utf-8")
        sleeps[:] = re.findall(r"^voluntary_ctxt_switches:\s*(\d+)$", status, re.M)
        return "\nState:\tS" in status
    wait_until(asleep, "it waits")
    return int(sleeps[0])


class HealthTest(unittest.TestCase):
    def test_its_thread_is_not_woken_for_others_calls(self):
        with Daemon({"public": {}}) as daemon:
            echo, pid = daemon.echo(), daemon.process_pid()
            echo.Unary(EchoRequest(text="connects"))
            before = sleeps_of_health(pid)
            for _ in range(200):
                echo.Unary(EchoRequest(text="x"))
            self.assertEqual(sleeps_of_health(pid), before)
            Health(daemon.channel()).check()
            self.assertGreater(sleeps_of_health(pid), before)

    def daemon(self):
        return Daemon(reload={"settle": "100ms"})

    def test_what_is_listed_of_one_that_drains_and_of_one_that_stops(self):
        with Daemon(shutdown={"delay": "60s"}) as daemon:
            health = Health(daemon.channel())
            self.assertEqual(set(health.list().values()), {"SERVING"})
            services = set(health.list())
            self.assertIn("lastcall.example.Echo", services)
            daemon.ctl("drain", "public", check=True)
            self.assertEqual(health.list(), dict.fromkeys(services, "NOT_SERVING"))
            daemon.ctl("undrain", "public", check=True)
            self.assertEqual(set(health.list().values()), {"SERVING"})
            daemon.signal(signal.SIGTERM)
            daemon.wait_log("stage delay")
            self.assertEqual(health.list(), dict.fromkeys(services, "NOT_SERVING"))
            daemon.signal(signal.SIGQUIT)
            self.assertEqual(daemon.wait(), 0)

    def test_a_watch_ends_after_the_goaway(self):
        for way in (("restart", "main"), ("shutdown", "--no-wait", "--grace", "10s")):
            with self.subTest(way[0]), self.daemon() as daemon, \
                    CallPeer(daemon.address(), "Watch") as peer:
                peer.until(lambda kind, flags, stream, payload: payload == SERVING)
                daemon.ctl(*way, check=True)
                kinds, _ = peer.until(ends)
                self.assertIn(GOAWAY, kinds)

    def test_a_check_that_waits_for_its_client_is_not_cancelled(self):
        no_window = struct.pack(">HI", INITIAL_WINDOW, 0)
        with self.daemon() as daemon, \
                CallPeer(daemon.address(), "Check", settings=no_window) as peer:
            peer.until(lambda kind, flags, stream, _: kind == HEADERS)  # its answer is begun
            daemon.ctl("restart", "main", check=True)
            peer.until(lambda kind, flags, stream, _: kind == GOAWAY)
            self.assertTrue(peer.is_quiet(1.5))
            peer.send(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 100)))
            _, (_, _, _, payload) = peer.until(lambda kind, flags, stream, _: kind == DATA)
            self.assertEqual(payload, SERVING)
            _, (kind, _, _, _) = peer.until(ends)
            self.assertEqual(kind, HEADERS)

    def test_a_question_of_reflection_that_was_read_is_answered(self):
        no_window = struct.pack(">HI", INITIAL_WINDOW, 0)
        with self.daemon() as daemon, \
                CallPeer(daemon.address(), "ServerReflectionInfo", settings=no_window,
                           service="grpc.reflection.v1alpha.ServerReflection", flags=0,
                           asked=ServerReflectionRequest(list_services="*")) as peer:
            peer.until(lambda kind, flags, stream, _: kind == HEADERS)  # its answer is begun
            daemon.ctl("restart", "main", check=True)
            peer.until(lambda kind, flags, stream, _: kind == GOAWAY)
            self.assertTrue(peer.is_quiet(4))  # longer than an idle stream is waited for
            peer.send(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 10_000)))
            _, (_, _, _, payload) = peer.until(lambda kind, flags, stream, _: kind == DATA)
            self.assertIn(b"lastcall.example.Echo", payload)
            # The stream itself is no work: nobody ends it, and it holds nothing.
            wait_until(lambda: not daemon.process_status().retired, "the old one has ended")


if __name__ == "__main__":
    unittest.main()
