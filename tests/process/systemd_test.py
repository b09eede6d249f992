"""What systemd hears from the daemon, by sd_notify(3), and what its children inherit."""

import fcntl
import os
import pathlib
import shutil
import signal
import socket
import tempfile
import time
import unittest

import echo_pb2
import echo_pb2_grpc
from clients import PATIENCE, Call
from harness import BIN, Daemon, environment_of
from reexec_test import Installed
from shutdown_test import await_rest

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
            began = time.monotonic()
            with self.subTest(name=name), Notifications(name) as systemd, \
                    self.daemon(name, servers=slow) as daemon:
                ready = systemd.read()
                self.assertEqual(ready, {"READY": "1", "STATUS": "serving 1 server in 1 process"})
                self.assertGreaterEqual(time.monotonic() - began, 1.0)
                self.assertEqual(daemon.current_stage(), "serving")

    def test_reloading_and_ready_again(self):
        with Notifications(self.path) as systemd, self.daemon() as daemon:
            systemd.wait("READY")
            daemon.signal(signal.SIGHUP)
            self.assertIn("MONOTONIC_USEC", systemd.wait("RELOADING"))
            self.assertEqual(systemd.read()["READY"], "1")

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
            # As long as the plan and the last things after it may take, from now; then its end does not move.
            extended = int(systemd.wait("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"])
            self.assertGreaterEqual(extended, 41_000_000)
            self.assertLess(extended, 45_000_000)
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


class WatchdogTest(unittest.TestCase):
    """WATCHDOG=1, from the loop and the admin's server together."""

    PATIENCE_US = 2_000_000

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="lastcall-watchdog-"))
        self.path = str(pathlib.Path(folder) / "notify")
        self.systemd = self.enterContext(Notifications(self.path))

    def daemon(self, patience=PATIENCE_US, pid=None, **kwargs):
        env = {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": str(patience), "WATCHDOG_PID": pid}
        return self.enterContext(Daemon(env=env, **kwargs))

    def expect_beats(self, count):
        """So many more, none later than systemd would wait."""
        for _ in range(count):
            before = time.monotonic()
            self.systemd.wait("WATCHDOG")
            self.assertLess(time.monotonic() - before, self.PATIENCE_US / 1e6)

    def expect_none(self, seconds):
        self.systemd.rest()
        before = len(self.systemd.items)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.1)
            self.systemd.rest()
            said = [variable for variable, _ in self.systemd.items[before:]]
            self.assertNotIn("WATCHDOG", said)
        self.systemd.socket.settimeout(PATIENCE)

    def test_it_beats_while_the_daemon_lives(self):
        self.daemon()
        self.expect_beats(6)

    def test_a_host_that_hangs_is_no_part_of_it(self):
        daemon = self.daemon()
        host = daemon.process_pid()
        os.kill(host, signal.SIGSTOP)
        self.addCleanup(os.kill, host, signal.SIGCONT)
        self.expect_beats(8)
        self.assertFalse(daemon.process_status().answering)
        self.expect_beats(2)

    def test_a_daemon_that_stands_still_does_not_beat(self):
        daemon = self.daemon()
        self.expect_beats(2)
        daemon.signal(signal.SIGSTOP)
        self.addCleanup(daemon.signal, signal.SIGCONT)
        self.expect_none(1.5 * self.PATIENCE_US / 1e6)
        daemon.signal(signal.SIGCONT)
        self.expect_beats(2)

    def test_another_build_of_the_daemon_goes_on_with_it(self):
        env = {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": str(self.PATIENCE_US)}
        daemon = self.enterContext(Installed(env=env))
        self.expect_beats(2)
        daemon.upgrade()
        self.assertEqual(daemon.reload()[0], 0)
        self.assertEqual(daemon.builds_taken(), 1)
        self.systemd.rest()
        self.systemd.socket.settimeout(PATIENCE)
        self.expect_beats(6)

    def test_a_watchdog_of_another_process_is_not_the_daemons(self):
        daemon = self.daemon(pid="1")
        self.assertEqual(daemon.current_stage(), "serving")
        self.expect_none(self.PATIENCE_US / 1e6)

    def test_without_one_nobody_is_told(self):
        self.daemon(patience=0)
        self.expect_none(1)

    def test_it_beats_while_the_daemon_stops(self):
        daemon = self.daemon(shutdown={"delay": "0s", "grace": "20s", "cancel": "5s"})
        call = daemon.held()
        daemon.signal(signal.SIGTERM)
        self.systemd.wait("STOPPING")
        self.expect_beats(6)
        call.finish()
        self.assertEqual(daemon.wait(), 0)


def signals_of(pid, field):
    """A set of signals that /proc/PID/status shows as a mask."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, mask = line.partition(":\t")
        if name == field:
            mask = int(mask, 16)
            return {number for number in signal.valid_signals() if mask >> (number - 1) & 1}
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
            daemon.wait_log("reload requested by SIGHUP")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            daemon.assert_nothing_left()



class SocketTest(unittest.TestCase):
    """Sockets that systemd passes, by name."""

    def setUp(self):
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory(prefix="lastcall-sockets-")))

    def listening(self, path=None):
        passed = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        passed.bind(os.fsencode(path) if path else ("127.0.0.1", 0))
        passed.listen(100)
        self.addCleanup(passed.close)
        return passed

    def daemon(self, sockets, listen, wait=True, binary=BIN):
        """`sockets`: (name, socket), passed as systemd does."""
        fds = range(3, 3 + len(sockets))
        # In two steps, for a number may be the next one's too.
        def pass_them():
            copies = [os.dup(passed.fileno()) for _, passed in sockets]
            high = [fcntl.fcntl(copy, fcntl.F_DUPFD, 100) for copy in copies]
            for fd, copy in zip(fds, high):
                os.dup2(copy, fd)

        daemon = Daemon(servers={"public": {"listen": listen}}, wait=wait,
                        env={"LISTEN_FDS": str(len(sockets)),
                             "LISTEN_FDNAMES": ":".join(name for name, _ in sockets)},
                        spawn={"preexec_fn": pass_them, "pass_fds": tuple(fds)})
        # LISTEN_PID is the daemon's own.
        daemon.program = self.folder / "lastcalld"
        daemon.program.write_text(f'#!/bin/sh\nexport LISTEN_PID=$$\nexec {binary}/lastcalld "$@"\n')
        daemon.program.chmod(0o755)
        return daemon

    def test_names_that_are_no_text(self):
        sockets = [(os.fsdecode(b"o\xff"), self.listening()),
                   ("web", self.listening(self.folder / os.fsdecode(b"w\xff.sock")))]
        with self.daemon(sockets, ["systemd:web"]) as daemon:
            self.assertEqual(daemon.server().listen, [f"unix:{self.folder}/w\\xff.sock"])
            self.assertIn('systemd passed socket "o\\xff", which', daemon.log())

    def test_found_by_name_and_not_by_place(self):
        path = self.folder / "web.sock"
        sockets = [("other", self.listening()), ("web", self.listening()),
                   ("web", self.listening(path))]
        with self.daemon(sockets, ["systemd:web"]) as daemon:
            port = sockets[1][1].getsockname()[1]
            self.assertEqual(sorted(daemon.server().listen),
                             sorted([f"127.0.0.1:{port}", f"unix:{path}"]))
            for kind in ("tcp", "unix"):
                self.assertEqual(daemon.slow(0, kind=kind).text(), "slept")
            self.assertIn('systemd passed socket "other", which no server listens on', daemon.log())
            for host in daemon.hosts():
                self.assertFalse([each for each in environment_of(host) if "LISTEN" in each])
            daemon.ctl("restart", "main", check=True)
            self.assertEqual(daemon.slow(0).text(), "slept")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
        self.assertTrue(path.exists(), "it is systemd's")

    def test_open_across_stop_and_start(self):
        passed = self.listening()
        with self.daemon([("web", passed)], ["systemd:web"]) as daemon:
            channel = daemon.channel()
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            waiting = Call(echo_pb2_grpc.EchoStub(channel).Unary,
                           echo_pb2.EchoRequest(text="meanwhile"))
            time.sleep(0.2)
            self.assertFalse(waiting.over(), "its client waits in the queue")
            daemon.start()
            self.assertEqual(waiting.text(), "meanwhile")

    def test_they_come_along_into_another_build(self):
        binary = self.folder / "bin"
        binary.mkdir()
        for name in ("lastcalld", "lastcall-host"):
            shutil.copy(BIN / name, binary)
        passed = self.listening()
        with self.daemon([("web", passed)], ["systemd:web"], binary=binary) as daemon:
            for build in (b"second", b"third"):
                (binary / "new").write_bytes((BIN / "lastcalld").read_bytes() + build)
                (binary / "new").chmod(0o755)
                (binary / "new").rename(binary / "lastcalld")
                self.assertIn("~ lastcalld: another build", daemon.ctl("reload").stdout)
                self.assertEqual(daemon.slow(0).text(), "slept")
                daemon.ctl("restart", "main", check=True)  # which gets it from the new build
                self.assertEqual(daemon.slow(0).text(), "slept")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
        with socket.socket() as client:
            client.connect(passed.getsockname())  # it was not ours to end
            passed.accept()[0].close()

    def test_in_grace_clients_wait(self):
        sockets = [("web", self.listening()), ("web", self.listening(self.folder / "web.sock"))]
        with self.daemon(sockets, ["systemd:web"]) as daemon:
            held = daemon.held()
            daemon.signal(signal.SIGTERM)
            daemon.wait_log("stage grace")
            self.assertEqual(held.finish(), "held")
            self.assertEqual(daemon.wait(), 0)
        for _, passed in sockets:
            with socket.socket(passed.family) as client:
                client.connect(passed.getsockname())
                passed.accept()[0].close()

    def test_one_that_was_shut_down_is_named_and_costs_nothing(self):
        passed = self.listening(self.folder / "web.sock")
        with self.daemon([("web", passed)], ["systemd:web"]) as daemon:
            passed.shutdown(socket.SHUT_RDWR)
            daemon.wait_log("restart the socket unit that passed it")
            await_rest(daemon.pid)

    def test_names_that_were_not_passed(self):
        for sockets, text in (
                ([("api", self.listening())], "systemd passed no socket of that name, but: api"),
                ([], "systemd passed no sockets; start the daemon by a .socket unit")):
            with self.subTest(text), self.daemon(sockets, ["systemd:web"], wait=False) as daemon:
                self.assertEqual(daemon.wait(), 69, daemon.log())
                self.assertIn(f"server public: systemd:web: {text}", daemon.log())

    def test_one_that_does_not_listen(self):
        passed = socket.socket()
        self.addCleanup(passed.close)
        with self.daemon([("web", passed)], ["systemd:web"], wait=False) as daemon:
            self.assertEqual(daemon.wait(), 69, daemon.log())
            self.assertIn("does not listen for streams", daemon.log())


if __name__ == "__main__":
    unittest.main()
