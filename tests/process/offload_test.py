"""What a plugin offloads: bounded and in time, beside the threads that serve its calls; and where it does
not return, named."""

import json
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

import grpc

import callback_echo_pb2
import callback_echo_pb2_grpc
from harness import PATIENCE, Daemon

CallbackRequest = callback_echo_pb2.CallbackRequest
FOR_EVER_MS = 3_600_000


def serving(grace="200ms", **limits):
    return Daemon({"public": {"plugins": ["callback_echo"],
                              "offload": {"callback_echo": limits}}},
                  shutdown={"grace": grace, "cancel": "500ms"})


def stub(channel):
    return callback_echo_pb2_grpc.CallbackEchoStub(channel)


class OffloadTest(unittest.TestCase):
    def fails(self, call):
        with self.assertRaises(grpc.RpcError) as failed:
            call.result()
        return failed.exception.code()

    def test_what_blocks_is_bounded_and_in_time_and_freezes_nobody(self):
        with serving(threads=1, queue=1, deadline="1s") as daemon, daemon.channel() as channel:
            echo = stub(channel)
            began = time.monotonic()
            blocked = [echo.Block.future(CallbackRequest(interval_ms=FOR_EVER_MS))
                       for _ in range(3)]
            codes = sorted(self.fails(call).name for call in blocked)
            self.assertEqual(codes, ["DEADLINE_EXCEEDED"] * 2 + ["RESOURCE_EXHAUSTED"])
            self.assertGreaterEqual(time.monotonic() - began, 1)
            # Its one thread will never return: what is queued for it is late, and all else is served.
            self.assertEqual(self.fails(echo.Block.future(CallbackRequest())),
                             grpc.StatusCode.DEADLINE_EXCEEDED)
            echo.Unary(CallbackRequest(text="hi"), timeout=PATIENCE)
            self.assertEqual(daemon.server().calls_in_flight, 0)

    def test_status_tells_what_is_offloaded(self):
        with serving(threads=1, queue=1, deadline="1s") as daemon, daemon.channel() as channel:
            self.assertNotIn("OFFLOADED", daemon.ctl("status").stdout)
            for call in [stub(channel).Block.future(CallbackRequest(interval_ms=FOR_EVER_MS))
                         for _ in range(3)]:
                self.fails(call)
            self.assertRegex(
                daemon.ctl("status").stdout,
                r"\n *callback_echo  public  1 of 1          1  0 of 1      2        1     2\n")
            (server,) = json.loads(daemon.ctl("--json", "status").stdout)["servers"]
            self.assertEqual(server["offloads"], [{
                "plugin": "callback_echo", "threads": 1, "busy": 1, "abandoned": 1, "queue": 1,
                "queued": 0, "most_queued": 1, "begun": 2, "refused": 1, "late": 2}])

    def test_more_than_grpc_has_threads_block_and_everybody_is_served(self):
        with serving(threads=40) as daemon, daemon.channel() as channel:
            echo = stub(channel)
            blocked = [echo.Block.future(CallbackRequest(interval_ms=1000)) for _ in range(40)]
            echo.Unary(CallbackRequest(text="hi"), timeout=PATIENCE)
            for call in blocked:
                call.result(timeout=PATIENCE)

    def test_a_producer_waits_for_its_client_alone(self):
        with serving(threads=2) as daemon, daemon.channel() as channel:
            large = CallbackRequest(text="x" * 1_000_000, count=100)
            idle = stub(channel).BlockingStream(large)
            with daemon.channel() as another, ThreadPoolExecutor() as threads:
                read = threads.submit(lambda: sum(1 for _ in stub(another).BlockingStream(large)))
                self.assertEqual(read.result(timeout=PATIENCE), 100)
            self.assertEqual(sum(1 for _ in idle), 100)

    def test_what_does_not_return_is_named_and_the_stop_is_bounded(self):
        with serving() as daemon, daemon.channel() as channel:
            call = stub(channel).Block.future(CallbackRequest(interval_ms=FOR_EVER_MS))
            daemon.await_calls(1, method="Block")
            began = time.monotonic()
            daemon.ctl("shutdown")
            self.assertEqual(daemon.wait(), 4, daemon.log())
            self.assertLess(time.monotonic() - began, PATIENCE)
            self.fails(call)
            (stuck,) = daemon.receipt()["stuck"]
            self.assertEqual((stuck["what"], stuck["name"]), (
                "plugin",
                "plugin callback_echo: offloaded work of /lastcall.example.CallbackEcho/Block"))
            self.assertIn("nanosleep", "\n".join(stuck["stack"]))

    def test_work_goes_on_in_grace(self):
        with serving(grace="20s") as daemon, daemon.channel() as channel:
            call = stub(channel).Block.future(CallbackRequest(text="done", interval_ms=1000))
            daemon.await_calls(1, method="Block")
            daemon.ctl("shutdown", "--no-wait")
            self.assertEqual(call.result(timeout=PATIENCE).text, "done")
            self.assertEqual(daemon.wait(), 0, daemon.log())

    def test_a_reload_takes_other_limits_over(self):
        with serving(threads=1) as daemon:
            text = daemon.config.read_text()
            daemon.config.write_text(text.replace("threads = 1", "threads = 2"))
            said = daemon.ctl("reload", "--dry-run", check=True).stdout
            self.assertIn("~ process main: ~offload of plugin callback_echo of server public", said)
            self.assertIn("server.public.offload.callback_echo.threads", said)


if __name__ == "__main__":
    unittest.main()
