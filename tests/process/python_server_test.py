"""grpc.server and grpc.aio.server under the Python package's lifecycle: calls in flight, health,
the receipt; with real signals and clients."""

import signal
import time
import unittest

import grpc

from clients import Health, Log, wait_until
from python_program import AT_ONCE, SLACK, Program, run
from python_serving import Server

TERM = signal.SIGTERM


class SyncTest(unittest.TestCase):
    kind = "sync"

    def server(self, lengths, serve="", **kwargs):
        return Server(self.kind, lengths, serve, **kwargs)

    def test_idle_server_is_gone_at_once(self):
        with self.server("delay=0") as server:
            self.assertEqual(server.sleep(0).result(), b"slept")
            server.signal(TERM)
            self.assertEqual(server.wait(), 0)
            self.assertLess(server.took(), AT_ONCE)

    def test_calls_in_flight_finish_and_a_stream_leaves_then_is_cancelled_at_its_instant(self):
        with self.server("delay=0, grace=4, cancel=5") as server:
            stream, call = server.ticks(), server.sleep(1)
            server.hear("asleep")
            server.signal(TERM)
            self.assertEqual(call.result(), b"slept")
            self.assertLess(stream.when(b"leave") - server.asked, AT_ONCE)
            server.hear("cancelled")
            stream.wait_end()
            ended = stream.items[-1][0] - server.asked
            self.assertGreater(ended, 3.9)
            self.assertLess(ended, 4 + SLACK)
            receipt = server.hear("receipt")
            self.assertEqual(receipt["calls"], {"finished": 1, "cancelled": 1})
            (cancelled,) = receipt["cancelled"]
            self.assertEqual(cancelled["method"], "/test.Service/Ticks")
            self.assertIn("127.0.0.1", cancelled["peer"])
            self.assertEqual(server.wait(), 3)
            self.assertLess(server.took(), 4 + SLACK)

    def test_grace_ends_with_the_last_call(self):
        with self.server("delay=0, grace=60") as server:
            call = server.sleep(0.5)
            server.hear("asleep")
            server.signal(TERM)
            self.assertEqual(call.result(), b"slept")
            receipt = server.hear("receipt")
            self.assertEqual(receipt["stages"][1]["ended_by"], "idle")
            self.assertEqual(receipt["calls"], {"finished": 1, "cancelled": 0})
            self.assertEqual(server.wait(), 0)
            self.assertLess(server.took(), 0.5 + SLACK)

    def test_health_in_delay_says_not_serving_while_calls_are_served(self):
        with self.server("delay=3, grace=60") as server:
            health = Health(server.channel)
            self.assertEqual(health.check(), "SERVING")
            self.assertEqual(health.check("test.Service"), "SERVING")
            self.assertEqual(health.list(), {"": "SERVING", "test.Service": "SERVING"})
            with self.assertRaises(grpc.RpcError) as unknown:
                health.check("no.Such")
            self.assertEqual(unknown.exception.code(), grpc.StatusCode.NOT_FOUND)
            streams = {name: Log(health.watch(name)) for name in ("", "test.Service", "no.Such")}
            streams[""].when("SERVING")
            bare = server.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
            self.assertEqual(next(bare), b"\x08\x01")
            streams["no.Such"].when("SERVICE_UNKNOWN")
            server.signal(TERM)
            for name in ("", "test.Service"):
                self.assertLess(streams[name].when("NOT_SERVING") - server.asked, AT_ONCE)
            self.assertEqual(health.check(), "NOT_SERVING")
            self.assertEqual(set(health.list().values()), {"NOT_SERVING"})
            self.assertEqual(server.sleep(0).result(), b"slept")
            for stream in streams.values():
                stream.wait_end()
            self.assertEqual(list(bare), [b"\x08\x02"])
            self.assertEqual(bare.code(), grpc.StatusCode.OK)
            # Watches are no work in flight: nothing has waited for them.
            receipt = server.hear("receipt")
            self.assertEqual(receipt["calls"], {"finished": 1, "cancelled": 0})
            self.assertEqual(server.wait(), 0)
            self.assertLess(server.took(), 3 + SLACK)

    def test_the_second_signal_skips_a_stage(self):
        with self.server("delay=60, grace=60, cancel=60") as server:
            stream = server.ticks()
            server.signal(TERM)
            wait_until(lambda: Health(server.channel).check() == "NOT_SERVING", "delay")
            time.sleep(0.6)
            server.signal(TERM)
            self.assertLess(stream.when(b"leave") - server.asked, AT_ONCE)
            time.sleep(0.6)
            server.signal(TERM)
            server.hear("cancelled")
            self.assertEqual(server.wait(), 3)
            self.assertLess(server.took(), AT_ONCE)

    def test_a_handler_that_does_not_return_is_named_and_the_process_ends(self):
        with self.server("delay=0, grace=0.3, cancel=0.5") as server:
            server.deaf()
            server.signal(TERM)
            self.assertEqual(server.wait(), 4)
            self.assertGreater(server.took(), 0.75)
            self.assertLess(server.took(), 0.8 + SLACK)
            receipt = server.forced_receipt()
            (stuck,) = [each for each in receipt["stuck"] if each["what"] == "call"]
            self.assertEqual(stuck["name"], "/test.Service/Deaf")
            self.assertTrue(stuck["stack"])

    def test_streams_are_told_to_leave_over_the_first_half_of_grace(self):
        with self.server("delay=0, grace=5, cancel=5") as server:
            streams = [server.ticks() for _ in range(5)]
            server.signal(TERM)
            told = sorted(stream.when(b"leave") - server.asked for stream in streams)
            self.assertGreater(told[-1] - told[0], 1.0)
            self.assertLess(told[-1], 2.5 + SLACK)
            self.assertEqual(server.wait(), 3)

    def test_who_asks_in_grace_to_be_told_is_told_at_once(self):
        with self.server("delay=0, grace=600") as server:
            streams, late = [server.ticks() for _ in range(3)], server.late()
            server.signal(TERM)
            self.assertEqual(late.result(), b"told")
            self.assertLessEqual(sum((b"leave" in [item for _, item in stream.items])
                                     for stream in streams), 1, "others wait for their turn")

    def test_telling_to_leave_follows_the_plan(self):
        with self.server("delay=0, grace=600, cancel=5",
                         first="signal.signal(signal.SIGUSR2, lambda *_: "
                               "life.request_shutdown(grace=4))") \
                as server:
            streams = [server.ticks() for _ in range(3)]
            server.signal(TERM)
            self.assertGreater(streams[0].when(b"leave"), server.asked)
            server.signal(signal.SIGUSR2)  # the others had minutes
            for stream in streams[1:]:
                self.assertGreater(stream.when(b"leave"), server.asked)
            for stream in streams:
                stream.wait_end()
            self.assertEqual(server.wait(), 3)


class AioTest(SyncTest):
    kind = "aio"

    def test_a_loop_that_is_blocked_does_not_hold_the_process(self):
        with Program("""
            import python_services
            async def main():
                await life.attach(python_services.aio_server(life), "127.0.0.1:0")
                def hang():
                    say("hangs")
                    threading.Event().wait()
                hang()
            with lastcall.Lifecycle(grace=0.3, cancel=0.3) as life:
                asyncio.run(main())
        """) as server:
            server.hear("hangs")
            server.signal(TERM)
            self.assertEqual(server.wait(), 4)
            self.assertLess(server.took(), 0.6 + SLACK)
            (stuck,) = server.forced_receipt()["stuck"]
            self.assertRegex(stuck["name"], r"^server 127\.0\.0\.1:[1-9]\d*$")
            self.assertTrue(any("hang (" in line for line in stuck["stack"]))

    def test_async_with_stops_its_servers(self):
        said = run("""
            import python_services
            async def main():
                async with lastcall.Lifecycle() as life:
                    await life.attach(python_services.aio_server(life), "127.0.0.1:0")
                say("receipt", code=life.exit_code)
            asyncio.run(main())
        """)
        self.assertEqual(said["receipt"]["code"], 0)
        self.assertEqual(said["code"], 0, said["errors"])


if __name__ == "__main__":
    unittest.main()
