"""More servers in one process than there are descriptors in one message."""

import signal
import unittest

import echo_pb2_grpc
import grpc
from clients import PATIENCE, wait_until
from echo_pb2 import EchoRequest
from harness import Daemon

COUNT = 300  # some 250 sockets go with one message


class ManyServersTest(unittest.TestCase):
    def call(self, daemon, name):
        with grpc.insecure_channel(f"unix:{daemon.folder}/{name}.sock") as channel:
            echo = echo_pb2_grpc.EchoStub(channel)
            self.assertEqual(echo.Unary(EchoRequest(text=name), timeout=PATIENCE).text, name)

    def test_they_start_serve_are_replaced_and_stop(self):
        servers = {f"s{i}": {"reflection": False} for i in range(COUNT)}
        with Daemon(servers=servers, reload={"ready": "60s", "settle": "100ms"}) as daemon:
            status = daemon.status()
            self.assertEqual(len(status.servers), COUNT)
            # Each has the sockets that are its own: the first, the last, and those at the seams.
            for name in ("s0", "s1", "s124", "s125", "s249", "s250", f"s{COUNT - 1}"):
                self.call(daemon, name)
            daemon.ctl("restart", "main", check=True)
            for name in ("s0", f"s{COUNT - 1}"):
                self.call(daemon, name)
            wait_until(lambda: {server.calls_total for server in daemon.status().servers
                                if server.name in ("s0", "s124")} == {2, 1}, "all are counted")
            daemon.signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(), 0)


if __name__ == "__main__":
    unittest.main()
