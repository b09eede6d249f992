"""A file system that does not answer, at every step: status is told and SIGTERM is heard meanwhile."""

import concurrent.futures
import contextlib
import os
import pathlib
import signal
import subprocess
import time
import unittest

from clients import AT_ONCE, PATIENCE, SLACK, wait_until
from harness import BIN
from reexec_test import FAILED, REFUSED, Installed
from tls_test import Authority

LIBRARY = pathlib.Path(os.environ["LASTCALL_BUILD"]) / "tests" / "slow_files.so"
GROUP = "users"
HOST = "shop.slow.example"
# Whatever a reload reads; a start reads all but the last.
THINGS = ("main file", "drop-in", "key", "plugin", "lastcall-host", "group", "lastcalld")
# What else it waits for, once that is read.
STEPS = (*THINGS, "host name", "preflight", "new build")
# Those of them that a reload does without when it is a trial run.
DONE_IN_EARNEST = ("host name", "new build")
# A lastcall-host that tries no plugin before it may.
SLOW_TRIAL = """#!/bin/sh
if [ "$1" = --preflight ]; then
  echo $$ > "$SLOW_FILES/preflight"
  : > "$SLOW_FILES/waiting"
  while [ -e "$SLOW_FILES/closed" ]; do sleep 0.01; done
fi
exec '{host}' "$@"
"""


class Slow(Installed):
    """A daemon that reads everything a daemon can, one thing of it slowly where the test says so."""

    def __init__(self, **config):
        super().__init__(servers={"public": {"plugins": ["echo"], "tls": {}}},
                         admin={"observers": [GROUP]}, **config)
        self.slow_folder = self.folder / "slow-files"
        self.slow_folder.mkdir()
        self.env.update(LD_PRELOAD=str(LIBRARY), SLOW_FILES=str(self.slow_folder))
        certificate, self.key = Authority(self.folder, "authority").issue("server")
        self.drop_ins = self.folder / "lastcalld.d"
        self.drop_ins.mkdir()
        self.drop_in = self.drop_ins / "10-more.toml"
        self.drop_in.write_text("[log]\nlevel = \"debug\"\n")
        plugins = self.folder / "plugins"
        plugins.mkdir()
        self.plugin = plugins / "echo.so"
        source = self.config.read_text()
        folder = source.split('plugin_dir = "', 1)[1].split('"', 1)[0]
        self.plugin.write_bytes((pathlib.Path(folder) / "echo.so").read_bytes())
        self.config.write_text(source.replace(folder, str(plugins)).replace(
            "[server.public.tls]",
            f'[server.public.tls]\ncertificate = "{certificate}"\nkey = "{self.key}"'))

    def things(self):
        return dict(zip(THINGS, (self.config, self.drop_in, self.key, self.plugin,
                                 self.bin / "lastcall-host", GROUP, self.program)))

    def closed_at(self, step):
        """A reload does not come past this step within."""
        if step == "host name":
            self.config.write_text(
                self.config.read_text().replace("listen = [", f'listen = ["{HOST}:0", ', 1))
            return self.closed(HOST)
        if step == "preflight":
            self.put(SLOW_TRIAL.format(host=BIN / "lastcall-host").encode(), "lastcall-host")
            return self.closed(step)
        if step == "new build":  # its check reads what this build does not need any more
            self.upgrade()
            return self.closed(self.drop_in)
        return self.closed(self.things()[step])

    @contextlib.contextmanager
    def closed(self, thing):
        """It does not answer within."""
        if thing == self.program:
            self.put(self.program.read_bytes())  # the same build in another file has to be read
        (self.slow_folder / "waiting").unlink(missing_ok=True)
        (self.slow_folder / "closed").touch()
        (self.slow_folder / "slow").write_text(str(thing))
        yield
        self.open()

    def open(self):
        with contextlib.suppress(FileNotFoundError):  # the daemon may be over, with its folder
            self.others_answer()
            (self.slow_folder / "closed").unlink()

    def others_answer(self):
        """Who waits goes on to wait."""
        (self.slow_folder / "slow").write_text("")

    def await_reader(self):
        wait_until((self.slow_folder / "waiting").exists, "somebody reads it")

    @contextlib.contextmanager
    def asking(self, *args):
        """A command that waits for what is slow."""
        asked = subprocess.Popen(self.ctl_command("--timeout", "60s", *args), text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            self.await_reader()
            yield asked
        finally:
            self.open()
            with contextlib.suppress(ValueError):
                asked.communicate(timeout=PATIENCE)


class SlowTest(unittest.TestCase):
    def answers(self, daemon):
        for _ in range(2):
            began = time.monotonic()
            self.assertEqual(daemon.current_stage(), "serving")
            self.assertLess(time.monotonic() - began, AT_ONCE)

    def said(self, asked, code):
        out, err = asked.communicate(timeout=PATIENCE)
        self.assertEqual(asked.returncode, code, out + err)
        return out + err

    def stops(self, daemon):
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0, daemon.log())
        self.assertLess(time.monotonic() - began, 2 + SLACK)
        self.assertEqual(daemon.receipt()["exit_code"], 0)
        daemon.assert_nothing_left()

    def test_status_is_answered_at_every_step_of_a_reload(self):
        with Slow() as daemon:
            for step in STEPS:
                for command in (["reload", "--dry-run"], ["reload"]):
                    if command[1:] and step in DONE_IN_EARNEST:
                        continue
                    with self.subTest(step, command=command), daemon.closed_at(step), \
                            daemon.asking(*command) as asked:
                        self.answers(daemon)
                        self.assertIsNone(asked.poll())  # it waits still
                        daemon.open()
                        self.assertIn("process main", self.said(asked, 0))
            self.assertEqual(daemon.builds_taken(), 1)

    def test_sigterm_is_heard_at_every_step_of_a_reload(self):
        for step in STEPS:
            with self.subTest(step), Slow() as daemon, daemon.closed_at(step), \
                    daemon.asking("reload") as asked:
                self.stops(daemon)
                self.assertIn("a shutdown is in progress", self.said(asked, REFUSED))

    def test_restart(self):
        with Slow() as daemon, daemon.closed(daemon.plugin), \
                daemon.asking("restart", "main") as asked:
            self.answers(daemon)
            daemon.open()
            self.assertIn("process main: incarnation 2 serves", self.said(asked, 0))
        for command in (["restart", "main"], ["reload", "--dry-run"]):
            with self.subTest(command), Slow() as daemon, daemon.closed(daemon.plugin), \
                    daemon.asking(*command) as asked:
                self.stops(daemon)
                self.assertIn("a shutdown is in progress", self.said(asked, REFUSED))

    def test_a_dry_run_that_hangs_does_not_hold_up_a_new_build(self):
        with Slow() as daemon, daemon.closed_at("preflight"), \
                daemon.asking("reload", "--dry-run") as asked:
            preflight = (daemon.slow_folder / "preflight").read_text().strip()
            daemon.upgrade()
            with subprocess.Popen(daemon.ctl_command("reload"), text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reload:
                self.assertIn("lastcalld is being replaced by another build; ask again in a moment",
                              self.said(asked, REFUSED))
                wait_until(daemon.builds_taken, "the new build is there")
                self.assertFalse(os.path.exists(f"/proc/{preflight}"), "nobody waits for it")
                self.assertIsNone(reload.poll())  # which tries them again
                self.answers(daemon)
                daemon.open()
                self.assertIn("~ lastcalld: another build", self.said(reload, 0))

    def test_what_never_answers_holds_up_nothing_else(self):
        """The reload that needs it ends with the reason; the next, a new build and the exit go on."""
        with Slow(reload={"ready": "2s"}) as daemon, daemon.closed(daemon.drop_in):
            with self.subTest("the reload that reads it"):
                done = daemon.ctl("reload")
                self.assertEqual(done.returncode, FAILED, done.stderr)
                self.assertIn("reading the configuration has not returned after 2s ([reload] ready)",
                              done.stderr)
            # One thread hangs from here on.
            daemon.others_answer()
            with self.subTest("a restart"):
                daemon.ctl("restart", "main", check=True)
            with self.subTest("the next reload"):
                self.assertIn("= process main", daemon.ctl("reload", check=True).stdout)
            with self.subTest("a new build"):
                daemon.upgrade()
                self.assertEqual(daemon.reload()[0], 0)
                self.assertEqual(daemon.builds_taken(), 1)
                self.answers(daemon)
        with Slow(reload={"ready": "2s"}) as daemon, daemon.closed(daemon.key):
            self.assertEqual(daemon.reload()[0], FAILED)
            with self.subTest("the exit"):
                self.stops(daemon)

    def test_where_everything_hangs_it_stays_bounded(self):
        with Slow(reload={"ready": "2s"}) as daemon, daemon.closed(daemon.drop_in), \
                concurrent.futures.ThreadPoolExecutor(20) as pool:
            for _ in range(2):
                for code, said in pool.map(lambda _: daemon.reload("--dry-run"), range(20)):
                    self.assertEqual(code, FAILED, said)
                    self.assertRegex(said, "reading .* has not returned after 2s")
            self.assertIn("(16 of 16 do)", daemon.log())
            self.assertNotIn("(17 of 16 do)", daemon.log())
            self.answers(daemon)
            daemon.open()
            wait_until(lambda: daemon.reload()[0] == 0, "then it is as before")

    def test_the_state_that_takes_no_receipt(self):
        with Slow() as daemon, daemon.closed(daemon.folder / "state" / "receipt.json.new"):
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            daemon.await_reader()
            self.assertEqual(daemon.wait(), 0, daemon.log())
            self.assertLess(time.monotonic() - began, 4 + SLACK)
            self.assertIn("cannot keep the receipt in", daemon.log())
            self.assertIn("receipt: {", daemon.log())


class StartTest(unittest.TestCase):
    """Before there is a daemon: whoever waits for a file can be told to stop."""

    def ended(self, daemon, number):
        daemon.await_reader()
        daemon.signal(number)
        return daemon.wait()

    def test_a_stop_while_it_starts(self):
        for name in THINGS[:-1]:
            with self.subTest(name):
                daemon = Slow(wait=False)
                with daemon.closed(daemon.things()[name]), daemon:
                    self.assertEqual(self.ended(daemon, signal.SIGTERM), 0, daemon.log())
                    self.assertIn("SIGTERM from", daemon.log())
                    self.assertIn("stopped before anything was started", daemon.log())
                    daemon.assert_nothing_left()

    def test_every_signal(self):
        for number in (signal.SIGINT, signal.SIGQUIT):
            for check in ([], ["--check"]):
                with self.subTest(number.name, check=check):
                    daemon = Slow(wait=False)
                    daemon.args += check
                    with daemon.closed(daemon.key), daemon:
                        self.assertEqual(self.ended(daemon, number), -number if check else 0)

    def test_a_second_one_has_no_patience(self):
        daemon = Slow(wait=False)
        with daemon.closed(daemon.key), daemon:
            daemon.await_reader()
            began = time.monotonic()
            while daemon.process.poll() is None:
                daemon.signal(signal.SIGINT)
                time.sleep(0.01)
            self.assertEqual(daemon.wait(), 0)
            self.assertLess(time.monotonic() - began, SLACK)


if __name__ == "__main__":
    unittest.main()
