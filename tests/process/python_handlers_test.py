"""Handlers that a program installs while a lifecycle lives, in every way there is: each runs where
it ran before, and the lifecycle hears the signal beside it, also after it was taken away again."""

import signal
import textwrap
import unittest

from python_program import Program, run

TERM = signal.SIGTERM

# What was there before the block.
BEFORE = """\
import _signal, contextlib, faulthandler
from signal import signal as bound, sigwait as wait
from _signal import signal as bound_beneath
from faulthandler import register, unregister

def hear(number, frame):
    say("handler")

class Action(ctypes.Structure):  # struct sigaction of sigaction(2), as glibc has it
    _fields_ = [("handler", ctypes.c_void_p), ("mask", ctypes.c_ulong * 16),
                ("flags", ctypes.c_int), ("restorer", ctypes.c_void_p)]

libc = ctypes.PyDLL(None)  # its handlers need the interpreter lock, which main has then
IGNORE, DEFAULT = Action(handler=1), Action(handler=0)

def sigaction(new=None, number=signal.SIGTERM):
    old = Action()
    assert libc.sigaction(number, ctypes.byref(new) if new else None, ctypes.byref(old)) == 0
    return old

@ctypes.CFUNCTYPE(None, ctypes.c_int)
def c_hear(number):
    say("handler")

C_HANDLER = Action(handler=ctypes.cast(c_hear, ctypes.c_void_p).value)
BEFORE_BLOCK = sigaction()
"""

# Ways for Python's handler `hear`.
BY_PYTHON = {
    "signal.signal": "signal.signal(signal.SIGTERM, hear)",
    "signal from before": "bound(signal.SIGTERM, hear)",
    "signal from inside": "from signal import signal as here; here(signal.SIGTERM, hear)",
    "_signal.signal": "_signal.signal(signal.SIGTERM, hear)",
    "_signal's signal from before": "bound_beneath(signal.SIGTERM, hear)",
}

# After these the program has no handler: what was there before would kill it.
PUT_BACK = {
    "signal.signal": "signal.signal(signal.SIGTERM, signal.signal(signal.SIGTERM, hear))",
    "signal from before": "bound(signal.SIGTERM, bound(signal.SIGTERM, hear))",
    "_signal's signal from before":
        "bound_beneath(signal.SIGTERM, bound_beneath(signal.SIGTERM, hear))",
    "faulthandler": """
        faulthandler.register(signal.SIGTERM)
        faulthandler.unregister(signal.SIGTERM)""",
    "faulthandler's functions from before": """
        register(signal.SIGTERM)
        unregister(signal.SIGTERM)""",
    "C: the default": "sigaction(DEFAULT)",
    "C: ignored": "sigaction(IGNORE)",
    "C: what it was before the block": "sigaction(BEFORE_BLOCK)",
    "C: what was there": "sigaction(sigaction(C_HANDLER))",
    "asyncio": """
        async def serve():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, hear, 0, 0)
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        asyncio.run(serve())""",
}

WARNING = "SIGTERM was given a handler beneath Python"


def in_block(*parts):
    """A program that does this in its block."""
    inside = "\n".join(textwrap.dedent(each).strip("\n") for each in parts)
    return (BEFORE + "with lastcall.Lifecycle() as life:\n" +
            textwrap.indent(inside, "    ") + "\n" +
            'say("over", requests=[each["cause"]["signal"] for each in life.receipt["requests"]],'
            ' kept=signal.getsignal(signal.SIGTERM) is hear)\n')


WAIT = """
say("ready")
life.wait_for_termination()
"""


class HandlersTest(unittest.TestCase):
    def expect_heard(self, program):
        program.hear("ready")
        program.await_asleep()
        program.signal(TERM)
        over = program.hear("over")
        self.assertEqual(set(over["requests"]), {"SIGTERM"})
        self.assertEqual(program.wait(), 0)
        return over

    def test_a_handler_of_python_is_called_and_the_lifecycle_hears(self):
        for way, install in BY_PYTHON.items():
            with self.subTest(way), Program(in_block(install, WAIT)) as program:
                over = self.expect_heard(program)
                program.hear("handler")
                self.assertTrue(over["kept"])
                self.assertEqual(len(over["requests"]), 1)

    def test_it_hears_when_a_handler_was_put_back(self):
        for way, text in PUT_BACK.items():
            with self.subTest(way), Program(in_block(text, WAIT)) as program:
                self.expect_heard(program)
                self.assertNotIn('"handler"', str(program._said))

    def test_a_handler_in_c_is_called_and_the_lifecycle_hears(self):
        # Sent by itself: where the interpreter lock is not had, Python cannot be called by C.
        said = run(in_block("""
            sigaction(C_HANDLER)
            life.ready()
            libc["raise"](signal.SIGTERM)
            life.wait_for_termination(10)
        """))
        self.assertIn("handler", said)
        self.assertEqual(said["over"]["requests"], ["SIGTERM"])
        self.assertEqual(said["code"], 0)

    def test_handlers_that_are_left_and_put_back_in_turn_are_not_called_again(self):
        said = run(in_block("""
            before = sigaction(C_HANDLER)
            life.ready()  # the lifecycle's is before it again
            sigaction(before)
            life.ready()
            libc["raise"](signal.SIGTERM)
            life.wait_for_termination(10)
        """))
        self.assertNotIn("handler", said)
        self.assertEqual(said["over"]["requests"], ["SIGTERM"])
        self.assertEqual(said["code"], 0)

    def test_a_handler_that_passes_the_signal_on_to_the_lifecycles_does_not_go_round(self):
        for way in ("faulthandler.register", "register"):
            with self.subTest(way), Program(in_block(f"""
                {way}(signal.SIGTERM, chain=True, all_threads=False)  # others run meanwhile
                signal.signal(signal.SIGHUP, hear)  # the lifecycle looks at all of its signals
            """, WAIT)) as program:
                self.expect_heard(program)
                self.assertIn("most recent call first", program.errors())

    def test_a_program_that_waits_in_asyncio_is_heard(self):
        for way, install in BY_PYTHON.items():
            with self.subTest(way), Program(in_block("""
                async def main():
                    waiter = asyncio.ensure_future(wait())
                    await asyncio.sleep(0)  # it waits
                    for _ in range(2):
                        INSTALL
                    life.enter("job").end()
                    say("ready")
                    await waiter
                async def wait():
                    await life.event("stopped")
                asyncio.run(main())
            """.replace("INSTALL", install))) as program:
                self.expect_heard(program)
                program.hear("handler")

    def test_a_library_that_sets_runs_and_puts_back_is_heard_at_any_time(self):
        # As uvicorn does: what it caught it raises again once it is over.
        said = run(in_block("""
            caught = []
            @contextlib.contextmanager
            def capture():
                before = {each: bound(each, lambda number, frame: caught.append(number))
                          for each in (signal.SIGTERM, signal.SIGINT)}
                try:
                    yield
                finally:
                    for each, handler in before.items():
                        bound(each, handler)
                    for each in caught:
                        signal.raise_signal(each)
            with capture():
                signal.raise_signal(signal.SIGTERM)
                life.event("delay").wait(10)
                say("library", caught=caught)
        """))
        self.assertEqual(said["library"]["caught"], [TERM])
        self.assertEqual(set(said["over"]["requests"]), {"SIGTERM"})
        self.assertEqual(said["code"], 0)

    def test_it_hears_what_the_program_waits_for_itself(self):
        waits = {"signal.sigwait(term)": 0, "wait(term)": 0, "signal.sigwaitinfo(term).si_signo": 1,
                 "signal.sigtimedwait(term, 60).si_signo": 1}
        for wait, knows in waits.items():
            with self.subTest(wait):
                said = run(in_block(f"""
                    term = {{signal.SIGTERM}}
                    signal.pthread_sigmask(signal.SIG_BLOCK, term)
                    assert signal.sigtimedwait(term, 0) is None
                    # To this thread alone: another would run the handler.
                    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
                    assert {wait} == signal.SIGTERM
                    life.wait_for_termination(10)
                    say("by", pid=life.receipt["requests"][0]["cause"].get("pid"), me=os.getpid())
                """))
                self.assertEqual(said["over"]["requests"], ["SIGTERM"])
                self.assertEqual(said["by"]["pid"] == said["by"]["me"], bool(knows))
                self.assertEqual(said["code"], 0)

    def test_interrupts_are_set_aside_whoever_installs_them(self):
        for way in ("signal.signal", "bound", "_signal.signal"):
            with self.subTest(way):
                said = run(in_block(f"""
                    {way}(signal.SIGINT, signal.default_int_handler)
                    signal.raise_signal(signal.SIGINT)
                    life.wait_for_termination(10)
                """))
                self.assertEqual(said["over"]["requests"], ["SIGINT"])
                self.assertEqual(said["code"], 0)

    def test_what_is_installed_beneath_python_is_noticed_by_every_call_and_warned_of_once(self):
        for moment in ("life.ready()", 'life.enter("job").end()', 'life.event("delay")',
                       'life.event("delay").wait(0)', 'life.event("delay").fileno()',
                       "life.wait_for_termination(0)"):
            with self.subTest(moment), Program(in_block(f"""
                def install():
                    for _ in range(2):
                        sigaction(IGNORE)
                        {moment}
                    say("ready")
                threading.Thread(target=install).start()
                life.event("stopped").wait()
            """)) as program:
                self.expect_heard(program)
                self.assertEqual(program.errors().count(WARNING), 1, program.errors())

    def test_what_python_can_see_is_not_warned_of(self):
        for way in ("signal.signal", "bound"):
            with self.subTest(way), Program(in_block(f"""
                {way}(signal.SIGTERM, {way}(signal.SIGTERM, hear))
                faulthandler.register(signal.SIGTERM)
            """, WAIT)) as program:
                self.expect_heard(program)
                self.assertNotIn(WARNING, program.errors())

    def test_a_call_notices(self):
        with Program(in_block("""
            import grpc
            from concurrent import futures
            server = grpc.server(futures.ThreadPoolExecutor(2))
            answer = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
            server.add_generic_rpc_handlers((
                grpc.method_handlers_generic_handler("test.Test", {"Echo": answer}),))
            port = life.attach(server, "127.0.0.1:0")
            def client():
                while True:  # until main waits in C, where it does not look
                    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/stat") as stat:
                        if stat.read().rpartition(")")[2].split()[0] == "S":
                            break
                sigaction(DEFAULT)
                with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                    assert channel.unary_unary("/test.Test/Echo")(b"x") == b"x"
                say("ready")
            threading.Thread(target=client).start()
            life.event("stopped").wait()
        """)) as program:
            self.expect_heard(program)

    def test_the_signals_are_kept_to_the_interpreters_end_beside_a_handler(self):
        for install in ("", *BY_PYTHON.values()):
            with self.subTest(install):
                # A machine that takes half a second between the two makes of the second one that
                # ends by force: then it is tried again.
                for _ in range(20):
                    said = run(in_block(f"""
                        class Late:
                            kill, write, me = os.kill, os.write, os.getpid()
                            def __del__(self):
                                self.kill(self.me, {int(TERM)})
                                self.write(1, b'["late", 0, {{}}]\\n')
                        late = Late()  # goes with the module, when Python reads no signals any more
                        {install}
                        life.ready()
                        signal.raise_signal(signal.SIGTERM)
                        life.wait_for_termination(10)
                    """))
                    if said["code"] != 4:
                        break
                self.assertEqual(said["code"], 0)
                self.assertIn("late", said)

    def test_nothing_of_it_is_left_after_the_block_or_in_a_forked_child(self):
        said = run("""
            import _signal, faulthandler
            def functions():
                return [signal.signal, _signal.signal, faulthandler.register,
                        faulthandler.unregister, signal.sigwait, _signal.sigwait,
                        signal.sigwaitinfo, signal.sigtimedwait]
            before = functions()
            with lastcall.Lifecycle() as life:
                child = os.fork()
                if child == 0:
                    os._exit(functions() == before)
                say("child", same=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            say("after", same=functions() == before)
        """)
        self.assertEqual(said["child"]["same"], 1)
        self.assertTrue(said["after"]["same"])

    def test_a_forked_childs_handlers_are_its_own(self):
        for way, install in BY_PYTHON.items():
            with self.subTest(way):
                said = run(in_block(f"""
                    child = os.fork()
                    if child == 0:
                        {install}
                        os.kill(os.getpid(), signal.SIGTERM)
                        os._exit(7)
                    say("child", code=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]),
                        set=life.event("delay").is_set())
                """))
                self.assertIn("handler", said)
                self.assertEqual(said["child"], {"code": 7, "set": False})


if __name__ == "__main__":
    unittest.main()
