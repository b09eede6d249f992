"""What a person sees of lastcallctl, in an ordinary terminal of 80 columns."""

import fcntl
import os
import pathlib
import pty
import re
import shlex
import shutil
import struct
import subprocess
import termios
import unittest

from clients import PATIENCE, wait_until
from harness import BIN, PLUGINS, Daemon, need_root

SERVER = "public-interface-of-the-whole-corporation"
PROCESS = "main-process-of-the-corporation"
WIDTH = 80


class Terminal:
    """A program with a terminal of its own; `shown` is what it wrote there, once it has ended."""

    def __init__(self, *command, colour=False, **spawn):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
        env = {**os.environ, "TERM": "xterm"}
        env.pop("NO_COLOR", None)
        if not colour:
            env["NO_COLOR"] = "1"
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=env,
            **spawn)
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


def shape(text):
    """Without what differs from one run to the next: how wide a column is, and what is counted."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r"(?m)(?<=\s)(unix:\S+|[\d.]+:\d+|\[\S*\]:\d+)", "ADDRESS", text)
    text = re.sub(r"\S*/lastcalld\.toml", "FILE", text)
    text = re.sub(r"\d[\d,.]*([mun]?s|[mhd])?(\d+[mhd]?s?)?", "N", text)
    return [re.sub(" +", " ", line).strip() for line in text.splitlines()]


class ReadmeTest(unittest.TestCase):
    """What the README shows is what is printed."""

    def samples(self):
        """Pairs of a command line and what it is said to print."""
        readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
        found = []
        for block in re.findall(r"(?ms)^```\n(\$ .*?)^```$", readme):
            for one in re.split(r"(?m)^\$ ", block)[1:]:
                command, _, said = one.partition("\n")
                found.append((shlex.split(command, comments=True), said.rstrip("\n")))
        return found

    def compare(self, daemon, command, said, folded=False, **spawn):
        args = [each if each != "5s" else "300ms" for each in command[1:]]
        shown = Terminal(*daemon.ctl_command(*args), **spawn).shown()
        # What is left on the screen once the redrawn lines are gone.
        shown = shown[shown.rfind("\x1b[J") + 3 if "\x1b[J" in shown else 0:]
        shapes = shape(shown.rstrip("\n")), shape(said)
        if folded:  # where that is depends on the words
            shapes = [" ".join(each) for each in shapes]
        self.assertEqual(*shapes, f"{shown}\nbut the README: {said}")

    def test_samples_are_what_is_printed(self):
        need_root()
        samples = self.samples()
        self.assertEqual([command[:2] for command, _ in samples], [
            ["lastcallctl", verb] for verb in ("status", "shutdown", "reload", "drain")])
        status, shutdown, reload, drain = samples
        servers = {"public": {"plugins": ["hello", "echo"]},
                   "reports": {"process": "reports", "listen": ["127.0.0.1:0"]}}
        roles = {"operators": ["daemon"], "observers": ["mail"]}
        with Daemon(servers, admin=roles, reload={"settle": "100ms"}, log={"level": "info"}) as daemon:
            plugins = daemon.folder / "plugins"
            shutil.copytree(PLUGINS, plugins)
            daemon.config.write_text(daemon.config.read_text().replace(str(PLUGINS), str(plugins)))
            daemon.ctl("reload", check=True)  # where they lie, from now on
            daemon.folder.chmod(0o755)
            wait_until(lambda: len(daemon.hosts()) == 2, "those before are gone")
            self.compare(daemon, *status)
            new = plugins / "new"
            new.write_bytes((plugins / "hello.so").read_bytes() + b"another build")
            new.rename(plugins / "hello.so")
            self.compare(daemon, *reload)
            # As somebody who is called otherwise, where the group has another name.
            command, said = drain
            said = said.replace("lastcall-admin", "daemon").replace("alice", "nobody")
            self.compare(daemon, command, said, folded=True, user="nobody", group="mail", extra_groups=[])
            wait_until(lambda: len(daemon.hosts()) == 2, "those before are gone")
            daemon.slow(60)
            daemon.await_calls(1)
            self.compare(daemon, *shutdown)


if __name__ == "__main__":
    unittest.main()
