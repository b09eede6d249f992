"""What a person sees of lastcallctl, in an ordinary terminal of 80 columns."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import unittest

from clients import PATIENCE
from harness import BIN, Daemon

SERVER = "public-interface-of-the-whole-corporation"
PROCESS = "main-process-of-the-corporation"
WIDTH = 80


class Terminal:
    """A program with a terminal of its own; `shown` is what it wrote there, once it has ended."""

    def __init__(self, *command, colour=False):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
        env = {**os.environ, "TERM": "xterm"}
        env.pop("NO_COLOR", None)
        if not colour:
            env["NO_COLOR"] = "1"
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        self.text = ""

    def read(self):
        """Something more; False: there is nothing to come."""
        try:
            part = os.read(self.ours, 65536)
        except OSError:  # as Linux says that nobody has the other end any more
            return False
        self.text += part.decode()
        return bool(part)

    def until(self, pattern):
        while not re.search(pattern, self.text):
            if not self.read():
                raise AssertionError(f"{pattern} never came:\n{self.text}")
        return self.text

    def shown(self):
        while self.read():
            pass
        os.close(self.ours)
        self.code = self.process.wait(PATIENCE)
        return self.text.replace("\r\n", "\n")


def in_terminal(*command):
    return Terminal(*command).shown()


def lines_of(shown):
    """Without what moves the cursor and erases."""
    return re.sub(r"\x1b\[[0-9]*[AJK]|\r", "", shown).splitlines()


class NarrowTest(unittest.TestCase):
    def assert_fits(self, shown):
        for line in lines_of(shown):
            self.assertLessEqual(len(line), WIDTH, f"{line}\n{shown}")

    def test_every_verb_fits_and_shortens_no_name(self):
        with Daemon({SERVER: {"process": PROCESS, "listen": ["[::1]:0"]}, "small": {}},
                    shutdown={"grace": "300ms"}) as daemon:
            call = daemon.slow(60, name=SERVER)
            daemon.await_calls(1, name=SERVER)
            drain = ("drain", SERVER, "--reason", "a load test that goes on for the whole night")
            for verb, name in ((drain, SERVER), (("status",), PROCESS), (("servers",), SERVER),
                               (("servers", SERVER), PROCESS),
                               (("reload", "--dry-run"), PROCESS),
                               (("restart", PROCESS), PROCESS),
                               (("shutdown", "--dry-run"), "would stop"),
                               (("drain", "smal"), 'did you mean "small"'),
                               (("undrain", SERVER), SERVER), (("version",), "lastcalld")):
                with self.subTest(verb):
                    shown = in_terminal(*daemon.ctl_command(*verb))
                    self.assert_fits(shown)
                    self.assertIn(name, shown)
            watch = Terminal(*daemon.ctl_command("watch"))
            watch.until("serving")
            shown = in_terminal(*daemon.ctl_command(
                "shutdown", "--reason", "the new kernel, which everybody has been waiting for"))
            self.assert_fits(shown)
            for whole in (SERVER, PROCESS, r" \[::1\]:\d+\b"):
                self.assertRegex(shown, whole)
            self.assert_fits(watch.shown())
            self.assertNotEqual(call.code().name, "OK")
            self.assertRegex(daemon.receipt()["cancelled"][0]["peer"], r"^\[::1\]:\d+$")

    def test_words_of_an_error_are_whole(self):
        shown = in_terminal(BIN / "lastcallctl", "--socket", "/nowhere/at/all/admin.sock", "status")
        self.assert_fits(shown)
        self.assertIn("/nowhere/at/all/admin.sock", shown)
        self.assertGreater(len(shown.splitlines()), 1)


if __name__ == "__main__":
    unittest.main()
