"""examples/stall: who waits for a heavy stream, wherever its work is. Its tables are pipes here, at which
it is held until it is let go."""

import errno
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import grpc

import stall_pb2
import stall_pb2_grpc
from clients import PATIENCE, wait_until
from harness import Daemon

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "examples" / "stall" / "pandas_server.py"
TOTALS = "/lastcall.example.Sales/Totals"
# As many as gRPC makes.
CALLBACK_THREADS = max(2, min(16, os.cpu_count() // 2))


class HeldStream:
    """It has begun to read its table, which has no rows before it is let go."""

    def __init__(self, stub, folder, name):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
        self.stream = stub.Totals(stall_pb2.Query(table=name, step=1))
        self._table = wait_until(lambda: self._open(folder / name), "its handler reads the table")

    @staticmethod
    def _open(path):
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nobody reads
                raise
            return None

    def is_held(self):
        return not self.stream.done()

    def let_go(self):
        """What it sends then."""
        os.write(self._table, b"region,amount\nnorth,1\nsouth,2\nnorth,3\n")
        os.close(self._table)
        return [dict(report.totals) for report in self.stream]


SENT = [{"north": 1}, {"north": 1, "south": 2}, {"north": 4, "south": 2}]


class StallTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def hold(self, stub, count):
        return [HeldStream(stub, self.folder, str(number)) for number in range(count)]

    def ping(self, stub):
        return stub.Ping.future(stall_pb2.PingRequest())

    def expect_bystanders_are_served(self, stub, count):
        held = self.hold(stub, count)
        self.ping(stub).result(PATIENCE)
        self.assertTrue(all(stream.is_held() for stream in held))
        for stream in held:
            self.assertEqual(stream.let_go(), SENT)

    def expect_ping_waits_for_one(self, stub, count, named):
        """`named`: returns when it has been said."""
        held = self.hold(stub, count)
        ping = self.ping(stub)
        named()
        self.assertFalse(ping.done())
        self.assertEqual(held.pop().let_go(), SENT)
        ping.result(PATIENCE)
        self.assertTrue(all(stream.is_held() for stream in held))
        for stream in held:
            self.assertEqual(stream.let_go(), SENT)


class PluginTest(StallTest):
    def serve(self, api, work):
        daemon = self.enterContext(Daemon({"public": {
            "plugins": ["stall"],
            "offload": {"stall": {"threads": CALLBACK_THREADS}},
            "config": {"stall": {"folder": str(self.folder), "api": api, "work": work}}}}))
        return daemon, stall_pb2_grpc.SalesStub(self.enterContext(daemon.channel()))

    def test_streams_that_hold_the_callback_threads_hold_everybody_up(self):
        daemon, stub = self.serve("callback", "here")
        count = CALLBACK_THREADS
        # Under the address sanitizer it is not always seen; why is not known yet.
        named = f"frozen: {count} of {count} callback threads are held by {TOTALS}"
        self.expect_ping_waits_for_one(
            stub, count,
            lambda: os.environ.get("LASTCALL_SANITIZE") or daemon.wait_log(named))

    def test_nobody_waits_for_offloaded_streams(self):
        _, stub = self.serve("callback", "offload")
        self.expect_bystanders_are_served(stub, CALLBACK_THREADS)

    def test_nobody_waits_for_streams_of_the_synchronous_api(self):
        _, stub = self.serve("sync", "here")
        self.expect_bystanders_are_served(stub, 3 * CALLBACK_THREADS)

    def test_nor_for_its_offloaded_ones(self):
        _, stub = self.serve("sync", "offload")
        self.expect_bystanders_are_served(stub, CALLBACK_THREADS)


@unittest.skipIf(os.environ.get("LASTCALL_SANITIZE"), "the interpreter is not instrumented")
class PandasTest(StallTest):
    def serve(self, *args):
        self.errors = self.folder / "errors"
        with open(self.errors, "wb") as errors:
            process = self.enterContext(subprocess.Popen(
                [sys.executable, PROGRAM, self.folder, "--address=127.0.0.1:0", "--stall-after=1",
                 *args], stdout=subprocess.PIPE, stderr=errors, text=True))
        self.addCleanup(process.kill)  # before it is waited for
        port = process.stdout.readline().split()[-1]
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        return stall_pb2_grpc.SalesStub(self.enterContext(channel))

    def await_said(self, pattern):
        wait_until(lambda: re.search(pattern, self.errors.read_text()),
                   f"it says {pattern}: {self.errors.read_text()}")

    STACK = r"(  .*\n)*  sums \(.*/pandas_server\.py:\d+\)\n"

    def test_a_stream_that_holds_the_loop_is_named_with_its_stack(self):
        stub = self.serve("--api=asyncio")
        self.expect_ping_waits_for_one(stub, 1, lambda: self.await_said(
            f"frozen: the event loop is held by {TOTALS} for .*\n" + self.STACK))

    def test_streams_that_hold_the_pool_are_named_with_their_stack(self):
        stub = self.serve("--api=sync", "--workers=2")
        self.expect_ping_waits_for_one(stub, 2, lambda: self.await_said(
            f"stalled: {TOTALS} has made no progress for .*\n" + self.STACK))

    def test_nobody_waits_for_offloaded_streams(self):
        for api in ("sync", "asyncio"):
            for work in ("threads", "processes"):
                with self.subTest(api, work=work):
                    self.expect_bystanders_are_served(
                        self.serve(f"--api={api}", f"--work={work}"), 2)


if __name__ == "__main__":
    unittest.main()
