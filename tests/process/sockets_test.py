"""Listening sockets that somebody takes away: noticed, named, made again; and no call is lost."""

import os
import unittest

from clients import Busy, wait_until
from harness import Daemon
from strangers_test import RUDE, begin_nothing


class RemovedTest(unittest.TestCase):
    def daemon(self):
        return Daemon(reload={"settle": "300ms"})

    def path(self, daemon):
        return daemon.address(kind="unix").removeprefix("unix:")

    def test_a_path_that_was_removed(self):
        with self.daemon() as daemon, Busy(daemon) as tcp, Busy(daemon, kind="unix") as unix:
            path = self.path(daemon)
            for incarnation in (2, 3):
                os.unlink(path)
                wait_until(lambda: os.path.exists(path), "it is made again")
                wait_until(lambda: daemon.process_status().incarnation == incarnation,
                           "a successor serves it")
                # Who comes now meets the new socket, whoever accepts at the moment.
                self.assertEqual(daemon.slow(0, kind="unix").text(), "slept")
            self.assertEqual(daemon.log().count("was removed; recreated"), 2)
            self.assertIn(path, daemon.log())
        self.assertEqual(tcp.failed + unix.failed, [])

    @staticmethod
    def put_file(path):
        """Puts a file in its place, at once: nobody sees it missing."""
        with open(path + ".file", "w", encoding="utf-8"):
            pass
        os.rename(path + ".file", path)

    def test_a_path_that_another_file_took(self):
        with self.daemon() as daemon:
            path = self.path(daemon)
            self.put_file(path)
            daemon.wait_log("cannot be recreated now")
            self.assertIn("a file that is not a socket is in the way", daemon.log())
            self.assertEqual(daemon.slow(0).text(), "slept")
            os.unlink(path)
            wait_until(lambda: os.path.exists(path), "it is made again")
            daemon.wait_log("was removed; recreated")
            wait_until(lambda: daemon.process_status().incarnation == 2, "a successor serves it")
            self.assertEqual(daemon.slow(0, kind="unix").text(), "slept")

    def test_one_that_cannot_be_made_again_holds_up_no_other(self):
        with Daemon(servers={"a": {}, "b": {"process": "two"}}, reload={"settle": "300ms"}) as daemon:
            blocked, removed = (daemon.address(name, "unix").removeprefix("unix:")
                                for name in ("a", "b"))
            self.put_file(blocked)
            daemon.wait_log("cannot be recreated now")
            os.unlink(removed)
            wait_until(lambda: daemon.process_status("two").incarnation == 2,
                       "a successor serves it")
            self.assertEqual(daemon.slow(0, name="b", kind="unix").text(), "slept")
            os.unlink(blocked)

    def test_what_was_removed_has_its_mode_again(self):
        with self.daemon() as daemon:
            path = self.path(daemon)
            text = daemon.config.read_text()
            daemon.config.write_text(text.replace(f"unix:{path}", f"unix:{path}?mode=0600"))
            daemon.ctl("reload", check=True)
            os.unlink(path)
            wait_until(lambda: os.path.exists(path), "it is made again")
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)

    def test_a_stop_leaves_it_removed(self):
        with self.daemon() as daemon:
            path = self.path(daemon)
            daemon.ctl("shutdown", check=True)
            daemon.wait()
            self.assertFalse(os.path.exists(path))
            self.assertNotIn("recreated", daemon.log())


class ShutDownTest(unittest.TestCase):
    def daemon(self, call):
        return Daemon(servers={"public": {"plugins": ["echo", RUDE],
                                          "config": {"rude": {"call": call}}}},
                      reload={"settle": "300ms"})

    def test_of_tcp(self):
        with self.daemon("shut down TCP") as daemon:
            address = daemon.address()
            for _ in range(3):
                begin_nothing(daemon).result()
            daemon.wait_log("was shut down by a process that shares it: a plugin of process main")
            daemon.wait_log("it listens again")
            self.assertIn(address.rsplit(":", 1)[0], daemon.log())
            self.assertEqual(daemon.slow(0).text(), "slept")
            self.assertEqual(daemon.process_status().incarnation, 1)

    def test_of_a_unix_path(self):
        with self.daemon("shut down unix") as daemon:
            begin_nothing(daemon).result()
            daemon.wait_log("was shut down by a process that shares it: a plugin of process main")
            wait_until(lambda: daemon.process_status().incarnation == 2, "a successor serves it")
            self.assertEqual(daemon.slow(0, kind="unix").text(), "slept")
            self.assertEqual(daemon.slow(0).text(), "slept")


if __name__ == "__main__":
    unittest.main()
