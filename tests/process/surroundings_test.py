"""What the programs find where they start: descriptors that are closed or few, no /proc."""

import os
import pathlib
import resource
import signal
import unittest

from clients import SANITIZED
from harness import BIN, PLUGINS, Daemon, need_root, run

FAILED, INTERNAL, CONFIGURATION = 1, 70, 78


def close_standard_streams():
    for fd in range(3):
        os.close(fd)


def limit_descriptors(limit):
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))}


class StandardStreamsTest(unittest.TestCase):
    def test_closed_ones_are_nothings(self):
        with Daemon(spawn={"preexec_fn": close_standard_streams}) as daemon:
            for pid in (daemon.pid, daemon.process_pid()):
                for fd in range(3):
                    with self.subTest(pid=pid, fd=fd):
                        self.assertEqual(os.readlink(f"/proc/{pid}/fd/{fd}"), "/dev/null")
            self.assertEqual(daemon.slow(0).text(), "slept")
            daemon.ctl("reload", check=True)
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)

    def test_one_that_is_open_stays(self):
        with Daemon(spawn={"preexec_fn": lambda: os.close(1)}) as daemon:
            self.assertEqual(os.readlink(f"/proc/{daemon.pid}/fd/1"), "/dev/null")
            self.assertIn("process main is ready", daemon.log())

    def test_what_cannot_be_printed_is_no_success(self):
        with Daemon() as daemon:
            for closed in ((1,), (0, 1), (0, 1, 2)):
                done = daemon.ctl("status", preexec_fn=lambda fds=closed: list(map(os.close, fds)))
                self.assertEqual(done.returncode, FAILED, done.stderr)
                if 2 not in closed:
                    self.assertIn("cannot write to stdout", done.stderr)
            daemon.ctl("status", preexec_fn=lambda: os.close(0), check=True)


class FewDescriptorsTest(unittest.TestCase):
    def said(self, *command, **kwargs):
        done = run(*command, **kwargs)
        self.assertNotIn("Aborted", done.stderr)
        return done.returncode, done.stderr

    def test_lastcalld(self):
        with Daemon(wait=False) as daemon:
            for args in (("--check",), ()):
                code, said = self.said(BIN / "lastcalld", "--config", daemon.config, *args,
                                       **limit_descriptors(16))
                self.assertEqual(code, INTERNAL, said)
                self.assertRegex(said, r"^lastcalld: only \d+ more files and sockets can be opened"
                                       r", and \d+ are needed: Too many open files; the limit is 16: "
                                       r'raise it \(LimitNOFILE= of the unit, "ulimit -n"\)\n$')

    def test_what_is_called_enough_is(self):
        """The smallest limit that is not refused serves and replaces its process."""
        with Daemon(wait=False) as daemon:
            needed = next(
                limit for limit in range(24, 200)
                if self.said(BIN / "lastcalld", "--config", daemon.config, "--check",
                             **limit_descriptors(limit))[0] == 0)
        with Daemon(reload={"settle": "0s"}, spawn=limit_descriptors(needed)) as daemon:
            daemon.ctl("restart", "main", check=True)
            self.assertEqual(daemon.slow(0).text(), "slept")
            self.assertNotIn("Too many open files", daemon.log())
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)

    def test_lastcallctl(self):
        with Daemon() as daemon:
            code, said = self.said(*daemon.ctl_command("status"), **limit_descriptors(8))
            self.assertEqual(code, FAILED, said)
            self.assertIn("lastcallctl: only ", said)
            enough = next(limit for limit in range(8, 64) if "are needed" not in
                          self.said(*daemon.ctl_command("status"), **limit_descriptors(limit))[1])
            daemon.ctl("status", check=True, **limit_descriptors(enough))

    def test_a_host_with_many_servers(self):
        """Of which only the host comes to know that they are too many."""
        servers = {f"s{number}": {"listen": ["127.0.0.1:0"]} for number in range(12)}
        with Daemon(servers, wait=False, spawn=limit_descriptors(100)) as daemon:
            self.assertEqual(daemon.wait(), INTERNAL, daemon.log())
            self.assertIn("more files and sockets can be opened", daemon.log())
            self.assertNotIn("SIGABRT", daemon.log())


class MissingTest(unittest.TestCase):
    def test_runtime_directory(self):
        with Daemon(wait=False) as daemon:
            theirs = daemon.folder / "file"
            theirs.write_text("")
            for runtime, why in ((daemon.folder / "none", "No such file or directory"),
                                 (theirs, "Not a directory")):
                done = run(BIN / "lastcalld", "--plugin", PLUGINS / "echo.so",
                           env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)})
                self.assertEqual(done.returncode, CONFIGURATION, done.stderr)
                self.assertEqual(done.stderr, f"{runtime}/lastcall, for the admin socket, cannot "
                                              f"be made: {why}; set XDG_RUNTIME_DIR to a directory of "
                                              "yours, or unset it\n")
            (daemon.folder / "lastcall").write_text("")
            done = run(BIN / "lastcalld", "--plugin", PLUGINS / "echo.so",
                       env={**os.environ, "XDG_RUNTIME_DIR": str(daemon.folder)})
            self.assertIn("is not a directory of ours alone; set XDG_RUNTIME_DIR", done.stderr)

    def without_proc(self, *command):
        need_root()
        script = 'mount -t tmpfs none /proc && exec "$@"'
        if run("unshare", "--mount", "sh", "-c", script, "sh", "true").returncode != 0:
            self.skipTest("nothing can be mounted here")
        return run("unshare", "--mount", "sh", "-c", script, "sh", *command)

    @unittest.skipIf(SANITIZED, "sanitizers themselves need /proc")
    def test_proc(self):
        with Daemon() as daemon:
            for args in (("--config", daemon.config), ("--config", daemon.config, "--check"),
                         ("--plugin", PLUGINS / "echo.so")):
                done = self.without_proc(BIN / "lastcalld", *args)
                self.assertEqual((done.returncode, done.stderr), (
                    INTERNAL, "lastcalld: cannot look into /proc, by which files are opened; mount "
                              'it ("mount -t proc proc /proc"): No such file or directory\n'))
            done = self.without_proc(BIN / "lastcalld", "--version")
            self.assertEqual(done.returncode, 0, done.stderr)
            # It needs none.
            done = self.without_proc(*map(pathlib.Path, daemon.ctl_command("status")))
            self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
