"""A process in which no call gets through: said, or replaced where the configuration has it so; and
neither where it is only slow, busy or stopped."""

import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import unittest

import stuck_pb2_grpc
from clients import PATIENCE, wait_until
from harness import BUILD, Daemon, alive
from stuck_pb2 import StuckRequest
from systemd_test import Notifications

PLUGIN = str(BUILD / "tests" / "plugins" / "stuck.so")
METHOD = "/lastcall.test.CallbackStuck/Unary"
LONG = 60_000  # ms
# A thread sanitizer's own code has no frames to go on by.
RUNS_LATE = "thread" in os.environ.get("LASTCALL_SANITIZE", "")


def wait(seconds):
    """For what must not happen."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: False, "nothing", seconds)


class FrozenTest(unittest.TestCase):
    def daemon(self, frozen="replace", frozen_after="1s", **config):
        reactors = {"plugins": [PLUGIN], "config": {"stuck": {"callback": True}},
                    "process": "reactors"}
        return self.enterContext(Daemon(
            servers={"callback": reactors, "other": {}},
            process={"reactors": {"frozen": frozen, "frozen_after": frozen_after}}, **config))

    @staticmethod
    def begin(daemon, how, for_ms=LONG):
        stub = stuck_pb2_grpc.CallbackStuckStub(daemon.channel("callback"))
        return stub.Unary.future(StuckRequest(how=StuckRequest.How.Value(how), for_ms=for_ms),
                                 timeout=PATIENCE)

    def freeze(self, daemon, how="SLEEP", for_ms=LONG):
        """Both callback threads of the process are in a handler from here on."""
        calls = [self.begin(daemon, how, for_ms) for _ in range(2)]
        self.addCleanup(lambda: [call.cancel() for call in calls])
        return calls

    def expect_untouched(self, daemon, incarnation=1):
        self.assertEqual(daemon.process_status("reactors").incarnation, incarnation)
        self.assertNotIn("replacing it", daemon.log())

    def test_a_frozen_process_is_replaced_and_no_other(self):
        daemon = self.daemon()
        old, other = daemon.process_pid("reactors"), daemon.process_pid("main")
        self.freeze(daemon)
        daemon.wait_log("process reactors is frozen: 2 of 2 callback threads are held by "
                        f"{METHOD} (blocked in ")
        wait_until(lambda: daemon.process_pid("reactors") != old, "a successor has taken over")
        # The next call has its answer while the old one is as frozen as before.
        self.begin(daemon, "NOT").result(PATIENCE)
        self.assertTrue(alive(old))
        self.assertEqual(daemon.process_status("reactors").retired[0].pid, old)
        wait_until(lambda: not alive(old), "it has ended")

        status = daemon.process_status("reactors")
        self.assertEqual((status.incarnation, status.restarts, status.frozen), (2, 0, ""))
        self.assertEqual(daemon.process_pid("main"), other)
        log = daemon.log()
        if not RUNS_LATE:
            self.assertLess(log.index("StuckSleeping("), log.index("replacing it"))
        self.assertRegex(log, r'is frozen: .*; replacing it \(frozen = "replace"\)')
        receipt = next(line for line in log.splitlines() if "receipt: " in line)
        self.assertIn(METHOD, receipt)
        self.assertNotIn("lastcalld: process main is frozen", log)

    def test_one_that_is_only_reported_is_not_replaced(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="lastcall-frozen-"))
        path = str(pathlib.Path(folder) / "notify")
        systemd = self.enterContext(Notifications(path))
        daemon = self.daemon(frozen="report", env={"NOTIFY_SOCKET": path})
        calls = self.freeze(daemon, for_ms=6000)
        frozen = "serving 2 servers in 2 processes; process reactors is frozen"
        while systemd.wait("STATUS")["STATUS"] != frozen:
            pass
        wait_until(lambda: daemon.process_status("reactors").frozen, "the status says so")
        status = daemon.ctl("status").stdout
        self.assertIn("frozen: 2 of 2 callback threads", " ".join(status.split()))
        daemon.wait_log('"lastcallctl restart reactors" replaces it, and with frozen = "replace" in '
                        "[process.reactors] lastcalld would")
        for call in calls:
            call.result(PATIENCE)
        wait_until(lambda: not daemon.process_status("reactors").frozen, "it is so no more")
        daemon.wait_log("process reactors is frozen no more")
        self.assertEqual(systemd.wait("STATUS")["STATUS"], "serving 2 servers in 2 processes")
        self.expect_untouched(daemon)

    def test_one_that_was_stopped_for_long_is_not_replaced(self):
        daemon = self.daemon(frozen_after="4s")
        calls = self.freeze(daemon, for_ms=3000)
        daemon.wait_log("2 of 2 callback threads are held")
        host = daemon.process_pid("reactors")
        os.kill(host, signal.SIGSTOP)
        self.addCleanup(lambda: alive(host) and os.kill(host, signal.SIGCONT))
        wait(8)
        os.kill(host, signal.SIGCONT)
        daemon.wait_log("paused: the whole process stood still for ")
        for call in calls:
            call.result(PATIENCE)
        wait(5)
        self.expect_untouched(daemon)
        self.assertNotIn("lastcalld: process reactors is frozen", daemon.log())

    def test_a_busy_one_on_a_busy_machine_is_not_replaced(self):
        daemon = self.daemon()
        over, answered = threading.Event(), []
        stub = stuck_pb2_grpc.CallbackStuckStub(daemon.channel("callback"))

        def load():
            while not over.is_set():
                stub.Unary(StuckRequest(how=StuckRequest.COMPUTE, for_ms=150), timeout=PATIENCE)
                answered.append(1)
        with contextlib.ExitStack() as ending:
            for _ in range(2 * os.cpu_count()):
                burner = subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"])
                ending.callback(burner.wait)
                ending.callback(burner.kill)
            for _ in range(6):
                thread = threading.Thread(target=load)
                thread.start()
                ending.callback(thread.join)
            ending.callback(over.set)
            wait_until(lambda: len(answered) > 10, "calls are served")
            wait(8)
        self.expect_untouched(daemon)
        self.assertNotIn("lastcalld: process reactors is frozen", daemon.log())

    def test_a_policy_is_changed_by_a_reload_without_a_replacement(self):
        daemon = self.daemon(frozen="report")
        self.freeze(daemon)
        wait_until(lambda: daemon.process_status("reactors").frozen, "it is frozen")
        text = daemon.config.read_text(encoding="utf-8")
        daemon.config.write_text(text.replace('frozen = "report"', 'frozen = "replace"'),
                                 encoding="utf-8")
        daemon.ctl("reload", check=True)
        daemon.wait_log('replacing it (frozen = "replace")')
        wait_until(lambda: daemon.process_status("reactors").incarnation == 2, "it is replaced")


if __name__ == "__main__":
    unittest.main()
