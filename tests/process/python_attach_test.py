"""How servers are attached to the Python package's lifecycle: several, with interceptors, with
health set by hand, to a grpcio that hides its handlers; and what misuse is told."""

import signal
import threading
import unittest

import grpc

from clients import Health, Log, wait_until
from python_program import AT_ONCE, SLACK, Program, run
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
            from lastcall._stalls import Stalls
            class Context:
                def __init__(self, told):
                    self.told, self.callbacks = told, []
                def peer(self):
                    return "ipv4:10.0.0.7:4711"
                def add_callback(self, callback):
                    self.callbacks.append(callback)
                    return self.told
            class Ended:
                ended = 0
                def enter(self, name, peer):
                    return self
                def end(self):
                    self.ended += 1
            calls = Ended()
            in_flight = InFlight(calls, Stalls(None, ()))
            answered, gone, never = Context(True), Context(False), Context(None)
            with in_flight.entered("/a.B/C", answered):
                inside = calls.ended
            sending = calls.ended
            answered.callbacks[0]()
            sent = calls.ended
            with in_flight.entered("/a.B/C", gone):  # its client is gone, its handler is not
                deaf = calls.ended
            with in_flight.entered("/a.B/C", never):  # grpc.aio tells a plain function nothing
                pass
            say("ended", inside=inside, sending=sending, sent=sent, deaf=deaf, over=calls.ended)
        """)
        self.assertEqual(said["ended"],
                         {"inside": 0, "sending": 0, "sent": 1, "deaf": 1, "over": 3})

    def test_what_no_handler_has_begun_is_finished_in_grace_all_the_same(self):
        """An interceptor's work, a message on its way, a call that waits for a thread, and one of a
        service that came after attach()."""
        for kind in ("interceptor", "message", "thread", "service", "aio interceptor",
                     "aio message"):
            with self.subTest(kind), Program(f"""
                import python_unbegun
                python_unbegun.serve({kind!r})
            """) as server:
                channel = grpc.insecure_channel(f"127.0.0.1:{server.hear('serving')['port']}")
                with channel:
                    arrive = threading.Event()

                    def message():
                        arrive.wait()
                        yield b"answer"

                    if kind.endswith("message"):
                        call = channel.stream_unary("/test.Service/Echo").future(message())
                    else:
                        call = channel.unary_unary("/test.Service/Echo").future(b"answer")
                    server.hear("under way")
                    server.signal(TERM)
                    server.hear("grace")
                    # Longer than idle clients are waited for.
                    self.assertRaises(grpc.FutureTimeoutError, call.result, timeout=0.5)
                    arrive.set()
                    server.signal(signal.SIGUSR2)
                    self.assertEqual(call.result(), b"answer")
                    self.assertEqual(server.hear("receipt")["exit_code"], 0)
                    self.assertEqual(server.wait(), 0)

    def test_clients_that_do_not_read_their_health_are_in_nobodys_way(self):
        said = run("""
            from lastcall import _health
            class Delay:
                def is_set(self): return False
            class Context:
                def add_callback(self, callback): return True
            board = _health.Board([""], Delay())
            service = _health.SyncService(board)
            request = _health.HealthCheckRequest()
            frozen, heard = threading.Event(), threading.Semaphore(0)
            for _ in range(8):
                service.watch(request, Context(), send_response_callback=lambda _: frozen.wait())
            service.watch(request, Context(), send_response_callback=lambda _: heard.release())
            say("watch", heard=heard.acquire(timeout=60))
            pool = service.check.experimental_thread_pool
            say("check", status=pool.submit(service.check, request, Context()).result(60).status)
            board.set_serving(False, "")
            say("changed", heard=heard.acquire(timeout=60))
            frozen.set()
        """)
        self.assertEqual(said["watch"], {"heard": True})
        self.assertEqual(said["check"], {"status": 1})
        self.assertEqual(said["changed"], {"heard": True})

    def test_an_idle_aio_server_with_plain_functions_is_gone_at_once(self):
        with Program("""
            import grpc, grpc.aio
            def stream(request, context):
                yield request
            def fail(request, context):
                raise ValueError("a fault of the program")
            async def main():
                async with lastcall.Lifecycle(grace=60) as life:
                    server = grpc.aio.server()
                    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
                        "test.Service", {
                            "Stream": grpc.unary_stream_rpc_method_handler(stream),
                            "Fail": grpc.unary_unary_rpc_method_handler(fail)}),))
                    say("serving", port=await life.attach(server, "127.0.0.1:0"))
                    await life.event("stopped")
            asyncio.run(main())
        """) as server:
            channel = grpc.insecure_channel(f"127.0.0.1:{server.hear('serving')['port']}")
            with channel:
                self.assertEqual(list(channel.unary_stream("/test.Service/Stream")(b"x")), [b"x"])
                with self.assertRaises(grpc.RpcError):
                    channel.unary_unary("/test.Service/Fail")(b"x")
                server.signal(TERM)
                self.assertEqual(server.wait(), 0)
                self.assertLess(server.took(), AT_ONCE)

    def test_an_attach_that_comes_to_nothing_holds_nothing_up(self):
        cases = {
            "cancelled": "life.attach(server, '127.0.0.1:0').cancel()",
            "its loop ends": "life.attach(server, '127.0.0.1:0')",
            "its loop is forgotten": "life.attach(server, '127.0.0.1:0'); "
                                     "asyncio.get_running_loop().stop()",
        }
        for case, attach in cases.items():
            with self.subTest(case):
                said = run(f"""
                    import grpc.aio
                    async def main():
                        server = grpc.aio.server()
                        {attach}
                    with lastcall.Lifecycle(grace=60, cancel=60) as life:
                        loop = asyncio.new_event_loop()
                        task = loop.create_task(main())
                        loop.run_forever() if "stop" in {attach!r} else loop.run_until_complete(task)
                        loop.close()
                    say("over", code=life.exit_code)
                """)
                self.assertEqual(said["over"]["code"], 0)

    def test_a_server_that_is_refused_stays_as_it_was(self):
        with Program("""
            import grpc, python_services
            with lastcall.Lifecycle() as life:
                server = python_services.sync_server(life)
                port = life.attach(server, "127.0.0.1:0")
                for _ in range(2):
                    try:
                        life.attach(server, "127.0.0.1:0")
                    except lastcall.LifecycleError as error:
                        say("refused", text=str(error))
                life.set_serving(False)
                say("serving", port=port)
                life.wait_for_termination()
            say("receipt", **life.receipt)
        """) as server:
            self.assertIn("it was attached before", server.hear("refused")["text"])
            channel = grpc.insecure_channel(f"127.0.0.1:{server.hear('serving')['port']}")
            with channel:
                self.assertEqual(Health(channel).check(), "NOT_SERVING")
                call = channel.unary_unary("/test.Service/Sleep").future(b"0.5")
                server.hear("asleep")
                server.signal(TERM)
                self.assertEqual(call.result(), b"slept")
            self.assertEqual(server.hear("receipt")["calls"], {"finished": 1, "cancelled": 0})

    def test_a_callback_of_leaving_that_blocks_keeps_cancel_from_nobody(self):
        with Program("""
            import python_services, grpc
            from concurrent import futures
            def stream(request, context):
                life.leaving(context, threading.Event().wait)
                yield request
                while context.is_active():
                    time.sleep(0.01)
            server = grpc.server(futures.ThreadPoolExecutor())
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", {
                "Stream": grpc.unary_stream_rpc_method_handler(stream)}),))
            with lastcall.Lifecycle(grace=0.3, cancel=60) as life:
                say("serving", port=life.attach(server, "127.0.0.1:0"))
                life.wait_for_termination()
            say("receipt", **life.receipt)
        """) as server:
            channel = grpc.insecure_channel(f"127.0.0.1:{server.hear('serving')['port']}")
            with channel:
                stream = channel.unary_stream("/test.Service/Stream")(b"x")
                self.assertEqual(next(stream), b"x")
                server.signal(TERM)
                with self.assertRaises(grpc.RpcError):
                    next(stream)
                self.assertEqual(server.hear("receipt")["exit_code"], 3)
                self.assertEqual(server.wait(), 0)

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
