"""Clients of other languages lose nothing in a restart: bench/clients has more of them, and proxies."""

import json
import os
import pathlib
import subprocess
import unittest

from clients import PATIENCE, wait_until
from harness import Daemon

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "bench" / "clients"
# Installed by ./dev test.
NODE_MODULES = ROOT / "build" / "clients" / "node_modules"


class ForeignClientsTest(unittest.TestCase):
    def assert_nothing_lost(self, *command):
        """Sixteen callers, on one connection and on one each."""
        for connections in (1, 16):
            with self.subTest(connections=connections), \
                    Daemon(reload={"settle": "100ms"}, log={"level": "info"}) as daemon:
                client = subprocess.Popen(
                    [*command, daemon.address(), "16", str(connections), "0", ""],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                    env={**os.environ, "NODE_PATH": str(NODE_MODULES)})
                try:
                    self.assertEqual(client.stdout.readline(), "connected\n")
                    self.await_more_calls(daemon)
                    daemon.ctl("restart", "main", check=True)
                    self.await_more_calls(daemon)
                    result = json.loads(client.communicate(timeout=PATIENCE)[0])
                    self.assertEqual(result["lost"], {})
                finally:
                    client.kill()
                    client.wait()

    def await_more_calls(self, daemon):
        def total():
            return sum(each.total for each in daemon.server().methods
                       if each.name.endswith("/Unary"))
        before = total()
        wait_until(lambda: total() > before + 100, "calls are served")

    def test_node_loses_nothing_in_a_restart(self):
        self.assertTrue((NODE_MODULES / "@grpc").exists(),
                        "Node's client is missing: ./dev test installs it")
        self.assert_nothing_lost("node", CLIENTS / "node.js")

    def test_python_loses_nothing_in_a_restart(self):
        self.assert_nothing_lost("/usr/bin/python3", CLIENTS / "sync.py")

    def test_asyncio_loses_nothing_in_a_restart(self):
        self.assert_nothing_lost("/usr/bin/python3", CLIENTS / "aio.py")


if __name__ == "__main__":
    unittest.main()
