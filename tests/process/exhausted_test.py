"""Out of threads or descriptors: what a stop, a drain and a replacement need is there before."""

import os
import resource
import signal
import socket
import unittest

import grpc

import echo_pb2_grpc
from clients import PATIENCE, Call, wait_until
from echo_pb2 import EchoRequest, SlowRequest
from harness import BIN, Daemon, need_root, run

TASKS = 260  # of the daemon and its hosts, together
CALLS = 400


def other_user():
    """A user of this test's own: its tasks are counted, and nobody else's with them."""
    need_root()
    return 61_000 + os.getpid() % 4_000


class TasksTest(unittest.TestCase):
    """Calls of a synchronous method have taken the last thread that the daemon's user may have."""

    def daemon(self):
        user = other_user()
        limits = (resource.RLIMIT_NPROC, (TASKS, TASKS))
        daemon = Daemon({"public": {"limits": {"threads": 0, "streams": 1000}}},
                        spawn={"user": user, "group": user, "extra_groups": [],
                               "preexec_fn": lambda: resource.setrlimit(*limits)})
        os.chown(daemon.folder, user, user)
        self.user = user
        return daemon

    def fill(self, daemon):
        """Calls until no thread is left; they take until they are told to leave."""
        echo = echo_pb2_grpc.EchoStub(daemon.channel())
        request = SlowRequest(delay_ms=int(PATIENCE * 1000), on_leave=SlowRequest.FINISH_EARLY)
        calls = [Call(echo.Slow, request) for _ in range(CALLS)]
        daemon.wait_log("Could not create grpc_sync_server worker-thread")
        return calls

    def test_a_stop_has_its_stages(self):
        with self.daemon() as daemon:
            host = daemon.process_pid()
            calls = self.fill(daemon)
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0, daemon.log()[-3000:])
            codes = {call.code() for call in calls}
            # Those that had a thread were told to leave and answered; the others were refused by gRPC.
            self.assertLessEqual(codes, {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK,
                                         grpc.StatusCode.RESOURCE_EXHAUSTED})
            self.assertGreater(daemon.receipt()["calls"]["finished"], 100)
            self.assertEqual(daemon.receipt()["calls"]["cancelled"], 0)
            self.assertNotIn("SIGABRT", daemon.log())
            self.assertFalse(os.path.exists(f"/proc/{host}"))

    def test_a_drain_and_a_restart_that_cannot_be(self):
        with self.daemon() as daemon:
            host = daemon.process_pid()
            self.fill(daemon)
            self.assertEqual(daemon.ctl("drain", "public").returncode, 0)
            refused = daemon.ctl("restart", "main", "--timeout", "20s")
            self.assertEqual(refused.returncode, 1, refused.stdout + refused.stderr)
            # It cannot be started; or a task was just free for it, but not what it needs.
            self.assertRegex(refused.stdout + refused.stderr,
                             "Resource temporarily unavailable|not changed: exit code 70")
            self.assertEqual(daemon.process_pid(), host, "it lives")
            self.assertEqual(daemon.ctl("undrain", "public").returncode, 0)
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)

    def test_a_start_names_the_limit(self):
        user = other_user()
        with Daemon(wait=False) as daemon:
            check = run(BIN / "lastcalld", "--config", daemon.config, "--check")
            self.assertEqual(check.returncode, 0, check.stderr)
            self.assertNotIn("tasks may be needed", check.stderr)
            for path in (daemon.folder, daemon.config):
                os.chown(path, user, user)
            check = run(BIN / "lastcalld", "--config", daemon.config, "--check",
                        user=user, group=user, extra_groups=[],
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (500, 500)))
            self.assertIn("only 500 may exist (\"ulimit -u\" of its user)", check.stderr)


class ThreadsTest(unittest.TestCase):
    def test_calls_beyond_the_threads_are_refused_counted_and_said(self):
        with Daemon({"public": {"limits": {"threads": 2}}}) as daemon:
            echo = daemon.echo()
            request = SlowRequest(delay_ms=int(PATIENCE * 1000), on_leave=SlowRequest.FINISH_EARLY)
            busy = [Call(echo.Slow, request) for _ in range(2)]
            daemon.await_calls(2)
            wait_until(lambda: Call(echo.Unary, EchoRequest(text="one more")).code()
                       == grpc.StatusCode.RESOURCE_EXHAUSTED, "a call is refused")
            daemon.wait_log("refused (RESOURCE_EXHAUSTED) so far: 2 synchronous handlers are at work")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            for call in busy:
                call.wait()


class DescriptorsTest(unittest.TestCase):
    def test_a_host_full_of_idle_peers_loses_no_call_at_a_restart(self):
        limit = 160
        with Daemon({"public": {"listen": ["127.0.0.1:0"]}}, reload={"settle": "0s"},
                    spawn={"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                    (limit, limit))}) as daemon:
            stub = daemon.echo()
            self.assertEqual(Call(stub.Unary, EchoRequest(text="there")).text(), "there")
            for _ in range(4):
                idle = self.fill(daemon)
                pid = daemon.process_pid()
                wait_until(lambda pid=pid: len(os.listdir(f"/proc/{pid}/fd")) >= limit - 2,
                           "the host has no descriptor left")
                calls = [Call(stub.Unary, EchoRequest(text="hi")) for _ in range(20)]
                restarted = daemon.ctl("restart", "main")
                self.assertEqual(restarted.returncode, 0, restarted.stdout + restarted.stderr)
                for call in calls:
                    self.assertEqual(call.text(), "hi")
                self.assertEqual(Call(stub.Unary, EchoRequest(text="after")).text(), "after")
                for peer in idle:
                    peer.close()

    @staticmethod
    def fill(daemon):
        host, port = daemon.address().rsplit(":", 1)
        return [socket.create_connection((host, int(port))) for _ in range(160)]
