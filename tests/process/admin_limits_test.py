"""What one caller of the admin socket leaves to the others, and how much an answer has room for."""

import contextlib
import grp
import os
import pathlib
import shutil
import signal
import subprocess
import time
import unittest

import grpc

from clients import AT_ONCE, SANITIZED, SLACK, wait_until
from harness import BIN, Daemon, need_root, run
from lastcall.admin.v1 import admin_pb2

DONE, FAILED, USAGE, NO_SUCH_NAME, TIMED_OUT, DENIED = 0, 1, 2, 4, 75, 77
# Users that no machine has, and groups that every Debian has.
ALICE, BOB, CAROL = 12345, 12346, 12347
OPERATORS, OBSERVERS = "games", "users"
SILENT_NAMES = pathlib.Path(os.environ["LASTCALL_BUILD"]) / "tests" / "silent_names.so"

# Watches so often, four times over each connection; says what became of each; stays until it may go.
WATCHES = """
import grpc, sys, threading
channels, streams = [], []
lock = threading.Lock()
def watch(channel):
    stream = channel.unary_stream("/lastcall.admin.v1.Admin/Watch")(b"")
    with lock:
        streams.append(stream)
    try:
        next(stream)
        said = "watching"
    except grpc.RpcError as error:
        said = error.code().name + " " + error.details()
    with lock:
        print(said, flush=True)
for number in range(int(sys.argv[2])):
    if number % 4 == 0:
        channels.append(grpc.insecure_channel(
            "unix:" + sys.argv[1], options=(("grpc.use_local_subchannel_pool", 1),)))
    threading.Thread(target=watch, args=(channels[-1],), daemon=True).start()
sys.stdin.read()
"""


def gid(name):
    return grp.getgrnam(name).gr_gid


class AdminLimitsTest(unittest.TestCase):
    def daemon(self, **config):
        config = {"admin": {"operators": [OPERATORS], "observers": [OBSERVERS]}, **config}
        daemon = self.enterContext(Daemon(**config))
        daemon.folder.chmod(0o755)
        self.program = daemon.folder / "lastcallctl"  # the build may be where others cannot go
        shutil.copy(BIN / "lastcallctl", self.program)
        return daemon

    def ctl(self, daemon, *args, uid=BOB, groups=()):
        return run(self.program, "--socket", daemon.socket, *args, user=uid, group=uid,
                   extra_groups=[gid(each) for each in groups])

    def expect(self, code, done, *texts):
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        for text in texts:
            self.assertIn(text, done.stderr)


class WaitingTest(AdminLimitsTest):
    """Watches, each of which takes a thread."""

    def setUp(self):
        need_root()

    @contextlib.contextmanager
    def watching(self, daemon, count, uid=0, groups=()):
        """What became of so many watches of one user."""
        watcher = subprocess.Popen(
            ["/usr/bin/python3", "-c", WATCHES, daemon.socket, str(count)], text=True, cwd="/",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=uid, group=uid,
            extra_groups=[gid(each) for each in groups])
        try:
            yield [watcher.stdout.readline().strip() for _ in range(count)]
        finally:
            watcher.kill()
            watcher.communicate()

    def expect_limit(self, said, most, uid):
        self.assertEqual(said.count("watching"), most, said)
        refused = {each for each in said if each != "watching"}
        self.assertEqual(refused, {f"RESOURCE_EXHAUSTED uid {uid} has {most} calls that wait (watch, "
                                   "wait, reload, restart), which is the most that there may be; end "
                                   "one of them first"})

    def test_those_of_root_leave_room_for_root_and_others(self):
        daemon = self.daemon(reload={"settle": "0s"})
        with self.watching(daemon, 160) as said:
            self.expect_limit(said, 64, 0)
            for verb in (("status",), ("drain", "public"), ("undrain", "public")):
                self.expect(DONE, daemon.ctl(*verb))
                self.expect(DONE, self.ctl(daemon, *verb, groups=[OPERATORS]))
            self.expect(DONE, self.ctl(daemon, "restart", "main", groups=[OPERATORS]))
            self.expect(DENIED, self.ctl(daemon, "status"))
            # Root can stop it, though not wait for the end.
            self.expect(TIMED_OUT, daemon.ctl("shutdown"), "the shutdown is on its way")
            self.assertEqual(daemon.wait(), 0)

    def test_those_of_an_observer_leave_room_for_others(self):
        daemon = self.daemon()
        with self.watching(daemon, 64, ALICE, [OBSERVERS]) as said:
            self.expect_limit(said, 16, ALICE)
            for _ in range(5):
                self.expect(DONE, self.ctl(daemon, "status", groups=[OBSERVERS]))
                self.expect(DENIED, self.ctl(daemon, "drain", "public", groups=[OBSERVERS]))
                self.expect(DENIED, self.ctl(daemon, "drain", "public", uid=ALICE,
                                             groups=[OBSERVERS]))
                self.expect(DENIED, self.ctl(daemon, "status", uid=CAROL))
            with self.watching(daemon, 1, BOB, [OBSERVERS]) as others:
                self.assertEqual(others, ["watching"])

    def test_changes_that_are_waited_for_leave_room(self):
        daemon = self.daemon(reload={"settle": "60s"})
        admins = [daemon.admin() for _ in range(4)]
        request = admin_pb2.RestartRequest(process="main", wait=True)
        waiting = [admins[number % 4].Restart.future(request) for number in range(200)]
        wait_until(lambda: sum(each.done() for each in waiting) >= 200 - 64, "the rest is refused")
        refused = [each for each in waiting if each.done()]
        self.assertEqual({each.code() for each in refused}, {grpc.StatusCode.RESOURCE_EXHAUSTED})
        self.assertIn("uid 0 has 64 calls that wait", refused[0].details())
        self.expect(DONE, daemon.ctl("status"))
        self.expect(DONE, daemon.ctl("drain", "public"))
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)


class NamesTest(AdminLimitsTest):
    """The name service does not answer."""

    def setUp(self):
        need_root()
        if SANITIZED:
            self.skipTest("nothing may be loaded first")

    def test_nobody_waits_for_it(self):
        daemon = self.daemon(env={"LD_PRELOAD": str(SILENT_NAMES)})
        began = time.monotonic()
        for uid in range(ALICE, ALICE + 10):
            self.expect(DENIED, self.ctl(daemon, "status", uid=uid), f"uid {uid} is in no group")
        self.expect(DONE, self.ctl(daemon, "drain", "public", groups=[OPERATORS]))
        self.expect(DONE, daemon.ctl("undrain", "public"))
        self.assertLess(time.monotonic() - began, 10 * AT_ONCE)
        self.assertRegex(daemon.log(), rf"drain public requested by lastcallctl \(pid \d+, uid {BOB}, ")
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        self.assertEqual(daemon.wait(), 0)
        self.assertLess(time.monotonic() - began, SLACK)


class RoomTest(AdminLimitsTest):
    """Long answers: a status is a header, of which clients take 8 KiB."""

    def spoil(self, daemon, mistakes, key):
        lines = [f'"{key}{number:04}" = 1' for number in range(mistakes)]
        daemon.config.write_text("\n".join(lines) + "\n" + daemon.config.read_text())

    def test_every_mistake_arrives(self):
        for key in ("wrong", "völlig-falsch-€-"):
            with self.subTest(key):
                daemon = self.daemon()
                self.spoil(daemon, 150, key)
                for args in (("reload",), ("reload", "--dry-run"), ("reload", "--no-wait")):
                    done = daemon.ctl(*args)
                    self.expect(FAILED, done)
                    for number in range(150):
                        self.assertIn(f"{key}{number:04}", done.stderr)
                self.assertEqual(daemon.current_stage(), "serving")

    def test_other_clients_are_told_what_fits_and_how_to_get_the_rest(self):
        daemon = self.daemon()
        self.spoil(daemon, 150, "völlig-falsch-€-")
        with self.assertRaises(grpc.RpcError) as refused:
            daemon.admin().Reload(admin_pb2.ReloadRequest(wait=True))
        self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("völlig-falsch-€-0000", refused.exception.details())
        self.assertRegex(refused.exception.details(),
                         r"\.\.\. \(\d+ more bytes did not fit; see the log of lastcalld\)$")
        reply = daemon.admin().Reload(admin_pb2.ReloadRequest(wait=True, refusal_in_response=True))
        self.assertEqual(reply.refusal.code, grpc.StatusCode.INVALID_ARGUMENT.value[0])
        for number in range(150):
            self.assertIn(f"völlig-falsch-€-{number:04}", reply.refusal.message)
        self.assertIn("völlig-falsch-€-0149", daemon.log())
        reply = daemon.admin().Restart(
            admin_pb2.RestartRequest(process="x", refusal_in_response=True))
        self.assertEqual(reply.refusal.code, grpc.StatusCode.NOT_FOUND.value[0])

    def test_what_a_client_says_comes_back_no_longer_than_fits(self):
        daemon = self.daemon()
        for name in ("x" * 60_000, "%" * 20_000, "é" * 30_000):
            self.expect(NO_SUCH_NAME, daemon.ctl("drain", name), 'no server "', "…")
            self.expect(NO_SUCH_NAME, daemon.ctl("restart", name), 'no process "')
            self.expect(USAGE, daemon.ctl("log-level", name), 'no log level "')

    def test_whoever_lacks_one_of_many_groups_is_denied(self):
        need_root()
        many = [f"no-such-group-{number}" for number in range(500)]
        daemon = self.daemon(admin={"operators": [OPERATORS, *many], "observers": many})
        self.expect(DENIED, self.ctl(daemon, "status"), f"uid {BOB} is in no group", "no-such-group-0")

    def test_a_thousand_requests_make_no_long_answer(self):
        daemon = self.daemon(shutdown={"grace": "60s"})
        call = daemon.held()
        admin = daemon.admin()
        first = admin.Shutdown(admin_pb2.ShutdownRequest(reason="the first"), timeout=10)
        for _ in range(1000):
            reply = admin.Shutdown(admin_pb2.ShutdownRequest(reason="again"), timeout=10)
        self.assertEqual(len(first.plan.requests), 1)
        self.assertEqual(len(reply.plan.requests), 100)
        self.assertEqual(reply.plan.requests_left_out, 901)
        self.assertEqual(reply.plan.requests[0].cause.reason, "the first")
        self.assertIn("and 901 more requests", daemon.ctl("status").stdout)
        call.finish()
        self.assertEqual(daemon.wait(), 0)
        self.assertEqual(len(daemon.receipt()["requests"]), 100)
        self.assertEqual(daemon.receipt()["requests_left_out"], 901)


if __name__ == "__main__":
    unittest.main()
