"""Host names in `listen`, at a reload: a name service that is slow holds up nothing else."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
import unittest

from clients import AT_ONCE, PATIENCE, SLACK, wait_until
from harness import BIN, Daemon, need_root, run

# Nobody else's, should these tests run twice at once.
SERVER = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"
NAME = "shop.lastcall.example"
# Gives the program behind it a name service of its own.
HIDE = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


class NameService:
    """Knows one name, as 127.0.0.1, and says so when it is told to."""

    def __init__(self):
        self.asked = threading.Event()
        self.answering = threading.Event()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        question, asker = self.socket.recvfrom(512)
        while question:
            self.asked.set()
            if self.answering.is_set():
                self.socket.sendto(self.answer(question), asker)
            question, asker = self.socket.recvfrom(512)

    @staticmethod
    def answer(question):
        end = question.index(b"\0", 12) + 5
        wanted = question[end - 4:end - 2]
        found = [b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x7f\0\0\x01"] if wanted == b"\0\x01" else []
        return (question[:2] + b"\x81\x80\0\x01" + bytes([0, len(found)]) + b"\0\0\0\0" +
                question[12:end] + b"".join(found))

    def __enter__(self):
        self.socket.bind((SERVER, 53))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.sendto(b"", (SERVER, 53))
        self.thread.join()
        self.socket.close()


class NamesTest(unittest.TestCase):
    def setUp(self):
        need_root()
        if run("unshare", "--mount", "true").returncode != 0:
            self.skipTest("no mount namespaces here")
        self.names = self.enterContext(NameService())

    @contextlib.contextmanager
    def asking(self, **config):
        """A daemon that is asked to listen on the name too; and who asked."""
        daemon = Daemon(**config)
        resolver = daemon.folder / "resolv.conf"
        resolver.write_text(f"nameserver {SERVER}\noptions timeout:1 attempts:30\n")
        daemon.args = ["--mount", "sh", "-c", HIDE, resolver, BIN / "lastcalld", *daemon.args]
        daemon.program = "/usr/bin/unshare"
        with daemon:
            text = daemon.config.read_text(encoding="utf-8")
            daemon.config.write_text(text.replace("listen = [", f'listen = ["{NAME}:0", '),
                                     encoding="utf-8")
            asked = subprocess.Popen(daemon.ctl_command("--timeout", "60s", "reload"),
                                     stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.assertTrue(self.names.asked.wait(PATIENCE), daemon.log())
            yield daemon, asked
            asked.communicate(timeout=PATIENCE)

    def test_the_daemon_answers_meanwhile(self):
        with self.asking() as (daemon, asked):
            for _ in range(3):
                began = time.monotonic()
                self.assertEqual(daemon.current_stage(), "serving")
                self.assertLess(time.monotonic() - began, AT_ONCE)
            self.names.answering.set()
            said = asked.communicate(timeout=PATIENCE)
            self.assertEqual(asked.returncode, 0, said)
            wait_until(lambda: len(daemon.server().listen) == 3, "it listens there too")
            self.assertEqual(daemon.slow(0).text(), "slept")

    def test_a_shutdown_does_not_wait_for_it(self):
        with self.asking() as (daemon, asked):
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            self.assertLess(time.monotonic() - began, SLACK)
            self.assertIn("a shutdown is in progress", asked.communicate(timeout=PATIENCE)[1])
            daemon.assert_nothing_left()

    def test_it_has_its_time(self):
        with self.asking(reload={"ready": "1s"}) as (daemon, asked):
            said = asked.communicate(timeout=PATIENCE)[1]
            self.assertEqual(asked.returncode, 1)
            self.assertIn(f"cannot listen on {NAME}:0: the name has not been looked up after 1s",
                          said)
            self.assertEqual(len(daemon.server().listen), 2)
            # The next one is not held up by it.
            self.names.answering.set()
            daemon.ctl("reload", check=True)
            self.assertEqual(len(daemon.server().listen), 3)


if __name__ == "__main__":
    unittest.main()
