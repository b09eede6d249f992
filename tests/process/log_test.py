"""Who does not read the log holds nothing up: neither a status nor a stop; and what is read is whole."""

import contextlib
import ctypes
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time
import unittest

import grpc

from clients import PATIENCE, SANITIZED, SLACK, wait_until
from examples_test import Example
from harness import BIN, BUILD, Daemon, need_root
from reexec_test import Installed

PIPE_BUF = 4096
# How a line begins, whoever wrote it.
HEAD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \w+ +(lastcalld|host \w+): ")
DROPPED = re.compile(r"(\d+) log lines? w(?:as|ere) dropped because the log was not read")
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18

# A sanitizer makes much of an end.
CANCEL = 8 if SANITIZED else 1


def fill(descriptor):
    """Until nothing more goes in. Its flags are shared with whoever has it, so they are put back."""
    os.set_blocking(descriptor, False)
    for size in (65536, 4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(descriptor, b"." * (size - 1) + b"\n")
    os.set_blocking(descriptor, True)


def state(pid):
    """A letter, see proc(5)."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0]


class Pipe:
    """A pipe as somebody's output. Both ends are closed with it."""

    def __init__(self, full=True):
        self.read_end, self.write_end = os.pipe()
        if full:
            fill(self.write_end)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close_writer()
        os.close(self.read_end)

    def close_writer(self):
        """Ours; a program that has it keeps it."""
        if self.write_end is not None:
            os.close(self.write_end)
            self.write_end = None

    def lines(self):
        """Of the log, until its last writer is gone."""
        self.close_writer()
        text = b""
        while block := os.read(self.read_end, 65536):
            text += block
        return [line for line in text.decode().splitlines() if not re.fullmatch(r"\.*", line)]


class UnreadTest(unittest.TestCase):
    """lastcalld and its hosts, whatever their standard error is, when nothing takes what they write."""

    def check(self, unread, **spawn):
        """`unread`: makes sure of it, once the daemon serves."""
        config = {"spawn": spawn, "log": {"level": "trace"},
                  "shutdown": {"delay": "0s", "grace": "1s", "cancel": f"{CANCEL}s"}}
        for number, method, code in ((signal.SIGTERM, None, 0), (signal.SIGQUIT, "Slow", 3),
                                     (signal.SIGTERM, "Stubborn", 4)):
            with self.subTest(signal=number, method=method), Daemon(**config) as daemon:
                unread()
                if method:
                    daemon.slow(60, method=method)
                    daemon.await_calls(1, method)
                daemon.signal(signal.SIGUSR1)  # some hundred lines
                daemon.signal(signal.SIGHUP)
                self.assertEqual(daemon.ctl("--timeout", "10s", "status").returncode, 0)
                daemon.signal(number)
                self.assertEqual(daemon.wait(), code)
                # By the daemon's own clock: a reload on a busy machine may come before the signal.
                self.assertLess(daemon.receipt()["took_s"], 1 + CANCEL + SLACK)
                self.assertEqual(daemon.receipt()["exit_code"], code)
                daemon.assert_nothing_left()

    def test_a_full_pipe(self):
        with Pipe() as pipe:
            self.check(lambda: fill(pipe.write_end), stdout=pipe.write_end, stderr=pipe.write_end)

    def test_a_tee_that_was_stopped(self):
        with Pipe(full=False) as pipe, subprocess.Popen(
                ["tee", "/dev/null"], stdin=pipe.read_end, stdout=subprocess.DEVNULL) as tee:
            def unread():
                tee.send_signal(signal.SIGSTOP)
                wait_until(lambda: state(tee.pid) == "T", "it is stopped")
                fill(pipe.write_end)
            try:
                self.check(unread, stderr=pipe.write_end)
            finally:
                tee.kill()

    def test_a_terminal_after_ctrl_s(self):
        outer, inner = os.openpty()
        try:
            def unread():
                os.write(outer, b"\x13")
                # The terminal has obeyed when it takes nothing any more.
                fill(inner)
            attributes = termios.tcgetattr(inner)
            self.assertTrue(attributes[0] & termios.IXON)
            self.check(unread, stderr=inner)
        finally:
            os.close(inner)
            os.close(outer)

    def test_a_stuck_journal(self):
        need_root()
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            journal = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            journal.bind(folder + "/socket")
            stream, other_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            stack.enter_context(stream)
            stack.enter_context(other_end)
            status = os.fstat(stream.fileno())

            def own_run():
                libc = ctypes.CDLL(None, use_errno=True)
                if (libc.unshare(CLONE_NEWNS) or
                        libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) or
                        libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, None)):
                    raise OSError(ctypes.get_errno(), "no mount namespace")
                os.makedirs("/run/systemd/journal")
                if libc.mount(folder.encode(), b"/run/systemd/journal", None, MS_BIND, None):
                    raise OSError(ctypes.get_errno(), "cannot mount")

            try:
                subprocess.run(["true"], preexec_fn=own_run, check=True)
            except (OSError, subprocess.SubprocessError) as error:
                self.skipTest(f"no file systems of its own: {error}")

            def unread():
                sender = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                sender.connect(folder + "/socket")
                sender.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sender.send(b"MESSAGE=one more\n")

            os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
            stack.callback(os.environ.pop, "JOURNAL_STREAM")
            self.check(unread, stderr=stream, preexec_fn=own_run)


class ReadTest(unittest.TestCase):
    """What comes out, once it is read."""

    def test_after_a_re_exec_the_new_build_says_what_was_lost_with_the_old_one(self):
        with Pipe() as pipe:
            with Installed(spawn={"stderr": pipe.write_end}) as daemon:
                daemon.upgrade()
                self.assertEqual(daemon.reload()[0], 0)
                self.assertEqual(daemon.reload()[0], 0)  # of the new build
                reader = threading.Thread(target=lambda: lines.extend(pipe.lines()))
                lines = []
                reader.start()
                daemon.signal(signal.SIGTERM)
                self.assertEqual(daemon.wait(), 0)
                daemon.assert_nothing_left()
                reader.join(PATIENCE)
        ours = [line for line in lines if " lastcalld: " in line]
        self.assertTrue(DROPPED.search(ours[0]), lines)
        self.assertGreaterEqual(int(DROPPED.search(ours[0])[1]), 3)  # starts, serving, the reload
        self.assertIn("resumed after re-exec", ours[1])
        self.assertTrue(any("every call finished" in line for line in ours), ours)
        # The hosts have lived on, with all that they had to say.
        self.assertTrue(any("host main: stage serving" in line for line in lines), lines)
        self.assertFalse([line for line in lines if not HEAD.match(line)])

    def test_lines_of_several_processes_are_whole_however_slowly_they_are_read(self):
        with Pipe(full=False) as pipe:
            fcntl.fcntl(pipe.write_end, fcntl.F_SETPIPE_SZ, PIPE_BUF)  # always full
            lines = []
            servers = {"one": {"process": "one"}, "two": {"process": "two"}}
            with Daemon(servers, spawn={"stderr": pipe.write_end},
                        shutdown={"delay": "0s", "grace": "0s", "cancel": "5s"}) as daemon:
                calls = [daemon.slow(60, name=name) for name in servers for _ in range(60)]
                for name in servers:
                    daemon.await_calls(60, name=name)
                for _ in range(3):
                    daemon.signal(signal.SIGUSR1)
                daemon.signal(signal.SIGTERM)
                reader = threading.Thread(target=lambda: lines.extend(pipe.lines()))
                reader.start()
                self.assertEqual(daemon.wait(), 3)
                daemon.assert_nothing_left()
                reader.join(PATIENCE)
            for call in calls:
                self.assertNotEqual(call.code(), grpc.StatusCode.OK)
        self.assertGreater(len(lines), 100)
        torn = [line for line in lines if not HEAD.match(line) or HEAD.search(line, 30) or
                len(line.encode()) >= PIPE_BUF]
        self.assertEqual(torn, [])


class StrangersTest(unittest.TestCase):
    def test_connections_that_are_reset_fill_no_log(self):
        with Daemon() as daemon:
            host, port = daemon.address().rsplit(":", 1)
            for _ in range(300 if SANITIZED else 3000):
                with socket.create_connection((host, int(port))) as client:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            began = time.monotonic()
            wait_until(lambda: daemon.server().connections == 0, "all are gone")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)
            log = daemon.log()
            # Ten in ten seconds of each place in gRPC's sources.
            windows = 1 + (time.monotonic() - began) // 10
            said = re.findall(r"grpc: (\S+:\d+): (?!\d+ more lines)", log)
            for place in set(said):
                self.assertLessEqual(said.count(place), 10 * (2 + windows), log)
            self.assertNotIn("Failed getpeername", re.sub(r".*host main: grpc: .*", "", log))
            if len(said) >= 10:
                self.assertRegex(log, r"grpc: \S+:\d+: \d+ more lines within \S+ were left out")


class ReceiptTest(unittest.TestCase):
    @unittest.skipIf(SANITIZED, "nothing may be loaded first")
    def test_a_disk_that_hangs_delays_the_end_by_a_moment(self):
        preload = {"LD_PRELOAD": str(BUILD / "tests" / "hanging_disk.so")}
        with Daemon(env=preload) as daemon:
            daemon.signal(signal.SIGTERM)
            daemon.wait_log("lastcalld: stage stopped")
            # The admin socket answers meanwhile.
            self.assertEqual(daemon.current_stage(), "stopped")
            self.assertEqual(daemon.wait(), 0)
            self.assertIn("cannot keep the receipt in ", daemon.log())
            daemon.assert_nothing_left()


class EmbeddedTest(unittest.TestCase):
    """Programs that have Host or Program inside, and say their warnings on a stderr that is full."""

    def setUp(self):
        self.pipe = self.enterContext(Pipe())

    def test_host(self):
        with tempfile.TemporaryDirectory() as folder, subprocess.Popen(
                [BIN / "embed", f"unix:{folder}/socket"], stdout=subprocess.PIPE,
                stderr=self.pipe.write_end, text=True) as program:
            with grpc.insecure_channel(f"unix:{folder}/socket") as channel:
                grpc.channel_ready_future(channel).result(PATIENCE)
            program.send_signal(signal.SIGHUP)  # a warning
            program.send_signal(signal.SIGUSR1)
            program.send_signal(signal.SIGTERM)
            try:
                self.assertEqual(program.wait(PATIENCE), 0)
            finally:
                program.kill()
            self.assertIn('"exit_code":0', program.stdout.read())

    def test_host_that_cannot_start(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            done = subprocess.run([BIN / "embed", f"127.0.0.1:{taken.getsockname()[1]}"],
                                  stdout=subprocess.DEVNULL, stderr=self.pipe.write_end,
                                  timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 69)

    def test_program(self):
        with Example("worker_pool", "60000", stderr=self.pipe.write_end) as pool:
            pool.until("job 4 began")
            pool.process.send_signal(signal.SIGUSR1)
            pool.process.send_signal(signal.SIGHUP)
            pool.terminate()
            too_late = threading.Timer(PATIENCE, pool.process.kill)
            too_late.start()
            code, took = pool.end()
            too_late.cancel()
        self.assertEqual(code, 3)
        self.assertLess(took, 2 + SLACK)


if __name__ == "__main__":
    unittest.main()
