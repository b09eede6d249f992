"""How servers are attached to the Python package's lifecycle: several, with interceptors, with
health set by hand, to a grpcio that hides its handlers; and what misuse is told."""

import signal
import unittest

import grpc

from clients import Health, Log, wait_until
from python_program import SLACK, Program, run
from python_serving import Server

TERM = signal.SIGTERM


class AttachTest(unittest.TestCase):
    def test_health_answers_while_every_thread_is_busy(self):
        with Server("sync", "delay=0, grace=0, cancel=0.2", ", threads=1") as server:
            server.deaf()
            self.assertEqual(Health(server.channel).check(), "SERVING")
            watch = Log(Health(server.channel).watch())
            watch.when("SERVING")
            self.assertEqual(Health(server.channel).check("test.Service"), "SERVING")

    def test_health_can_be_set_by_service(self):
        with Program("""
            import python_services
            with lastcall.Lifecycle() as life:
                for number in (signal.SIGUSR2, signal.SIGWINCH):
                    signal.signal(number, lambda number, frame: life.set_serving(
                        number == signal.SIGWINCH, "test.Service"))
                say("serving", port=life.attach(python_services.sync_server(life), "127.0.0.1:0"))
                life.wait_for_termination()
        """) as server:
            channel = grpc.insecure_channel(f"127.0.0.1:{server.hear('serving')['port']}")
            with channel:
                watch = Log(Health(channel).watch("test.Service"))
                watch.when("SERVING")
                server.signal(signal.SIGUSR2)
                watch.when("NOT_SERVING")
                self.assertEqual(Health(channel).check(), "SERVING")
                self.assertEqual(Health(channel).check("test.Service"), "NOT_SERVING")
                server.signal(signal.SIGWINCH)
                wait_until(lambda: [item for _, item in watch.items].count("SERVING") == 2, "again")
                server.signal(TERM)
                self.assertEqual(server.wait(), 0)

    def test_several_servers_stop_together(self):
        with Program("""
            import python_services
            with lastcall.Lifecycle(grace=60) as life:
                ports = [life.attach(python_services.sync_server(life), "127.0.0.1:0")
                         for _ in range(2)]
                say("serving", ports=ports)
                life.wait_for_termination()
            say("receipt", **life.receipt)
        """) as server:
            calls = []
            for port in server.hear("serving")["ports"]:
                channel = grpc.insecure_channel(f"127.0.0.1:{port}")
                self.addCleanup(channel.close)
                calls.append(channel.unary_unary("/test.Service/Sleep").future(b"2"))
            for _ in calls:
                server.hear("asleep")
            server.signal(TERM)
            self.assertEqual([call.result() for call in calls], [b"slept"] * 2)
            self.assertEqual(server.hear("receipt")["calls"], {"finished": 2, "cancelled": 0})
            self.assertEqual(server.wait(), 0)
            self.assertLess(server.took(), 2 + SLACK)

    def test_interceptors_of_the_program_stay_in_place(self):
        with Program("""
            import grpc, python_services
            class Seen(grpc.ServerInterceptor):
                def intercept_service(self, continuation, details):
                    handler = continuation(details)
                    say("seen", method=details.method)
                    if handler is None or not handler.response_streaming:
                        return handler
                    # As many do: a wrapper of its own, without grpcio's attributes.
                    return grpc.unary_stream_rpc_method_handler(
                        lambda request, context: handler.unary_stream(request, context),
                        handler.request_deserializer, handler.response_serializer)
            with lastcall.Lifecycle() as life:
                server = python_services.sync_server(life, interceptors=[Seen()])
                say("serving", port=life.attach(server, "127.0.0.1:0"))
                life.wait_for_termination()
            say("receipt", **life.receipt)
        """) as server:
            channel = grpc.insecure_channel(f"127.0.0.1:{server.hear('serving')['port']}")
            with channel:
                watch = Log(Health(channel).watch())
                watch.when("SERVING")
                self.assertEqual(server.hear("seen")["method"], "/grpc.health.v1.Health/Watch")
                self.assertEqual(channel.unary_unary("/test.Service/Sleep")(b"0"), b"slept")
                self.assertEqual(server.hear("seen")["method"], "/test.Service/Sleep")
                server.signal(TERM)
                watch.when("NOT_SERVING")
                watch.wait_end()
                self.assertEqual(server.hear("receipt")["exit_code"], 0)

    def test_a_grpcio_that_hides_its_handlers_is_served_without_names(self):
        with Program("""
            import python_services, lastcall._servers
            lastcall._servers.handlers_of = lambda server: None
            with lastcall.Lifecycle(grace=60) as life:
                python_services.run_sync(life)
            say("receipt", **life.receipt)
        """) as server:
            channel = grpc.insecure_channel(f"127.0.0.1:{server.hear('serving')['port']}")
            with channel:
                self.assertEqual(Health(channel).list(), {"": "SERVING"})
                call = channel.unary_unary("/test.Service/Sleep").future(b"0.5")
                server.hear("asleep")
                server.signal(TERM)
                self.assertEqual(call.result(), b"slept")
                self.assertEqual(server.hear("receipt")["calls"], {"finished": 0, "cancelled": 0})
                self.assertEqual(server.wait(), 0)

    def test_a_call_is_in_flight_until_its_handler_and_its_answer_are_done(self):
        said = run("""
            from lastcall._calls import InFlight
            class Context:
                def __init__(self, over):
                    self.over, self.callbacks = over, []
                def peer(self):
                    return "ipv4:10.0.0.7:4711"
                def add_callback(self, callback):
                    self.callbacks.append(callback)
                    return not self.over
            with lastcall.Lifecycle() as life:
                in_flight, idle = InFlight(life._native), []
                in_flight.watch(lambda: idle.append(True))
                answered, gone = Context(False), Context(True)
                with in_flight.entered("/a.B/C", answered):
                    inside = in_flight.idle_since()
                sending = in_flight.idle_since()
                answered.callbacks[0]()
                sent = in_flight.idle_since()
                with in_flight.entered("/a.B/C", gone):  # its client is gone, its handler is not
                    deaf = in_flight.idle_since()
                say("idle", inside=inside, sending=sending, sent=sent, deaf=deaf,
                    over=in_flight.idle_since(), notices=len(idle))
        """)
        self.assertEqual(said["idle"], {"inside": None, "sending": None, "sent": 1, "deaf": None,
                                        "over": 2, "notices": 3})

    def test_misuse_is_told(self):
        cases = {
            "life.attach(grpc.server(pool), taken)": "cannot bind",
            "life.attach(grpc.server(pool), 'nonsense')": "cannot bind nonsense",
            "life.attach(started, '127.0.0.1:0')": "attach() starts the server",
            "life.attach(started)": "attach() starts the server",
            "life.attach(aio)": "inside its event loop, and none runs here",
            "asyncio.run(elsewhere())": "belongs to another event loop",
            "asyncio.run(blocked())": "await life.event(\"stopped\")",
            "asyncio.run(left())": "async with",
            "late()": "attach() comes too late",
        }
        said = run(f"""
            import grpc, grpc.aio, socket
            from concurrent import futures
            pool = futures.ThreadPoolExecutor()
            listener = socket.create_server(("127.0.0.1", 0))
            taken = "127.0.0.1:%d" % listener.getsockname()[1]
            started = grpc.server(pool)
            started.start()
            async def make():
                return grpc.aio.server()
            async def elsewhere():
                await life.attach(aio, "127.0.0.1:0")
            async def blocked():
                life.wait_for_termination()
            async def left():
                global life
                with lastcall.Lifecycle() as life:
                    await life.attach(grpc.aio.server(), "127.0.0.1:0")
            def late():
                life.request_shutdown("enough")
                life.event("delay").wait()
                life.attach(grpc.server(pool), "127.0.0.1:0")
            told = {{}}
            def attempt(text):
                try:
                    eval(text)
                except Exception as error:
                    told[text] = type(error).__name__ + ": " + str(error)
            with lastcall.Lifecycle() as life:
                loop = asyncio.new_event_loop()
                aio = loop.run_until_complete(make())
                for text in {[text for text in cases if text != "asyncio.run(left())"]!r}:
                    attempt(text)
                loop.run_until_complete(aio.stop(None))
            attempt("asyncio.run(left())")
            say("told", **told)
            os._exit(0)
        """)
        for text, expected in cases.items():
            self.assertIn(expected, said["told"].get(text, "nothing"), text)
            self.assertIn("LifecycleError", said["told"][text])


if __name__ == "__main__":
    unittest.main()
