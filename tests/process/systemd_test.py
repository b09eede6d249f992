"""What systemd hears from the daemon, by sd_notify(3), and what its children inherit."""

import pathlib
import signal
import socket
import tempfile
import time
import unittest

from clients import PATIENCE
from harness import Daemon, environment_of

LONG = {"delay": "10s", "grace": "20s", "cancel": "5s"}


class Notifications:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, name):
        self.items = []  # (variable, value), in order
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.socket.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def read(self):
        """The variables of one message."""
        message = [line.split("=", 1) for line in self.socket.recv(65536).decode().splitlines()]
        self.items += message
        return dict(message)

    def wait(self, variable):
        """What the next message says that has the variable."""
        while True:
            message = self.read()
            if variable in message:
                return message

    def rest(self):
        """Everything that was said."""
        self.socket.setblocking(False)
        try:
            while True:
                self.read()
        except BlockingIOError:
            return self.items


class NotifyTest(unittest.TestCase):
    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="lastcall-notify-"))
        self.path = str(pathlib.Path(folder) / "notify")

    def daemon(self, name=None, **kwargs):
        return Daemon(wait=False, env={"NOTIFY_SOCKET": name or self.path}, **kwargs)

    def test_ready_when_serving_and_not_before(self):
        for name in (self.path, f"@lastcall-test-{time.monotonic_ns()}"):
            slow = {"public": {"config": {"echo": {"hang_start": "1s"}}}}
            with self.subTest(name=name), Notifications(name) as systemd, \
                    self.daemon(name, servers=slow) as daemon:
                began = time.monotonic()
                ready = systemd.read()
                self.assertEqual(ready, {"READY": "1", "STATUS": "serving 1 server in 1 process"})
                self.assertGreaterEqual(time.monotonic() - began, 1.0)
                self.assertEqual(daemon.status().stage, "serving")

    def test_never_ready_when_it_cannot_start(self):
        broken = {"public": {"config": {"echo": {"fail_start": "out of licences"}}}}
        with Notifications(self.path) as systemd, self.daemon(servers=broken) as daemon:
            self.assertEqual(daemon.wait(), 70)
            said = systemd.rest()
            self.assertNotIn("READY", [variable for variable, _ in said])
            self.assertIn("out of licences", said[-1][1])

    def test_stopping(self):
        with Notifications(self.path) as systemd, self.daemon(shutdown=LONG) as daemon:
            systemd.wait("READY")
            call = daemon.slow(60, leave=True)
            daemon.await_calls(1)
            daemon.signal(signal.SIGTERM)
            self.assertEqual(systemd.read(), {"STOPPING": "1", "STATUS": "stopping: delay"})
            # As long as the plan may take, from now; then its end does not move by itself.
            extended = int(systemd.wait("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"])
            self.assertGreaterEqual(extended, 34_000_000)
            self.assertLess(extended, 40_000_000)
            daemon.ctl("shutdown", "--no-wait", "--delay", "0s", check=True)
            self.assertEqual(call.text(), "left early")
            self.assertEqual(daemon.wait(), 0)
            said = systemd.rest()
            statuses = [value for variable, value in said if variable == "STATUS"]
            self.assertEqual(statuses[:4], ["serving 1 server in 1 process", "stopping: delay",
                                            "stopping: grace", "stopping: cancel"])
            self.assertRegex(statuses[4], "^stopped in .*, every call finished$")
            self.assertEqual([variable for variable, _ in said].count("READY"), 1)

    def test_a_drain_is_not_the_end(self):
        with Notifications(self.path) as systemd, self.daemon() as daemon:
            systemd.wait("READY")
            daemon.ctl("drain", "public", check=True)
            daemon.ctl("undrain", "public", check=True)
            self.assertEqual(len(systemd.rest()), 2)  # READY and STATUS

    def test_grace_without_end_is_extended_all_the_same(self):
        with Notifications(self.path) as systemd, \
                self.daemon(shutdown={"grace": "infinity"}) as daemon:
            systemd.wait("READY")
            daemon.slow(60)
            daemon.await_calls(1)
            daemon.signal(signal.SIGTERM)
            extended = systemd.wait("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"]
            self.assertGreaterEqual(int(extended), 10_000_000)

    def test_nobody_listens(self):
        with self.daemon() as daemon:
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)


def signals_of(pid, field):
    """A set of signals that /proc/PID/status shows as a mask."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, mask = line.partition(":\t")
        if name == field:
            return {number for number in signal.valid_signals() if int(mask, 16) >> (number - 1) & 1}
    raise AssertionError(f"{pid} has no {field}")


class InheritedTest(unittest.TestCase):
    def test_environment(self):
        systemds = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1", "LISTEN_FDS": "1",
                    "LISTEN_PID": "1", "LISTEN_FDNAMES": "public", "NOTIFY_SOCKET": "/no/such"}
        with Daemon(env={**systemds, "FLAVOUR": "kept"}) as daemon:
            inherited = environment_of(daemon.process_pid())
            self.assertEqual(set(systemds) & set(inherited), set())
            self.assertEqual(inherited["FLAVOUR"], "kept")

    def test_signals(self):
        """A parent that blocks and ignores what it should not."""
        blocked = {signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD}
        ignored = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)

        def spoil():
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, blocked)

        with Daemon(spawn={"preexec_fn": spoil}) as daemon:
            host = daemon.process_pid()
            read = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1}
            self.assertEqual(signals_of(host, "SigBlk"), read)
            self.assertEqual(signals_of(host, "SigIgn"), {signal.SIGPIPE})
            daemon.signal(signal.SIGHUP)
            daemon.wait_log("SIGHUP: this version cannot reload")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            daemon.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
