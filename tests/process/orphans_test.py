"""Children that fell to the daemon: none stays a zombie, and how its own ended is still heard."""

import contextlib
import ctypes
import os
import pathlib
import signal
import unittest

from clients import wait_until
from harness import BIN, Daemon, need_root, run
from reexec_test import Installed

COUNT = 10
PR_SET_CHILD_SUBREAPER = 36


def stat_of(pid):
    """(state, parent)"""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return fields[0], int(fields[1])


def children(parent):
    """By pid, the state of each."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            state, of = stat_of(int(entry.name))
            if of == parent:
                found[int(entry.name)] = state
    return found


def become_subreaper():
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1) != 0:
        raise OSError("this kernel knows no subreapers")


class OrphansTest(unittest.TestCase):
    """Before the daemon its process was a shell, whose jobs wait until they are let go."""

    def prepare(self, daemon, *before, **spawn):
        self.gate = daemon.folder / "gate"
        os.mkfifo(self.gate)
        # Those of the subshells lose their parent, and fall to whoever takes in orphans; one stays.
        script = (f'gate=$1; shift; i=0; while [ $i -lt {COUNT} ]; do ( cat "$gate" & ); '
                  'i=$((i + 1)); done; cat "$gate" & exec "$@"')
        command = [*before, "sh", "-c", script, "sh", self.gate, daemon.program, *daemon.args]
        daemon.program, *daemon.args = map(str, command)
        daemon.spawn = spawn
        return daemon

    def let_go(self, daemon, count):
        others = set(children(daemon.pid)) - {daemon.process_pid()}
        self.assertEqual(len(others), count)
        with open(self.gate, "wb"):
            pass
        wait_until(lambda: not others & set(children(daemon.pid)), "nothing of them is left")

    def assert_owned_are_heard(self, daemon):
        host, = children(daemon.pid)
        os.kill(host, signal.SIGKILL)
        daemon.wait_log("process main: killed by SIGKILL")
        daemon.ctl("--timeout", "20s", "wait", "serving", check=True)
        self.assertNotIn("Z", children(daemon.pid).values())

    def test_of_a_subreaper(self):
        with self.prepare(Daemon(wait=False), preexec_fn=become_subreaper) as daemon:
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            self.let_go(daemon, COUNT + 1)
            self.assert_owned_are_heard(daemon)
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)

    def test_jobs_of_the_shell_before(self):
        with self.prepare(Daemon(wait=False)) as daemon:
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            self.let_go(daemon, 1)
            self.assert_owned_are_heard(daemon)

    def test_as_pid_1(self):
        need_root()
        namespace = ["unshare", "--pid", "--fork", "--mount-proc"]
        if run(*namespace, "true").returncode != 0:
            self.skipTest("there are no namespaces here")
        with self.prepare(Daemon(wait=False), *namespace) as daemon:
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            unshare = daemon.pid
            daemon.pid, = children(unshare)
            status = pathlib.Path(f"/proc/{daemon.pid}/status").read_text(encoding="utf-8")
            self.assertRegex(status, r"\nNSpid:.*\t1\n")
            mine = children(daemon.pid)
            with open(self.gate, "wb"):
                pass
            self.assertEqual(len(mine), COUNT + 2)
            wait_until(lambda: len(children(daemon.pid)) == 1, "nothing of them is left")
            self.assert_owned_are_heard(daemon)
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)  # unshare's, which is its child's

    def test_of_a_plugins_process(self):
        """What a plugin has forked goes with its host, and falls to whoever is above."""
        servers = {"public": {"plugins": ["rude"], "config": {"rude": {"constructor": "fork"}}}}
        with Daemon(servers, wait=False, plugin_dir=str(BIN.parent / "tests" / "plugins"),
                    spawn={"preexec_fn": become_subreaper}) as daemon:
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            forked = children(daemon.process_pid())
            self.assertEqual(len(forked), 1)
            os.kill(daemon.process_pid(), signal.SIGKILL)
            daemon.wait_log("process main: killed by SIGKILL")
            wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in forked),
                       "it was reaped")

    def test_another_build_goes_on(self):
        with self.prepare(Installed(wait=False), preexec_fn=become_subreaper) as daemon:
            daemon.ctl("--timeout", "30s", "wait", "serving", check=True)
            daemon.upgrade()
            daemon.ctl("reload", check=True)
            self.assertEqual(daemon.builds_taken(), 1)
            self.let_go(daemon, COUNT + 1)
            self.assert_owned_are_heard(daemon)


class IgnoredTest(unittest.TestCase):
    def test_a_parent_that_ignores_sigchld(self):
        """Then the kernel reaps by itself, and tells nobody how a child has ended."""
        with Daemon(spawn={"preexec_fn":
                           lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)}) as daemon:
            os.kill(daemon.process_pid(), signal.SIGKILL)
            daemon.wait_log("process main: killed by SIGKILL")


if __name__ == "__main__":
    unittest.main()
