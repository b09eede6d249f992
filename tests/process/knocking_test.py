"""Clients that connect and close in a loop: they starve nobody, and hold up no stop, drain or
replacement."""

import contextlib
import grp
import os
import pathlib
import shutil
import signal
import subprocess
import time
import unittest

from clients import SANITIZED, SLACK, Busy, wait_until
from harness import BIN, Daemon, alive, need_root, run
from reexec_test import Installed

KNOCK = pathlib.Path(os.environ["LASTCALL_BUILD"]) / "tests" / "knock"
DONE, DENIED = 0, 77
# Users that no machine has, and groups that every Debian has.
ALICE, BOB, MALLORY = 12345, 12346, 65534
OPERATORS, OBSERVERS = "games", "users"
GRACE, CANCEL = 1, 8 if SANITIZED else 1


@contextlib.contextmanager
def knocking(address, processes, user=None, held=1):
    """So many processes that connect and close, until the end; each holds its last ones."""
    user = os.getuid() if user is None else user
    started = [subprocess.Popen([KNOCK, str(user), str(held), str(address)],
                                stdout=subprocess.PIPE) for _ in range(processes)]
    try:
        for each in started:
            assert each.stdout.readline(), f"knock ended: {each.wait()}"
        yield
    finally:
        for each in started:
            each.kill()
            each.communicate()


class AdminTest(unittest.TestCase):
    """A user without a role, with six processes, on the admin socket."""

    def setUp(self):
        need_root()

    @contextlib.contextmanager
    def knocked_at(self, kind=Daemon, **config):
        daemon = self.enterContext(kind(
            admin={"operators": [OPERATORS], "observers": [OBSERVERS]}, log={"level": "info"},
            shutdown={"grace": f"{GRACE}s", "cancel": f"{CANCEL}s"}, **config))
        daemon.folder.chmod(0o755)
        self.program = daemon.folder / "lastcallctl"  # the build may be where others cannot go
        shutil.copy(BIN / "lastcallctl", self.program)
        with knocking(daemon.socket, 3, MALLORY), knocking(daemon.socket, 3, MALLORY, held=16):
            yield daemon

    def ctl(self, daemon, *args, uid=BOB, groups=()):
        return run(self.program, "--socket", daemon.socket, *args, user=uid, group=uid,
                   extra_groups=[grp.getgrnam(each).gr_gid for each in groups])

    def test_no_command_of_an_operator_fails(self):
        with self.knocked_at() as daemon:
            failed = []
            for number in range(200):
                verb = (("status",), ("servers",), ("drain", "public"), ("undrain", "public"))
                done = self.ctl(daemon, *verb[number % 4], groups=[OPERATORS])
                if done.returncode != DONE:
                    failed.append((number, done.returncode, done.stderr))
            self.assertEqual(failed, [])

    def test_other_strangers_hear_what_they_lack_and_observers_see(self):
        with self.knocked_at() as daemon:
            for _ in range(10):
                done = self.ctl(daemon, "status", uid=ALICE)
                self.assertEqual(done.returncode, DENIED, done.stderr)
                self.assertIn(f"looking needs the group {OBSERVERS}", done.stderr)
                done = self.ctl(daemon, "status", groups=[OBSERVERS])
                self.assertEqual(done.returncode, DONE, done.stderr)

    def test_a_stop_is_on_time(self):
        with self.knocked_at() as daemon:
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            self.assertLess(time.monotonic() - began, SLACK)
            daemon.assert_nothing_left()

    def test_a_shutdown_hears_its_receipt(self):
        with self.knocked_at() as daemon:
            done = self.ctl(daemon, "shutdown", groups=[OPERATORS])
            self.assertEqual(done.returncode, DONE, done.stdout + done.stderr)
            self.assertIn("every call finished", done.stdout)
            self.assertEqual(daemon.wait(), 0)

    def test_a_socket_that_was_removed_is_made_again(self):
        with self.knocked_at() as daemon:
            for _ in range(3):
                daemon.socket.unlink()
                wait_until(daemon.socket.exists, "it is back", SLACK)
                done = self.ctl(daemon, "status", groups=[OPERATORS])
                self.assertEqual(done.returncode, DONE, done.stderr)

    def test_another_build_takes_over(self):
        with self.knocked_at(kind=Installed) as daemon:
            daemon.upgrade()
            done = self.ctl(daemon, "reload", groups=[OPERATORS])
            self.assertEqual(done.returncode, DONE, done.stderr)
            self.assertEqual(daemon.builds_taken(), 1)


class PublicTest(unittest.TestCase):
    """Three processes on a listener of a server, beside a bystander who loses nothing."""

    @contextlib.contextmanager
    def knocked_at(self, kind="tcp"):
        with Daemon(shutdown={"grace": f"{GRACE}s", "cancel": f"{CANCEL}s"}, log={"level": "info"},
                    reload={"settle": "0s"}) as daemon:
            address = daemon.address(kind=kind)
            address = address.removeprefix("unix:") if kind == "unix" else address.split(":")[-1]
            with Busy(daemon) as bystander, knocking(address, 3):
                before = len(bystander.ok)
                wait_until(lambda: len(bystander.ok) > before + 20, "the bystander is served")
                yield daemon
            self.bystander = bystander

    def test_a_stop_is_on_time(self):
        for kind in ("tcp", "unix"):
            with self.subTest(kind), self.knocked_at(kind) as daemon:
                began = time.monotonic()
                daemon.signal(signal.SIGTERM)
                self.assertEqual(daemon.wait(), 0, daemon.receipt())
                self.assertLess(time.monotonic() - began, GRACE + CANCEL + SLACK)
                daemon.assert_nothing_left()

    def test_a_replacement_loses_nothing_and_ends(self):
        for kind in ("tcp", "unix"):
            with self.subTest(kind), self.knocked_at(kind) as daemon:
                for _ in range(3):
                    old = daemon.process_pid()
                    done = daemon.ctl("restart", "main")
                    self.assertEqual(done.returncode, DONE, done.stderr)
                    wait_until(lambda: not alive(old), "the old one has retired", GRACE + SLACK)
            self.assertEqual(self.bystander.failed, [])

    def test_a_drain_is_immediate(self):
        with self.knocked_at() as daemon:
            for _ in range(5):
                for verb in ("drain", "undrain"):
                    began = time.monotonic()
                    done = daemon.ctl(verb, "public")
                    self.assertEqual(done.returncode, DONE, done.stderr)
                    self.assertLess(time.monotonic() - began, SLACK)
        self.assertEqual(self.bystander.failed, [])


if __name__ == "__main__":
    unittest.main()
