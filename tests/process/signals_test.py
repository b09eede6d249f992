"""What each signal does, in each stage and at any moment, to the supervisor and to its hosts."""

import concurrent.futures
import fcntl
import os
import signal
import termios
import time
import unittest

import grpc

from clients import AT_ONCE, SANITIZED, SLACK, Watch, wait_until, word
from harness import Daemon, alive

LONG = {"delay": "30s", "grace": "30s", "cancel": "30s"}
# After the first SIGTERM or SIGINT took effect, a repeat means more than that.
REPEAT = 0.55


class FirstMomentsTest(unittest.TestCase):
    FIRST_MS = 300

    def one_life(self, ms):
        """SIGTERM so long after exec; how far the daemon had come."""
        with Daemon(wait=False) as daemon:
            time.sleep(ms / 1000)
            daemon.signal(signal.SIGTERM)
            code = daemon.wait()
            log = daemon.log()
            daemon.assert_nothing_left()
            if code == -signal.SIGTERM and not log:
                return "before main"
            assert code == 0, f"after {ms} ms: exit code {code}\n{log}"
            if "stopped before anything was started" in log:
                return "reading"  # for longer than it has patience, on a busy machine
            assert daemon.receipt()["requests"][0]["cause"]["signal"] == "SIGTERM"
            return "serving" if "stage serving" in log else "starting"

    def test_sigterm_at_every_millisecond(self):
        moments = range(0, self.FIRST_MS, 10 if SANITIZED else 1)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(self.one_life, moments))
        self.assertIn("before main", outcomes)
        self.assertIn("starting", outcomes)


class EscalationTest(unittest.TestCase):
    def test_each_repeat_skips_a_stage(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name), Daemon(shutdown=LONG) as daemon:
                call = daemon.slow(60, method="Stubborn")
                daemon.await_calls(1, "Stubborn")
                watch = Watch(daemon)
                daemon.signal(number)
                stages = ["grace", "cancel"]
                if number == signal.SIGTERM:
                    stages.insert(0, "delay")
                first = watch.stage(stages[0])
                time.sleep(REPEAT)
                for stage in stages[1:]:
                    asked = time.monotonic()
                    daemon.signal(number)
                    self.assertLess(watch.stage(stage) - asked, AT_ONCE)
                daemon.signal(number)
                self.assertEqual(daemon.wait(), 4)
                self.assertLess(time.monotonic() - first, REPEAT + SLACK)
                self.assertNotEqual(call.code(), grpc.StatusCode.OK)
                self.assertEqual([each.get("skip", False) for each in daemon.receipt()["requests"]],
                                 [False] + [True] * len(stages))
                daemon.assert_nothing_left()

    def test_a_repeat_at_once_is_none(self):
        with Daemon(shutdown={**LONG, "delay": "1s", "grace": "1s"}) as daemon:
            call = daemon.slow(1.5)
            daemon.await_calls(1)
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            daemon.wait_log("stage delay")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            if time.monotonic() - began > 10:
                self.fail("the delay was not kept")
            self.assertEqual(call.text(), "slept")
            self.assertEqual([each["moved"] for each in daemon.receipt()["requests"]],
                             [True, False])
            self.assertGreaterEqual(daemon.stage("delay")["took_s"], 0.99)

    def test_after_an_admin_the_first_sigterm_is_no_repeat(self):
        with Daemon(shutdown={**LONG, "delay": "20s"}) as daemon:
            daemon.slow(60, leave=True)
            daemon.await_calls(1)
            watch = Watch(daemon)
            daemon.ctl("shutdown", "--no-wait", check=True)
            watch.stage("delay")
            time.sleep(REPEAT)
            daemon.signal(signal.SIGTERM)
            wait_until(lambda: len(daemon.status().plan.requests) == 2, "it is in the ledger")
            self.assertEqual(daemon.current_stage(), "delay")
            time.sleep(REPEAT)
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            self.assertEqual([each.get("skip", False) for each in daemon.receipt()["requests"]],
                             [False, False, True])
            self.assertLess(daemon.stage("delay")["took_s"], 10)

    def test_sigterm_while_starting(self):
        servers = {"public": {"config": {"echo": {"hang_start": "1s"}}}}
        with Daemon(servers=servers, wait=False) as daemon:
            daemon.wait_log("lastcalld 0")
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            self.assertLess(time.monotonic() - began, 1 + SLACK)
            self.assertNotIn("stage serving", daemon.log())
            daemon.assert_nothing_left()


class TableTest(unittest.TestCase):
    def test_sigint_has_no_delay(self):
        with Daemon(shutdown=LONG) as daemon:
            call = daemon.held()
            began = time.monotonic()
            daemon.signal(signal.SIGINT)
            daemon.wait_log("host main: stage grace")
            self.assertLess(time.monotonic() - began, AT_ONCE)
            self.assertEqual(call.finish(), "held")
            self.assertEqual(daemon.wait(), 0)

    def test_sigquit_cancels_now(self):
        with Daemon(shutdown=LONG) as daemon:
            call = daemon.slow(60)
            daemon.await_calls(1)
            began = time.monotonic()
            daemon.signal(signal.SIGQUIT)
            self.assertEqual(daemon.wait(), 3)
            self.assertNotEqual(call.code(), grpc.StatusCode.OK)
            self.assertLess(time.monotonic() - began, AT_ONCE)

    def test_sighup_reloads_and_nothing_has_changed(self):
        with Daemon() as daemon:
            before = daemon.status()
            daemon.signal(signal.SIGHUP)
            daemon.wait_log("reload: = process main")
            after = daemon.status()
            self.assertEqual(word(after), "serving")
            self.assertEqual(after.processes[0].pid, before.processes[0].pid)
            self.assertEqual(after.processes[0].incarnation, 1)

    def test_sighup_while_stopping_is_refused(self):
        for stage, lengths in (("delay", LONG), ("grace", {**LONG, "delay": "0s"})):
            with self.subTest(stage), Daemon(shutdown=lengths) as daemon:
                daemon.slow(60)
                daemon.await_calls(1)
                daemon.signal(signal.SIGTERM)
                daemon.wait_log(f"lastcalld: stage {stage}")
                daemon.signal(signal.SIGHUP)
                daemon.wait_log("SIGHUP: reload refused")
                self.assertEqual(daemon.current_stage(), stage)
                self.assertEqual(len(daemon.status().plan.requests), 1)
                daemon.signal(signal.SIGQUIT)
                self.assertEqual(daemon.wait(), 3)

    def test_sigusr1_dumps_state_and_stacks(self):
        with Daemon() as daemon:
            daemon.slow(60, method="Stubborn")
            daemon.await_calls(1, "Stubborn")
            daemon.signal(signal.SIGUSR1)
            daemon.wait_log("dump: process main incarnation 1 running, stage serving")
            daemon.wait_log("dump: public /lastcall.example.Echo/Stubborn from 127.0.0.1:")
            daemon.wait_log("EchoPlugin::Stubborn")
            self.assertEqual(daemon.current_stage(), "serving")


class StoppedTest(unittest.TestCase):
    """SIGSTOP and SIGCONT, as a debugger or a frozen machine would do it."""

    def pause(self, pid):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.4)
        os.kill(pid, signal.SIGCONT)

    def check_pauses(self, whose):
        with Daemon(shutdown={"delay": "1s", "grace": "4s", "cancel": "2s"}) as daemon:
            short, long = daemon.slow(2.5), daemon.slow(60)
            daemon.await_calls(2)
            pid = whose(daemon)
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            for stage in ("delay", "grace"):
                daemon.wait_log(f"host main: stage {stage}")
                self.pause(pid)
            self.assertEqual(daemon.wait(), 3)
            self.assertEqual(short.text(), "slept")
            self.assertGreaterEqual(long.wait().ended - began, 5.0)
            self.assertLess(long.ended - began, 5.0 + SLACK)
            self.assertEqual(len(daemon.receipt()["cancelled"]), 1)
            daemon.assert_nothing_left()

    def test_pauses_of_the_supervisor(self):
        self.check_pauses(lambda daemon: daemon.pid)

    def test_pauses_of_a_host(self):
        self.check_pauses(lambda daemon: daemon.process_pid())

    def test_supervisor_stopped_past_the_end(self):
        with Daemon(shutdown={"delay": "300ms", "grace": "700ms", "cancel": "500ms"}) as daemon:
            call = daemon.slow(60)
            daemon.await_calls(1)
            host = daemon.process_pid()
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            daemon.wait_log("host main: stage delay")
            daemon.signal(signal.SIGSTOP)
            wait_until(lambda: not alive(host), "the host ends by itself")
            self.assertGreaterEqual(call.wait().ended - began, 1.0)
            self.assertLess(time.monotonic() - began, 1.5 + SLACK)
            time.sleep(max(0, began + 2.0 - time.monotonic()))  # well past the end
            continued = time.monotonic()
            daemon.signal(signal.SIGCONT)
            self.assertEqual(daemon.wait(), 3)
            self.assertLess(time.monotonic() - continued, AT_ONCE)
            receipt = daemon.receipt()
            self.assertEqual(receipt["cancelled"][0]["method"], "/lastcall.example.Echo/Slow")
            self.assertNotIn("failure", receipt)
            daemon.assert_nothing_left()

    def test_host_stopped_past_the_end(self):
        with Daemon(shutdown={"delay": "0s", "grace": "500ms", "cancel": "500ms"}) as daemon:
            host = daemon.process_pid()
            os.kill(host, signal.SIGSTOP)
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 4)
            self.assertGreaterEqual(time.monotonic() - began, 1.0)
            self.assertLess(time.monotonic() - began, 1.0 + SLACK)
            self.assertEqual(daemon.receipt()["failure"],
                             "process main did not end in time and was killed")
            daemon.assert_nothing_left()


class HostTest(unittest.TestCase):
    def test_sigterm_to_a_host_alone(self):
        with Daemon() as daemon:
            call = daemon.held()
            host = daemon.process_pid()
            os.kill(host, signal.SIGTERM)
            daemon.wait_log("host main: stage grace")
            waiting = daemon.slow(0)  # on a connection that no host accepts now
            self.assertEqual(call.finish(), "held")
            self.assertEqual(waiting.text(), "slept")
            self.assertGreater(waiting.ended, call.ended)
            state = daemon.process_status()
            self.assertNotEqual(state.pid, host)
            self.assertEqual((state.incarnation, state.restarts, state.last_exit),
                             (2, 1, "exit code 0"))
            self.assertEqual(daemon.current_stage(), "serving")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)

    def test_sigterm_to_the_daemon_while_its_host_is_stopping(self):
        with Daemon(shutdown={"delay": "0s", "grace": "20s", "cancel": "5s"}) as daemon:
            call = daemon.held()
            os.kill(daemon.process_pid(), signal.SIGTERM)
            daemon.wait_log("host main: stage grace")
            daemon.signal(signal.SIGTERM)
            daemon.wait_log("lastcalld: stage grace")
            self.assertEqual(call.finish(), "held")
            self.assertEqual(daemon.wait(), 0)
            self.assertEqual(daemon.receipt()["processes"][0]["incarnation"], 1)
            daemon.assert_nothing_left()


class TerminalTest(unittest.TestCase):
    """A daemon in the foreground of a terminal of its own."""

    def setUp(self):
        self.terminal, inner = os.openpty()
        controlling = {"stdin": inner, "start_new_session": True,
                       "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}
        self.daemon = self.enterContext(Daemon(spawn=controlling, shutdown=LONG))
        os.close(inner)

    def tearDown(self):
        if self.terminal is not None:
            os.close(self.terminal)

    def test_ctrl_c_reaches_the_supervisor_alone(self):
        (host,) = self.daemon.hosts()
        self.assertNotEqual(os.getpgid(host), os.getpgid(self.daemon.pid))
        call = self.daemon.held()
        os.write(self.terminal, b"\x03")
        self.daemon.wait_log("host main: stage grace")
        self.assertEqual(call.finish(), "held")
        self.assertEqual(self.daemon.wait(), 0)
        cause = self.daemon.receipt()["requests"][0]["cause"]
        self.assertEqual((cause["signal"], cause["who"]), ("SIGINT", "the kernel"))
        self.assertNotIn("host main: stop requested", self.daemon.log())

    def test_a_lost_terminal_is_a_shutdown(self):
        watch = Watch(self.daemon)
        os.close(self.terminal)
        self.terminal = None
        watch.stage("delay")
        self.assertEqual(self.daemon.status().plan.requests[0].cause.signal, signal.SIGHUP)
        self.daemon.signal(signal.SIGQUIT)
        self.assertEqual(self.daemon.wait(), 0, self.daemon.log())


if __name__ == "__main__":
    unittest.main()
