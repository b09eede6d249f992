"""The admin socket in the file system: one daemon each, nothing stale, and back when it is lost."""

import fcntl
import os
import re
import signal
import socket
import stat
import subprocess
import unittest

from clients import Watch, wait_until, word
from harness import BIN, Daemon, run

CANNOT_BIND = 69


class AdminSocketTest(unittest.TestCase):
    def expect_refused(self, config, *texts):
        done = run(BIN / "lastcalld", "--config", config)
        self.assertEqual(done.returncode, CANNOT_BIND, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for text in texts:
            self.assertIn(text, done.stderr)

    def test_what_is_there(self):
        with Daemon() as daemon:
            lock = daemon.folder / "admin.sock.lock"
            self.assertEqual(stat.S_IMODE(daemon.socket.stat().st_mode), 0o666)
            self.assertEqual(stat.S_IMODE(lock.stat().st_mode), 0o600)
            self.assertEqual(lock.read_text(), f"{daemon.pid}\n")
            daemon.ctl("shutdown", check=True)
            self.assertEqual(daemon.wait(), 0)
            daemon.assert_nothing_left()

    def test_a_stale_one_is_replaced(self):
        with Daemon() as daemon:
            before = daemon.socket.stat().st_ino
            os.kill(daemon.pid, signal.SIGKILL)
            daemon.process.wait()
            self.assertEqual(daemon.socket.stat().st_ino, before, "it is left behind")
            wait_until(lambda: not daemon.processes(), "its hosts have gone")
            daemon.start()
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            self.assertIn(f"pid {daemon.pid}", daemon.ctl("status").stdout)

    def test_a_live_one_is_refused(self):
        with Daemon() as daemon:
            before = daemon.socket.stat().st_ino
            held = (f"admin socket: {daemon.socket} is held by lastcalld (pid {daemon.pid})",
                    "give this one another [admin] socket")
            self.expect_refused(daemon.config, *held)
            # Also where somebody took the socket's path away, or the lock's.
            for name in ("admin.sock", "admin.sock.lock"):
                os.kill(daemon.pid, signal.SIGSTOP)
                (daemon.folder / name).unlink()
                self.expect_refused(daemon.config, f"pid {daemon.pid}")
                os.kill(daemon.pid, signal.SIGCONT)
                wait_until((daemon.folder / name).exists, f"{name} is back")
            self.assertNotEqual(daemon.socket.stat().st_ino, before)
            self.expect_refused(daemon.config, *held)
            self.assertIn(f"pid {daemon.pid}: serving", daemon.ctl("status").stdout)

    def test_a_lock_that_somebody_else_holds(self):
        blocked = Daemon(wait=False)
        lock = open(blocked.folder / "admin.sock.lock", "w", encoding="utf-8")
        self.addCleanup(lock.close)
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        with blocked as daemon:
            self.assertEqual(daemon.wait(), CANNOT_BIND)
            self.assertIn(f"pid {os.getpid()}", daemon.log())
            self.assertFalse(daemon.socket.exists())

    def test_of_many_that_start_at_once_one_runs(self):
        with Daemon() as daemon:
            daemon.ctl("shutdown", check=True)
            daemon.wait()
            for _ in range(5):
                racers = [subprocess.Popen([BIN / "lastcalld", "--config", daemon.config],
                                           env=daemon.env, stderr=subprocess.PIPE, text=True)
                          for _ in range(4)]
                self.await_all_but_one(racers)
                (winner,) = [each for each in racers if each.poll() is None]
                self.assertEqual({each.returncode for each in racers if each is not winner},
                                 {CANNOT_BIND})
                daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
                self.assertIn(f"pid {winner.pid}: ", daemon.ctl("status").stdout)
                daemon.ctl("shutdown", check=True)
                self.assertEqual(winner.wait(20), 0)
                for each in racers:
                    each.stderr.close()

    @staticmethod
    def await_all_but_one(racers):
        wait_until(lambda: sum(each.poll() is None for each in racers) == 1,
                   "all but one are refused")

    def test_a_lost_one_is_made_again(self):
        with Daemon() as daemon:
            watch = Watch(daemon)
            losses = (daemon.socket.unlink,
                      lambda: daemon.socket.rename(daemon.folder / "elsewhere"),
                      lambda: os.replace(self.listening(daemon.folder / "other"), daemon.socket))
            for count, lose in enumerate(losses, 1):
                self.lose(daemon, lose, count)
            # Who was connected never noticed.
            daemon.ctl("drain", "public", check=True)
            watch.when(lambda event: word(event.status.servers[0], "health") == "NOT_SERVING")
            daemon.ctl("shutdown", check=True)
            self.assertEqual(daemon.wait(), 0)
            self.assertEqual(len(re.findall("was removed; recreated", daemon.log())), len(losses))

    def lose(self, daemon, lose, count):
        """For the `count`th time; it comes back, and the log says so."""
        before = daemon.socket.stat().st_ino
        lose()
        said = f"the admin socket {daemon.socket} was removed; recreated"
        wait_until(lambda: daemon.log().count(said) == count, "the log says so")
        self.assertTrue(self.is_back(daemon, before))
        daemon.ctl("status", check=True)

    @staticmethod
    def is_back(daemon, before):
        try:
            return daemon.socket.is_socket() and daemon.socket.stat().st_ino != before
        except FileNotFoundError:
            return False

    @staticmethod
    def listening(path):
        """A socket that nobody listens on any more."""
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
        return path

    def test_what_is_in_the_way_is_left_alone(self):
        with Daemon() as daemon:
            daemon.socket.unlink()
            wait_until(daemon.socket.exists, "it is back")
            precious = daemon.folder / "precious"
            precious.write_text("precious", encoding="utf-8")
            precious.rename(daemon.socket)
            daemon.wait_log(f"admin socket {daemon.socket} is gone, and cannot be recreated now: ")
            self.assertEqual(daemon.socket.read_text(), "precious")
            self.assertIn("a file that is not a socket is in the way", daemon.log())
            # It is served all the same, and the socket is back as soon as it can be.
            self.assertEqual(daemon.process.poll(), None)
            daemon.socket.unlink()
            wait_until(daemon.socket.exists, "it is back")
            daemon.ctl("status", check=True)

    def test_a_lost_folder(self):
        lost = Daemon(wait=False)
        folder = lost.folder / "run"
        folder.mkdir()
        lost.socket = folder / "admin.sock"
        text = lost.config.read_text()
        lost.config.write_text(text.replace(f"{lost.folder}/admin.sock", str(lost.socket)))
        with lost as daemon:
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            folder.rename(daemon.folder / "moved")
            daemon.wait_log("is gone, and cannot be recreated now")
            folder.mkdir()
            wait_until(daemon.socket.exists, "it is back")
            self.lose(daemon, daemon.socket.unlink, 2)  # the new folder is watched like the old
            daemon.ctl("shutdown", check=True)
            self.assertEqual(daemon.wait(), 0)


if __name__ == "__main__":
    unittest.main()
