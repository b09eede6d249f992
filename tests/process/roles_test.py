"""Who may ask lastcalld for what: real users and groups on the admin socket."""

import grp
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest

from clients import wait_until, word
from harness import BIN, Daemon, need_root, run
from hostile_peers import (DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, message,
                           request)
from lastcall.admin.v1.admin_pb2 import ShutdownRequest
from reexec_test import Installed

DONE, FAILED, DENIED, UNREACHABLE = 0, 1, 77, 69
# Users that no machine has, and groups that every Debian has.
ALICE, BOB = 12345, 12346
OPERATORS, OBSERVERS = "games", "users"
LOOKS = (("status",), ("servers",), ("config",), ("version",), ("wait", "serving"))
CHANGES = (("shutdown", "--dry-run"), ("shutdown",), ("reload",), ("reload", "--dry-run"),
           ("restart", "main"), ("drain", "public"), ("undrain", "public"), ("log-level", "debug"))


def gid(name):
    return grp.getgrnam(name).gr_gid


class RolesTest(unittest.TestCase):
    def setUp(self):
        need_root()

    def daemon(self, admin=None, kind=Daemon, **kwargs):
        admin = {"operators": [OPERATORS], "observers": [OBSERVERS], **(admin or {})}
        daemon = self.enterContext(kind(admin=admin, **kwargs))
        daemon.folder.chmod(0o755)
        # The build may be where others cannot go.
        self.program = daemon.folder / "lastcallctl"
        shutil.copy(BIN / "lastcallctl", self.program)
        return daemon

    def ctl(self, daemon, *args, uid=ALICE, group=None, groups=()):
        """As a user, with a primary and supplementary groups by name."""
        return run(self.program, "--socket", daemon.socket, *args, user=uid,
                   group=gid(group) if group else uid, extra_groups=[gid(each) for each in groups])

    def assert_denied(self, done, *texts):
        self.assertEqual((done.returncode, done.stdout), (DENIED, ""), done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for text in texts:
            self.assertIn(text, done.stderr)

    def test_stranger(self):
        daemon = self.daemon()
        for verb in (*LOOKS, ("watch",), *CHANGES):
            with self.subTest(verb):
                self.assert_denied(
                    self.ctl(daemon, *verb),
                    f"uid {ALICE} is in no group that may speak to lastcalld",
                    f"looking needs the group {OBSERVERS}, changes need the group {OPERATORS}",
                    f"or start it with the group {OBSERVERS}: a user without an entry in passwd")
        self.assertEqual(daemon.current_stage(), "serving")
        self.assertRegex(daemon.log(),
                         rf"admin: denied status to lastcallctl \(pid \d+, uid {ALICE}, stranger\)")

    def test_observer(self):
        daemon = self.daemon()
        for groups in ({"groups": ["mail", OBSERVERS]}, {"group": OBSERVERS}):
            for verb in LOOKS:
                with self.subTest(verb, **groups):
                    done = self.ctl(daemon, *verb, **groups)
                    self.assertEqual((done.returncode, done.stderr), (DONE, ""))
            for verb in CHANGES:
                with self.subTest(verb, **groups):
                    self.assert_denied(self.ctl(daemon, *verb, **groups),
                                       f"uid {ALICE} may look, but not ",
                                       f"changes need the group {OPERATORS}")
        status = daemon.status()
        self.assertEqual((word(status), status.processes[0].incarnation, status.log_level),
                         ("serving", 1, "debug"))
        self.assertFalse(status.servers[0].HasField("draining"))
        watch = subprocess.Popen(
            [self.program, "--socket", daemon.socket, "watch"], stdout=subprocess.PIPE, text=True,
            user=ALICE, group=gid(OBSERVERS), extra_groups=[])
        self.assertIn("serving", watch.stdout.readline())
        daemon.ctl("shutdown", check=True)
        self.assertIn("every call finished", watch.communicate()[0])
        self.assertEqual(watch.returncode, DONE)

    def test_operator(self):
        daemon = self.daemon(reload={"settle": "0s"})
        for groups in ({"groups": ["mail", OPERATORS]}, {"group": OPERATORS},
                       {"groups": [OBSERVERS, OPERATORS]}):
            for verb in (*LOOKS, ("drain", "public"), ("undrain", "public"), ("reload",),
                         ("log-level", "debug")):
                with self.subTest(verb, **groups):
                    done = self.ctl(daemon, *verb, **groups)
                    self.assertEqual(done.returncode, DONE, done.stderr)
        done = self.ctl(daemon, "restart", "main", groups=[OPERATORS])
        self.assertEqual(done.returncode, DONE, done.stderr)
        done = self.ctl(daemon, "shutdown", "--reason", "new\nkernel", groups=[OPERATORS])
        self.assertEqual(done.returncode, DONE, done.stderr)
        self.assertEqual(daemon.wait(), 0)
        who = rf"lastcallctl \(pid \d+, uid {ALICE}, operator by the group {OPERATORS}\)"
        for what in ("drain public", "undrain public", "reload", "log-level debug", "restart main",
                     "shutdown"):
            self.assertRegex(daemon.log(), rf"admin: {what} requested by {who}")
        self.assertRegex(daemon.log(), rf"admin: shutdown requested by {who}: new\\nkernel\n")
        cause = daemon.receipt()["requests"][0]["cause"]
        self.assertEqual((cause["uid"], cause["who"]), (ALICE, "lastcallctl"))

    def test_root_and_the_daemons_own_user(self):
        # As Daemon makes it, but for a user who has no group in common with anybody.
        theirs = Daemon(wait=False, spawn={"user": BOB, "group": BOB, "extra_groups": []},
                        admin={"operators": [], "observers": []})
        theirs.folder.chmod(0o755)
        os.chown(theirs.folder, BOB, BOB)
        self.program = theirs.folder / "lastcallctl"
        shutil.copy(BIN / "lastcallctl", self.program)
        with theirs as daemon:
            wait_until(daemon.socket.exists, "the socket is there")
            self.assertEqual(self.ctl(daemon, "wait", "serving", uid=BOB).returncode, DONE,
                             daemon.log())
            self.assertEqual(self.ctl(daemon, "drain", "public", uid=BOB).returncode, DONE)
            self.assertEqual(daemon.ctl("undrain", "public").returncode, DONE)
            self.assert_denied(self.ctl(daemon, "status"),
                               "only root and the daemon's user may change anything")
            log = daemon.log()
            self.assertRegex(log, rf"drain public requested by lastcallctl \(pid \d+, uid {BOB}, "
                                  r"operator as the daemon's user\)")
            self.assertRegex(log, r"undrain public requested by lastcallctl \(pid \d+, root, uid 0, "
                                  r"operator as root\)")

    def test_nobody_is_believed_who_says_who_he_is(self):
        daemon = self.daemon()
        daemon.ctl("status", check=True)
        ours = daemon.admin()  # a connection of root's, alive all the while
        liar = f"""
import grpc, os, sys
channel = grpc.insecure_channel("unix:{daemon.socket}")
try:
    channel.unary_unary("/lastcall.admin.v1.Admin/Shutdown")(
        b"", timeout=20, metadata=(("lastcall-pid", "{os.getpid()}"), ("lastcall-uid", "0")))
except grpc.RpcError as error:
    sys.exit(error.code().name + " " + error.details())
"""
        done = run("/usr/bin/python3", "-c", liar, user=ALICE, group=ALICE, extra_groups=[],
                   cwd="/")
        self.assertIn(f"PERMISSION_DENIED permission denied: uid {ALICE}", done.stderr)
        self.assertEqual(daemon.current_stage(), "serving")
        del ours

    def test_nobody_is_believed_whose_socket_says_who_he_is(self):
        daemon = self.daemon()
        # As gRPC would name the caller: some secret, a process, root, operator, by a group.
        name = "secret/1/0/2/group/root"
        folder = (daemon.folder / name).parent
        folder.mkdir(parents=True)
        folder.chmod(0o777)
        call = (PREFACE + frame(SETTINGS) +
                frame(HEADERS, END_HEADERS, 1, request("/lastcall.admin.v1.Admin/Shutdown")) +
                frame(DATA, END_STREAM, 1, message(ShutdownRequest())))
        liar = f"""
import socket
ours = socket.socket(socket.AF_UNIX)
ours.settimeout(20)
ours.bind({name!r})
ours.connect({str(daemon.socket)!r})
ours.sendall(bytes.fromhex({call.hex()!r}))
heard = b""
while b"permission denied" not in heard:
    more = ours.recv(65536)
    assert more, "closed"
    heard += more
"""
        done = run("/usr/bin/python3", "-c", liar, user=ALICE, group=ALICE, extra_groups=[],
                   cwd=daemon.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(daemon.log(), rf"denied shut down to python3 \(pid \d+, uid {ALICE}, ")
        self.assertEqual(daemon.current_stage(), "serving")

    def test_many_at_once_are_not_mixed_up(self):
        daemon = self.daemon(log={"level": "info"})
        results = {}

        def ask(number):
            uid = ALICE + number
            groups = [OPERATORS] if number % 2 else [OBSERVERS]
            results[uid] = self.ctl(daemon, "drain", "public", "--reason", f"by {uid}", uid=uid,
                                    groups=groups)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = {uid for uid in results if (uid - ALICE) % 2}
        self.assertEqual({uid for uid, done in results.items() if done.returncode == DONE},
                         expected)
        self.assertEqual({done.returncode for done in results.values()}, {DONE, DENIED})
        said = re.findall(r"admin: drain public requested by .*, uid (\d+), .*\): by (\d+)",
                          daemon.log())
        self.assertEqual({int(uid) for uid, _ in said}, expected)
        self.assertEqual([uid for uid, _ in said], [reason for _, reason in said])

    def test_a_reload_changes_the_groups(self):
        daemon = self.daemon()
        self.assert_denied(self.ctl(daemon, "status", groups=["mail"]))
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace(f'"{OBSERVERS}"', '"mail"'))
        daemon.ctl("reload", check=True)
        self.assertEqual(self.ctl(daemon, "status", groups=["mail"]).returncode, DONE)
        self.assert_denied(self.ctl(daemon, "status", groups=[OBSERVERS]), "the group mail")

    def test_another_build_goes_on_with_it(self):
        daemon = self.daemon(kind=Installed)
        daemon.upgrade()
        origins = daemon.json("config")["origins"]
        # What is on disk now is refused, so that what ran before goes on.
        daemon.config.write_text(daemon.config.read_text() + "nonsense = 1\n")
        self.assertNotEqual(daemon.reload()[0], 0)
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace("nonsense = 1\n", ""))
        done = self.ctl(daemon, "reload", groups=[OPERATORS])
        self.assertEqual(done.returncode, DONE, done.stderr)
        self.assertEqual(daemon.builds_taken(), 1)
        self.assertEqual(daemon.json("config")["origins"], origins)
        self.assert_denied(self.ctl(daemon, "status"), f"needs the group {OBSERVERS}")
        self.assertEqual(self.ctl(daemon, "status", groups=[OBSERVERS]).returncode, DONE)
        self.assert_denied(self.ctl(daemon, "shutdown", groups=[OBSERVERS]))
        # The socket is still its own: a second daemon is refused, and a lost one is made again.
        second = run(BIN / "lastcalld", "--config", daemon.config)
        self.assertIn(f"is held by lastcalld (pid {daemon.pid})", second.stderr)
        daemon.socket.unlink()
        wait_until(daemon.socket.exists, "it is back")
        self.assertEqual(self.ctl(daemon, "status", groups=[OBSERVERS]).returncode, DONE)
        daemon.ctl("shutdown", check=True)
        self.assertEqual(daemon.wait(), 0)
        daemon.assert_nothing_left()

    def test_groups_that_do_not_exist(self):
        daemon = self.daemon(admin={"operators": ["no-such-group"]})
        lines = daemon.config.read_text().splitlines()
        (number,) = [at for at, line in enumerate(lines, 1) if line.startswith("operators")]
        warning = (f"{daemon.config}:{number}: admin.operators: there is no group "
                   '"no-such-group" on this machine, so no one is let in by it; correct the name, '
                   "or run "
                   '"groupadd --system no-such-group" and reload')
        self.assertIn(f"warning lastcalld: {warning}\n", daemon.log())
        check = run(BIN / "lastcalld", "--config", daemon.config, "--check")
        self.assertEqual((check.returncode, check.stderr), (0, f"warning: {warning}\n"))
        self.assert_denied(self.ctl(daemon, "shutdown", groups=[OBSERVERS]),
                           "the group no-such-group (not on this machine)",
                           'once "groupadd --system no-such-group" and')

    def test_the_default_groups_need_not_exist(self):
        with Daemon() as daemon:
            self.assertNotIn("there is no group", daemon.log())

    def test_a_folder_that_others_may_not_enter(self):
        daemon = self.daemon()
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        program = shutil.copy(self.program, folder)
        daemon.folder.chmod(0o700)
        done = run(program, "--socket", daemon.socket, "status", user=ALICE, group=ALICE,
                   extra_groups=[])
        self.assert_denied(done, str(daemon.socket), "its directory", "sudo")

    def connect(self, daemon, uid):
        """A connection that says nothing, made as that user."""
        os.seteuid(uid)
        try:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(20)
            connection.connect(str(daemon.socket))
        finally:
            os.seteuid(0)
        self.addCleanup(connection.close)
        return connection

    @staticmethod
    def taken(connection):
        """Whether the daemon keeps it: gRPC greets at once, with its settings."""
        try:
            return connection.recv(1) != b""
        except ConnectionResetError:
            return False

    def test_the_connections_of_a_user_are_bounded(self):
        daemon = self.daemon(admin={"observers": []})
        most = 8  # of somebody without a role
        first = [self.connect(daemon, ALICE) for _ in range(most)]
        self.assertTrue(all(map(self.taken, first)))
        more = [self.connect(daemon, ALICE) for _ in range(20)]
        self.assertFalse(any(map(self.taken, more)))
        done = self.ctl(daemon, "status")
        self.assertEqual(done.returncode, UNREACHABLE, done.stderr)
        self.assertIn("too many connections", done.stderr)
        # Nobody else is any worse off, and the log is not flooded.
        self.assert_denied(self.ctl(daemon, "status", uid=BOB))
        self.assertEqual(self.ctl(daemon, "status", groups=[OPERATORS], uid=BOB).returncode, DONE)
        self.assertEqual(daemon.ctl("status").returncode, DONE)
        self.assertEqual(daemon.log().count(f"uid {ALICE} has {most} connections"), 1)
        first.pop().close()
        wait_until(lambda: self.taken(self.connect(daemon, ALICE)), "there is room again")

    def test_strangers_together_are_bounded(self):
        daemon = self.daemon()
        all_of_them = [self.connect(daemon, 20000 + number % 40) for number in range(160)]
        self.assertEqual(sum(map(self.taken, all_of_them)), 64)
        self.assertEqual(self.ctl(daemon, "status", groups=[OBSERVERS]).returncode, DONE)
        self.assertEqual(daemon.ctl("drain", "public").returncode, DONE)
        daemon.ctl("shutdown", check=True)
        self.assertEqual(daemon.wait(), 0)


if __name__ == "__main__":
    unittest.main()
