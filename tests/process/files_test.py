"""What a file is: a FIFO, a pipe, too large, too deep. It is refused by name, and holds nothing up."""

import fcntl
import os
import pathlib
import signal
import sys
import termios
import time
import unittest

from clients import AT_ONCE, wait_until
from harness import BIN, Daemon, run
from reexec_test import FAILED, Installed
from tls_test import Authority

CONFIGURATION = 78


def unread(pipe):
    """How much is in it."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


class Prepared(Installed):
    """A daemon with one of each file."""

    def __init__(self, **config):
        super().__init__(servers={"public": {"tls": {}}}, **config)
        certificate, self.key = Authority(self.folder, "authority").issue("server")
        (self.folder / "lastcalld.d").mkdir()
        self.drop_in = self.folder / "lastcalld.d" / "10-more.toml"
        self.drop_in.write_text("[log]\nlevel = \"debug\"\n")
        text = self.config.read_text()
        folder = pathlib.Path(text.split('plugin_dir = "', 1)[1].split('"', 1)[0])
        self.plugin = self.folder / "echo.so"
        self.plugin.write_bytes((folder / "echo.so").read_bytes())
        text = text.replace('["echo"]', f'["{self.plugin}"]')
        self.config.write_text(text.replace(
            "[server.public.tls]",
            f'[server.public.tls]\ncertificate = "{certificate}"\nkey = "{self.key}"'))

    def files(self):
        return {"main file": self.config, "drop-in": self.drop_in, "key": self.key,
                "plugin": self.plugin}


class FifoTest(unittest.TestCase):
    def test_a_reload_refuses_it(self):
        with Prepared() as daemon:
            for name, path in {**daemon.files(), "lastcalld": daemon.program}.items():
                with self.subTest(name):
                    content, mode = path.read_bytes(), path.stat().st_mode
                    path.unlink()
                    os.mkfifo(path)
                    began = time.monotonic()
                    for command in (["reload"], ["reload", "--dry-run"]):
                        done = daemon.ctl(*command)
                        self.assertEqual(done.returncode, FAILED, done.stdout + done.stderr)
                        self.assertIn(str(path), done.stderr)
                        self.assertIn("regular file", done.stderr)
                    self.assertLess(time.monotonic() - began, AT_ONCE)
                    self.assertEqual(daemon.current_stage(), "serving")
                    path.unlink()
                    path.write_bytes(content)
                    path.chmod(mode)
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            daemon.assert_nothing_left()

    def test_a_start_and_a_check_refuse_it(self):
        for name in ("main file", "drop-in", "key", "plugin"):
            for check in ([], ["--check"]):
                daemon = Prepared(wait=False)
                path = daemon.files()[name]
                with self.subTest(name, check=check):
                    path.unlink()
                    os.mkfifo(path)
                    daemon.args += check
                    with daemon:
                        self.assertEqual(daemon.wait(), CONFIGURATION)
                        self.assertIn(str(path), daemon.log())
                        self.assertIn("regular file", daemon.log())


class LimitsTest(unittest.TestCase):
    def refused(self, daemon, text, *expected):
        good = daemon.config.read_text()
        text(daemon.config)
        done = daemon.ctl("reload")
        self.assertEqual(done.returncode, FAILED, done.stdout)
        for each in expected:
            self.assertIn(each, done.stderr)
        self.assertEqual(daemon.current_stage(), "serving")
        daemon.config.write_text(good)
        daemon.ctl("reload", check=True)

    def test_a_configuration_too_large_for_any_use(self):
        with Daemon() as daemon:
            self.refused(daemon, lambda file: os.truncate(file, 200_000_000),
                         f"{daemon.config}: is larger than 4 MiB")

    def test_keys_and_brackets_without_end(self):
        many = 200_000
        texts = {
            "more than 32 parts": ".".join(["a"] * many) + " = 1\n",
            "a key has more": "[" + ".".join(["a"] * many) + "]\n",
            "more than 32 arrays": "a = " + "[" * many + "]" * many + "\n",
            "arrays or inline tables": "a = " + "{ a = " * many + "1" + " }" * many + "\n",
        }
        with Daemon() as daemon:
            for expected, text in texts.items():
                with self.subTest(expected):
                    self.refused(daemon, lambda file, text=text: file.write_text(text),
                                 f"{daemon.config}:1:", expected)


class PipeTest(unittest.TestCase):
    """--config from a pipe, where whoever starts it has put one."""

    def piped(self, daemon, text, *args):
        daemon.args = ["--config", "/dev/stdin", *args]
        reading, writing = os.pipe()
        daemon.spawn = {"stdin": reading}
        os.set_inheritable(reading, True)
        if text is not None:
            os.write(writing, text.encode())
            os.close(writing)
            writing = None
        return writing

    def test_it_is_read_at_a_start_and_a_reload_says_why_not(self):
        daemon = Daemon()
        text = daemon.config.read_text()
        daemon.config.unlink()
        self.piped(daemon, text)
        with daemon:
            done = daemon.ctl("reload")
            self.assertEqual(done.returncode, FAILED)
            self.assertIn("/dev/stdin: the configuration came through a pipe, which can be read once",
                          done.stderr)
            daemon.signal(signal.SIGHUP)
            daemon.wait_log("reload refused, nothing has changed: /dev/stdin: ")
            daemon.ctl("restart", "main", check=True)
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)

    def test_process_substitution(self):
        with Daemon(wait=False) as daemon:
            daemon.wait_serving = False
            daemon.signal(signal.SIGKILL)
            command = f"'{BIN / 'lastcalld'}' --check --config <(cat '{daemon.config}')"
            done = run("bash", "-c", command, env=daemon.env)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("the configuration is good", done.stdout)
            bad = run("bash", "-c", f"'{BIN / 'lastcalld'}' --check --config <(echo nonsense = 1)")
            self.assertEqual(bad.returncode, CONFIGURATION)
            self.assertRegex(bad.stderr, r"/dev/fd/\d+:1: unknown key nonsense")

    def test_it_is_bounded(self):
        command = f"yes '# more' | '{BIN / 'lastcalld'}' --check --config /dev/stdin"
        done = run("bash", "-c", command)
        self.assertEqual(done.returncode, CONFIGURATION)
        self.assertIn("/dev/stdin: is larger than 4 MiB", done.stderr)

    def test_ctrl_c_ends_it(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            for check in ([], ["--check"]):
                with self.subTest(number.name, check=check):
                    daemon = Daemon(wait=False)
                    writing = self.piped(daemon, None, *check)
                    with daemon:
                        os.write(writing, b"# who writes takes his time\n")
                        wait_until(lambda: not unread(writing), "it reads")
                        began = time.monotonic()
                        daemon.signal(number)
                        self.assertEqual(daemon.wait(), -number if check else 0, daemon.log())
                        self.assertLess(time.monotonic() - began, 3 + AT_ONCE)
                    os.close(writing)


class DropInTest(unittest.TestCase):
    def test_a_link_to_nothing(self):
        with Daemon() as daemon:
            (daemon.folder / "lastcalld.d").mkdir()
            link = daemon.folder / "lastcalld.d" / "10.toml"
            link.symlink_to("/nowhere/10.toml")
            done = daemon.ctl("reload")
            self.assertEqual(done.returncode, FAILED)
            self.assertIn(f"{link}: cannot be read: No such file or directory; it is a link to "
                          "nothing: remove it", done.stderr)
            self.assertNotIn("--config", done.stderr)
            link.unlink()
            link.symlink_to("/dev/null")  # left out on purpose
            daemon.ctl("reload", check=True)


if __name__ == "__main__":
    unittest.main()
