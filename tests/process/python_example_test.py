"""examples/python, each ended by a SIGTERM while a call and a stream are in flight."""

import pathlib
import signal
import subprocess
import sys
import time
import unittest

import grpc

from clients import Health, wait_until
from python_program import PATIENCE, SLACK

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "python"


class ExampleTest(unittest.TestCase):
    def check(self, name):
        server = subprocess.Popen([sys.executable, EXAMPLES / name, "127.0.0.1:0"], text=True,
                                  stdout=subprocess.PIPE)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.kill)
        port = int(server.stdout.readline().rpartition(" ")[2])
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            count = channel.unary_stream("/example.Greeter/Count")(b"")
            self.assertEqual(next(count), b"0")
            server.send_signal(signal.SIGTERM)
            began = time.monotonic()
            health = Health(channel)
            wait_until(lambda: health.check("example.Greeter") == "NOT_SERVING", "delay")
            # In delay new calls are served, and in grace they finish.
            greet = channel.unary_unary("/example.Greeter/Greet")
            self.assertEqual(greet(b"you"), b"hello you")
            time.sleep(max(0.0, began + 3.5 - time.monotonic()))
            self.assertEqual(greet(b"you"), b"hello you")
            with self.assertRaises(grpc.RpcError) as left:
                list(count)
            self.assertEqual(left.exception.details(), "going away: connect again")
            self.assertEqual(server.wait(PATIENCE), 0)
            self.assertLess(time.monotonic() - began, 6 + SLACK)
        self.assertIn("every call finished", server.stdout.read())

    def test_sync_server(self):
        self.check("sync_server.py")

    def test_aio_server(self):
        self.check("aio_server.py")


if __name__ == "__main__":
    unittest.main()
