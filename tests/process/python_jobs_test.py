"""What Python programs offload that belongs to no call; and what misuse is told."""

import signal
import unittest

from python_program import Program, run

TERM = signal.SIGTERM


class JobsTest(unittest.TestCase):
    def test_grace_waits_for_it_and_the_receipt_counts_it(self):
        with Program("""
            heavy = None
            def job():
                say("begun")
                sys.stdin.readline()
                return "done"
            life = lastcall.Lifecycle(grace=60)
            heavy = life.offload(threads=1)  # before the block
            with life:
                answer = heavy.begin(None, job)
                life.event("grace").wait()
                say("grace")
                say("answer", text=answer.result())
            say("receipt", **life.receipt)
        """) as program:
            program.hear("begun")
            program.signal(TERM)
            program.hear("grace")
            program.go_on()
            self.assertEqual(program.hear("answer")["text"], "done")
            self.assertEqual(program.wait(), 0)
            self.assertEqual(program.hear("receipt")["calls"], {"finished": 1, "cancelled": 0})

    def test_it_is_told_in_cancel_and_counts_as_cancelled(self):
        said = run("""
            def job():
                say("told", told=lastcall.stop_token().wait(60))
            with lastcall.Lifecycle(grace=0.1, cancel=60) as life:
                answer = life.offload().begin(None, job)
                life.request_shutdown()
                try:
                    answer.result()
                except lastcall.StatusError as error:
                    say("answer", code=error.code)
            say("receipt", **life.receipt)
        """)
        self.assertEqual(said["code"], 0, said["errors"])
        self.assertEqual(said["told"], {"told": True})
        self.assertEqual(said["answer"], {"code": "CANCELLED"})
        self.assertEqual(said["receipt"]["calls"], {"finished": 0, "cancelled": 1})

    def test_a_future_that_is_cancelled_tells_the_work(self):
        said = run("""
            def job():
                begun.set()
                say("told", told=lastcall.stop_token().wait(60))
                counted.wait()
            begun, counted = threading.Event(), threading.Event()
            with lastcall.Lifecycle() as life:
                heavy = life.offload()
                answer = heavy.begin(None, job)
                begun.wait()
                say("first", cancelled=answer.cancel())
                say("again", cancelled=answer.cancelled(), counts=heavy.counts().abandoned)
                counted.set()
                say("elsewhere", told=lastcall.stop_token().is_set())
        """)
        self.assertEqual(said["code"], 0, said["errors"])
        self.assertEqual([said[each] for each in ("told", "first", "again", "elsewhere")],
                         [{"told": True}, {"cancelled": True}, {"cancelled": True, "counts": 1},
                          {"told": False}])

    def test_a_coroutine_that_is_cancelled_tells_the_work(self):
        said = run("""
            def job():
                begun.set()
                say("told", told=lastcall.stop_token().wait(60))
            begun = threading.Event()
            async def main():
                async with lastcall.Lifecycle() as life:
                    heavy = life.offload()
                    task = asyncio.create_task(heavy.run_async(None, job))
                    await asyncio.to_thread(begun.wait)
                    task.cancel()
                    await asyncio.wait({task})
                    say("cancelled", it=task.cancelled())
            asyncio.run(main())
        """)
        self.assertEqual((said["told"], said["cancelled"]), ({"told": True}, {"it": True}))
        self.assertEqual(said["code"], 0, said["errors"])

    def test_errors_without_a_call_are_raised(self):
        said = run("""
            def throw():
                raise KeyError("why")
            def produce():
                yield 1
                raise KeyError("what")
            gate = threading.Event()
            def tell(name, what):
                try:
                    what()
                except lastcall.StatusError as error:
                    say(name, code=error.code, cause=repr(error.__cause__))
            with lastcall.Lifecycle() as life:
                heavy = life.offload(threads=1, queue=0)
                tell("threw", lambda: heavy.run(None, throw))
                tell("produced", lambda: list(heavy.stream(None, produce)))
                tell("late", lambda: heavy.run(None, gate.wait, deadline=0.01))
                tell("refused", lambda: heavy.run(None, throw))
                gate.set()
                life.request_shutdown()
                life.event("cancel").wait()
                tell("stopping", lambda: heavy.run(None, throw))
        """)
        self.assertEqual(said["code"], 0, said["errors"])
        self.assertEqual({name: (said[name]["code"], said[name]["cause"]) for name in
                          ("threw", "produced", "late", "refused", "stopping")}, {
            "threw": ("INTERNAL", "KeyError('why')"),
            "produced": ("INTERNAL", "KeyError('what')"),
            "late": ("DEADLINE_EXCEEDED", "None"),
            "refused": ("RESOURCE_EXHAUSTED", "None"),
            "stopping": ("CANCELLED", "None")})

    def test_wrong_use_is_told(self):
        said = run("""
            def tell(name, what):
                try:
                    what()
                except Exception as error:
                    say(name, kind=type(error).__name__, text=str(error))
            life = lastcall.Lifecycle()
            early = life.offload()
            tell("early", lambda: early.begin(None, print))
            tell("both", lambda: life.offload(threads=1, processes=1))
            tell("none", lambda: life.offload(threads=0))
            tell("text", lambda: life.offload(queue="many"))
            with life:
                heavy = life.offload()
                tell("work", lambda: heavy.run(None, 5))
                tell("context", lambda: heavy.run("context", print))
                tell("buffer", lambda: heavy.stream(None, print, buffer=0))
                async def main():
                    tell("loop", lambda: heavy.run(None, print))
                asyncio.run(main())
        """)
        kinds = {name: said[name]["kind"] for name in
                 ("early", "both", "none", "text", "work", "context", "buffer", "loop")}
        self.assertEqual(kinds, {
            "early": "LifecycleError", "both": "ValueError", "none": "ValueError",
            "text": "TypeError", "work": "TypeError", "context": "TypeError",
            "buffer": "ValueError", "loop": "LifecycleError"})
        self.assertIn("await run_async()", said["loop"]["text"])


if __name__ == "__main__":
    unittest.main()
