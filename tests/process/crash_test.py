"""A crash stays in its process, and none outlives its supervisor."""

import contextlib
import os
import pathlib
import signal
import time
import unittest

import grpc

from clients import AT_ONCE, SLACK, Busy, Call, wait_until, word
from echo_pb2 import CrashRequest, EchoRequest
from harness import Daemon, alive


def crash(daemon, **kwargs):
    """Crashes the process of a server; the pid that is gone."""
    call = Call(daemon.echo(**kwargs).Crash, CrashRequest())
    assert call.code() == grpc.StatusCode.UNAVAILABLE, call.details()


def await_incarnation(daemon, number, process="main"):
    wait_until(lambda: daemon.process_status(process).incarnation == number and
               daemon.process_stage(process) == "serving", f"incarnation {number} serves")


def await_constructor(daemon):
    """Waits until the only host has loaded the plugin, and so is about to make it."""
    def loaded():
        return [host for host in daemon.hosts()
                if "/echo.so" in pathlib.Path(f"/proc/{host}/maps").read_text(encoding="utf-8")]
    wait_until(loaded, "the plugin is loaded")


class CrashTest(unittest.TestCase):
    def test_under_load(self):
        with Daemon(servers={"public": {"config": {"echo": {"hang_start": "3s"}}}}) as daemon:
            before, first = daemon.status(), daemon.process_pid()
            addresses = daemon.server().listen
            with Busy(daemon) as busy:
                crash(daemon)
                crashed = time.monotonic()
                # The process takes seconds to start: who connects meanwhile waits in the queue.
                while time.monotonic() < crashed + 0.5:
                    for kind in ("tcp", "unix"):
                        waiting = [daemon.slow(0, kind=kind) for _ in range(2)]
                self.assertNotEqual(daemon.process_stage(), "serving")
                for call in waiting:
                    self.assertEqual(call.text(), "slept")
                wait_until(lambda: busy.ok[-1] > crashed, "the busy ones go on")
            # What was in flight is lost, and nothing else.
            self.assertLessEqual(len(busy.failed), len(busy.threads), busy.failed)
            for _, code, details in busy.failed:
                self.assertEqual(code, grpc.StatusCode.UNAVAILABLE, details)

            state, after = daemon.process_status(), daemon.status()
            self.assertEqual((state.incarnation, state.restarts, state.last_exit),
                             (2, 1, "killed by SIGSEGV"))
            self.assertNotIn(state.pid, (0, first))
            self.assertEqual((after.pid, word(after)), (before.pid, "serving"))
            self.assertEqual(daemon.server().listen, addresses)
            self.assertEqual(set(busy.pids), {first, state.pid})
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            daemon.assert_nothing_left()

    def test_another_process_does_not_notice(self):
        with Daemon(servers={"a": {"process": "one"}, "b": {"process": "two"}}) as daemon, \
                Busy(daemon, name="b") as busy:
            other = daemon.process_pid("two")
            stream = daemon.echo(name="b").ServerStream(EchoRequest(count=1000, interval_ms=10))
            for incarnation in (2, 3):
                crash(daemon, name="a")
                await_incarnation(daemon, incarnation, "one")
            stream.cancel()
            self.assertEqual(busy.failed, [])
            self.assertEqual(set(busy.pids), {other})
            self.assertEqual(daemon.process_status("two").restarts, 0)

    def test_back_off_grows(self):
        with Daemon() as daemon:
            for number, wait in enumerate(("100ms", "200ms", "400ms"), start=2):
                crash(daemon)
                daemon.wait_log(f"restarting in {wait}")
                await_incarnation(daemon, number)
            self.assertEqual(daemon.process_status().restarts, 3)
            crash(daemon)
            wait_until(lambda: daemon.process_stage() == "waiting", "it waits")
            # There is no host to wait for.
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            self.assertLess(time.monotonic() - began, AT_ONCE)

    def test_policies(self):
        comes_back = {("always", "exit"): True, ("always", "crash"): True,
                      ("on-failure", "exit"): False, ("on-failure", "crash"): True,
                      ("never", "exit"): False, ("never", "crash"): False}
        for (policy, end), expected in comes_back.items():
            with self.subTest(policy=policy, end=end), \
                    Daemon(process={"main": {"restart": policy}}) as daemon:
                if end == "crash":
                    crash(daemon)
                else:
                    os.kill(daemon.process_pid(), signal.SIGTERM)
                if expected:
                    await_incarnation(daemon, 2)
                else:
                    wait_until(lambda: daemon.process_stage() == "stopped", "it is down")
                    daemon.wait_log("it stays down by its restart policy")
                    self.assertEqual(daemon.current_stage(), "serving")
                daemon.signal(signal.SIGTERM)
                self.assertEqual(daemon.wait(), 0)
                daemon.assert_nothing_left()


class KillTest(unittest.TestCase):
    def test_supervisor_killed(self):
        with Daemon(shutdown={"delay": "0s", "grace": "10s", "cancel": "5s"}) as daemon:
            (host,) = daemon.hosts()
            call = daemon.held()
            daemon.signal(signal.SIGKILL)
            daemon.wait()
            daemon.wait_log("supervisor lastcalld: it is gone")
            self.assertEqual(call.finish(), "held")
            wait_until(lambda: not alive(host), "the host ends by itself", SLACK)
            # What it left behind is in nobody's way.
            daemon.start()
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            self.assertEqual(daemon.slow(0, kind="unix").text(), "slept")

    def test_supervisor_killed_while_stopping(self):
        with Daemon(shutdown={"delay": "0s", "grace": "30s", "cancel": "5s"}) as daemon:
            (host,) = daemon.hosts()
            call = daemon.slow(60)
            daemon.await_calls(1)
            began = time.monotonic()
            daemon.ctl("shutdown", "--no-wait", "--grace", "1s", check=True)
            daemon.wait_log("host main: stage grace")
            daemon.signal(signal.SIGKILL)
            daemon.wait()
            self.assertNotEqual(call.code(), grpc.StatusCode.OK)
            self.assertGreaterEqual(call.ended - began, 1.0)
            self.assertLess(call.ended - began, 1.0 + SLACK)
            wait_until(lambda: not alive(host), "the host ends by itself", SLACK)

    def test_supervisor_killed_while_its_host_starts(self):
        servers = {"public": {"config": {"echo": {"hang_start": "60s"}}}}
        with Daemon(servers=servers, shutdown={"cancel": "500ms"}, wait=False) as daemon:
            wait_until(daemon.hosts, "a host is there")
            daemon.signal(signal.SIGKILL)
            daemon.wait()
            wait_until(lambda: not daemon.hosts(), "it ends by itself", 0.5 + SLACK)

    def test_host_killed_while_stopping(self):
        with Daemon() as daemon:
            call = daemon.slow(60)
            daemon.await_calls(1)
            (host,) = daemon.hosts()
            daemon.signal(signal.SIGTERM)
            daemon.wait_log("host main: stage grace")
            os.kill(host, signal.SIGKILL)
            self.assertEqual(daemon.wait(), 3)
            self.assertEqual(call.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertEqual(daemon.receipt()["failure"], "process main killed by SIGKILL")
            daemon.assert_nothing_left()


class PluginTest(unittest.TestCase):
    """Plugins that do not start, or do not stop."""

    @contextlib.contextmanager
    def misbehaving(self, wait=False, **config):
        settings = {key: value for key, value in config.items() if isinstance(value, str)}
        tables = {key: value for key, value in config.items() if isinstance(value, dict)}
        servers = {"public": {"config": {"echo": settings}}}
        with Daemon(servers=servers, wait=wait, **tables) as daemon:
            yield daemon
            daemon.assert_nothing_left()

    def test_throws_in_its_constructor(self):
        with self.misbehaving(fail_start="out of licences") as daemon:
            self.assertEqual(daemon.wait(), 70)
            self.assertIn("out of licences", daemon.log())
            self.assertIn("out of licences", daemon.receipt()["failure"])
            self.assertIn("echo", daemon.receipt()["failure"])
            self.assertIn("process main", daemon.receipt()["failure"])

    def test_hangs_in_its_constructor(self):
        began = time.monotonic()
        with self.misbehaving(hang_start="60s", reload={"ready": "1s"}) as daemon:
            self.assertEqual(daemon.wait(), 70)
            self.assertLess(time.monotonic() - began, 1.0 + SLACK)
            self.assertRegex(daemon.receipt()["failure"],
                             "process main: plugin echo: constructor has not returned after ")
            # The constructor itself may be inlined into what makes the plugin.
            self.assertRegex(daemon.log(), "(EchoPlugin|lastcall_plugin)::.* in echo.so")

    def test_host_is_stopped_before_it_is_ready(self):
        began = time.monotonic()
        with self.misbehaving(hang_start="60s", reload={"ready": "1s"}) as daemon:
            # Not sooner: a child that has executed nothing yet holds its parent up.
            host = wait_until(lambda: [pid for pid in daemon.hosts() if os.readlink(
                f"/proc/{pid}/exe").endswith("lastcall-host")], "a host is there")[0]
            os.kill(host, signal.SIGSTOP)
            self.assertEqual(daemon.wait(), 70)
            self.assertLess(time.monotonic() - began, 1.0 + SLACK)
            self.assertEqual(daemon.receipt()["failure"], "process main: not ready within 1s")

    def test_sigterm_while_it_hangs_in_its_constructor(self):
        with self.misbehaving(hang_start="60s", shutdown={"cancel": "2s"}) as daemon:
            await_constructor(daemon)
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 4)
            self.assertLess(time.monotonic() - began, 2.0 + SLACK)
            (stuck,) = daemon.receipt()["stuck"]
            self.assertEqual((stuck["what"], stuck["name"]), ("plugin", "plugin echo: constructor"))
            self.assertRegex("\n".join(stuck["stack"]),
                             "(EchoPlugin|lastcall_plugin)::.* in echo.so")

    def test_hangs_in_stop(self):
        with self.misbehaving(hang_stop="60s", shutdown={"cancel": "2s"}, wait=True) as daemon:
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 4)
            self.assertGreaterEqual(time.monotonic() - began, 1.5)
            self.assertLess(time.monotonic() - began, 2.0 + SLACK)
            (stuck,) = daemon.receipt()["stuck"]
            self.assertEqual((stuck["what"], stuck["name"]), ("plugin", "plugin echo: Stop"))
            self.assertTrue([each for each in stuck["stack"] if "EchoPlugin::Stop" in each],
                            stuck["stack"])


if __name__ == "__main__":
    unittest.main()
