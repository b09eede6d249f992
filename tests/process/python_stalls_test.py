"""What a Python program says of calls that make no progress, of an event loop that is held, and of an
interpreter lock that nobody gives back."""

import re
import signal
import time
import unittest

import grpc

from clients import wait_until
from lastcall._stalls import Reports
from python_program import PATIENCE, Program, run

SERVE = '''
import asyncio
from concurrent import futures
import grpc, grpc.aio

end = threading.Event()

def stuck_here(request, context):
    say("stuck")
    end.wait()
    return b""

def answers(request, context):
    return b"answer"

def silent(requests, context):
    say("silent")
    for request in requests:
        yield request

def ticks(request, context):
    say("ticks")
    while not end.wait(0.05):
        yield b"tick"

def brief(request, context):
    say("brief")
    until = time.monotonic() + float(request)
    while time.monotonic() < until:
        time.sleep(0.01)
    return b""

def lock_holder(request, context):
    say("holds the lock")
    ctypes.PyDLL(None).sleep(3)
    return b""

async def awaits_here(request, context):
    say("awaits")
    await asyncio.Event().wait()

async def streams_here(request, context):
    say("streams")
    await asyncio.Event().wait()
    yield b""

async def loop_holder(request, context):
    say("holds the loop")
    time.sleep(float(request))
    return b""

async def answers_soon(request, context):
    return b"answer"

def handlers(**methods):
    kinds = {"Silent": grpc.stream_stream_rpc_method_handler,
             "Ticks": grpc.unary_stream_rpc_method_handler,
             "Streams": grpc.unary_stream_rpc_method_handler}
    return grpc.method_handlers_generic_handler("test.Service", {
        name: kinds.get(name, grpc.unary_unary_rpc_method_handler)(method)
        for name, method in methods.items()})

def serve_sync(life):
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((handlers(
        Stuck=stuck_here, Watch=stuck_here, Answer=answers, Silent=silent, Ticks=ticks, Brief=brief,
        Lock=lock_holder),))
    say("serving", port=life.attach(server, "127.0.0.1:0"))
    life.wait_for_termination()

def serve_aio(life):
    async def main():
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((handlers(
            Await=awaits_here, Streams=streams_here, Hold=loop_holder, Answer=answers_soon,
            Stuck=stuck_here),))
        say("serving", port=await life.attach(server, "127.0.0.1:0"))
        await life.event("stopped")
    asyncio.run(main())
'''


class Serving(Program):
    def __init__(self, kind, lengths="0, 0.2, 0.2", rest="stall_after=1"):
        text = SERVE + f"\nwith lastcall.Lifecycle({lengths}, {rest}) as life:\n    serve_{kind}(life)\n"
        super().__init__(text)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.hear('serving')['port']}")
        self.begun = []  # who is not held is cancelled

    def __exit__(self, *args):
        self.channel.close()
        super().__exit__(*args)

    def begin(self, method, request=b""):
        self.begun.append(self.channel.unary_unary("/test.Service/" + method).future(request))
        return self.begun[-1]

    def await_said(self, pattern):
        wait_until(lambda: re.search(pattern, self.errors()), f"it says {pattern}: {self.errors()}")


class StalledTest(unittest.TestCase):
    def test_a_handler_that_does_not_return_is_named_with_its_stack_alone(self):
        with Serving("sync") as program:
            program.begin("Stuck")
            program.await_said(r"stalled: /test\.Service/Stuck has made no progress for \d\.\ds "
                               r"\(call from ipv4:127\.0\.0\.1:\d+\)\n  \S*wait \(.*threading\.py:\d+\)\n"
                               r"(  .*\n)*  stuck_here \(.*\.py:\d+\)\n")
            self.assertNotIn("_calls.py", program.errors())
            self.assertNotIn("/grpc/", program.errors())

    def test_those_that_may_wait_long_are_not(self):
        with Serving("sync", rest='stall_after=1, long_polling=["/test.Service/Watch"]') as program:
            program.begin("Watch")
            program.hear("stuck")
            program.begin("Stuck")
            program.await_said("stalled: /test.Service/Stuck ")
            self.assertNotIn("/test.Service/Watch", program.errors())

    def test_many_that_hang_in_one_place_are_one_report(self):
        with Serving("sync") as program:
            for _ in range(3):
                program.begin("Stuck")
            program.await_said("stalled: ")
            program.await_said(r"for [23]\.\ds")  # at twice the age
            program.begin("Watch")
            program.await_said("stalled: /test.Service/Watch")
            self.assertLessEqual(program.errors().count("/test.Service/Stuck has"), 3)

    def test_streams_that_get_on_or_wait_for_their_client_are_not(self):
        with Serving("sync") as program:
            silent = program.channel.stream_stream("/test.Service/Silent")(iter(self.wait, None))
            ticks = program.channel.unary_stream("/test.Service/Ticks")(b"")
            self.assertEqual(next(ticks), b"tick")
            program.hear("silent")
            self.addCleanup(silent.cancel)
            program.begin("Stuck")
            for _ in range(60):
                next(ticks)
            program.await_said("stalled: /test.Service/Stuck ")
            self.assertNotIn("/test.Service/Silent", program.errors())
            self.assertNotIn("/test.Service/Ticks", program.errors())
            ticks.cancel()

    def wait(self):
        time.sleep(PATIENCE)

    def test_a_coroutine_that_awaits_what_does_not_come(self):
        with Serving("aio") as program:
            streams = program.channel.unary_stream("/test.Service/Streams")(b"")
            program.hear("streams")
            program.begin("Await")
            program.await_said(r"stalled: /test\.Service/Await has made no progress for .*\n"
                               r"  waits for a Future\n  \S*wait \(.*locks\.py:\d+\)\n"
                               r"  awaits_here \(.*\.py:\d+\)\n")
            # A stream may wait for something of its own.
            self.assertNotIn("/test.Service/Streams", program.errors())
            self.assertNotIn("frozen", program.errors())
            streams.cancel()

    def test_a_synchronous_handler_of_an_asynchronous_server(self):
        with Serving("aio") as program:
            program.begin("Stuck")
            program.await_said(r"stalled: /test\.Service/Stuck .*\n(  .*\n)*  stuck_here ")

    def test_nothing_is_said_while_it_stops(self):
        with Serving("sync", "0, 3, 1") as program:
            program.begin("Stuck")
            program.hear("stuck")
            program.signal(signal.SIGTERM)
            self.assertEqual(program.wait(), 4)
            self.assertNotIn("stalled:", program.errors())

    def test_a_paused_process_is_no_handlers_fault(self):
        with Serving("sync") as program:
            call = program.begin("Brief", b"0.1")
            program.hear("brief")
            program.signal(signal.SIGSTOP)
            with self.assertRaises(AssertionError):
                wait_until(lambda: False, "three times stall_after", 3)
            program.signal(signal.SIGCONT)
            call.result()
            program.begin("Stuck")
            program.await_said("stalled: /test.Service/Stuck ")
            self.assertNotIn("/test.Service/Brief", program.errors())
            self.assertNotIn("frozen:", program.errors())

    def test_nobody_looks_where_nobody_wants_it(self):
        for after in "None", 'float("inf")':
            with self.subTest(after):
                self.assertEqual(run(f"""
                    import grpc
                    from concurrent import futures
                    with lastcall.Lifecycle(stall_after={after}) as life:
                        life.attach(grpc.server(futures.ThreadPoolExecutor()), "127.0.0.1:0")
                        say("threads", names=[each.name for each in threading.enumerate()])
                """)["threads"]["names"].count("lastcall-stalls"), 0)

    def test_what_makes_no_sense_is_refused(self):
        found = run("""
            for wrong in ("stall_after=0", "stall_after=-1", "stall_after='1'", "long_polling='/a.B/C'",
                          "long_polling=['a.B/C']", "long_polling=[1]"):
                try:
                    eval(f"lastcall.Lifecycle({wrong})")
                except (TypeError, ValueError) as error:
                    say(wrong, error=f"{type(error).__name__}: {error}")
        """)
        for wrong, error in {
                "stall_after=0": "ValueError: stall_after is more than 0 seconds; None looks for no",
                "stall_after=-1": "ValueError: stall_after",
                "stall_after='1'": "TypeError: stall_after",
                "long_polling='/a.B/C'": "TypeError: long_polling is a list of methods: ['/a.B/C']",
                "long_polling=['a.B/C']": 'ValueError: a method is "/package.Service/Method", not',
                "long_polling=[1]": 'ValueError: a method is "/package.Service/Method", not 1'}.items():
            self.assertTrue(found[wrong]["error"].startswith(error), found)


class FrozenTest(unittest.TestCase):
    def test_who_holds_the_event_loop_is_named_and_not_those_who_wait_for_it(self):
        with Serving("aio", rest="stall_after=3") as program:
            program.begin("Await")
            program.hear("awaits")
            holder = program.begin("Hold", b"5")
            program.await_said(r"frozen: the event loop is held by /test\.Service/Hold for \d\.\ds: "
                               r"nothing else in it runs\n  loop_holder \(.*\.py:\d+\)\n")
            self.assertEqual(holder.result(PATIENCE), b"")
            self.assertEqual(program.begin("Answer").result(PATIENCE), b"answer")
            self.assertNotIn("stalled:", program.errors())
            program.await_said("stalled: /test.Service/Await ")  # nothing holds it any more

    def test_a_loop_with_nothing_to_do_is_not_held(self):
        with Serving("aio") as program:
            program.begin("Await")
            program.await_said("stalled: /test.Service/Await ")
            self.assertNotIn("frozen:", program.errors())

    def test_an_interpreter_lock_that_is_held_by_code_in_c(self):
        with Serving("sync") as program:
            call = program.begin("Lock")
            program.await_said(r"frozen: for \d\.\ds no Python thread could run \(the GIL was held, .*\)\n"
                               r"(  .*\n)*  in flight then: /test\.Service/Lock\b")
            self.assertEqual(call.result(PATIENCE), b"")
            self.assertNotIn("stalled:", program.errors())


class ReportsTest(unittest.TestCase):
    def test_one_is_said_once_until_it_has_lasted_twice_as_long(self):
        reports = Reports()
        self.assertEqual([age for age in range(10, 80) if reports.says("a", age, age)], [10, 20, 40])

    def test_few_are_said_in_a_minute_and_the_others_counted(self):
        reports = Reports()
        self.assertEqual([reports.says(str(i), 10, i) for i in range(8)], [True] * 5 + [False] * 3)
        self.assertEqual(reports.take_suppressed(), 3)
        self.assertEqual(reports.take_suppressed(), 0)
        self.assertTrue(reports.says("7", 10, 60))

    def test_many_kinds_take_no_more_memory(self):
        reports = Reports()
        for i in range(2000):
            reports.says(str(i), 10, 60 * i)
        self.assertLessEqual(len(reports._known), 1000)


if __name__ == "__main__":
    unittest.main()
