"""Lifecycle and events of the Python package, with real signals to real processes."""

import signal
import time
import unittest

from python_program import AT_ONCE, SLACK, Program, run, threads_of

TERM, INT, USR1 = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1


class WaitTest(unittest.TestCase):
    def test_idle_program_is_gone_at_once(self):
        with Program("""
            with lastcall.Lifecycle() as life:
                say("ready")
                ended = life.wait_for_termination()
                say("over", ended=ended)
            sys.exit(life.exit_code)
        """) as program:
            program.hear("ready")
            program.signal(TERM)
            self.assertIs(program.hear("over")["ended"], False)
            self.assertEqual(program.wait(), 0)
            self.assertLess(program.took(), AT_ONCE)

    def test_in_a_thread_that_is_not_main(self):
        with Program("""
            with lastcall.Lifecycle() as life:
                def wait():
                    say("waits")
                    say("over", timed_out=life.wait_for_termination())
                thread = threading.Thread(target=wait)
                thread.start()
                thread.join()
        """) as program:
            program.hear("waits")
            program.signal(TERM)
            self.assertFalse(program.hear("over")["timed_out"])
            self.assertEqual(program.wait(), 0)
            self.assertLess(program.took(), AT_ONCE)

    def test_while_main_is_blocked_in_c(self):
        with Program("""
            with lastcall.Lifecycle() as life:
                def wait():
                    say("waits")
                    life.wait_for_termination()
                    say("over", outcome=life.receipt["outcome"])
                    os._exit(life.exit_code)
                threading.Thread(target=wait).start()
                ends = os.pipe()
                ctypes.CDLL(None).read(ends[0], bytes(1), 1)  # restarts after signals
        """) as program:
            program.hear("waits")
            program.signal(TERM)
            self.assertIn("stopped", program.hear("over")["outcome"])
            self.assertEqual(program.wait(), 0)
            self.assertLess(program.took(), AT_ONCE)

    def test_time_outs(self):
        said = run("""
            with lastcall.Lifecycle() as life:
                for where in ("main", "thread"):
                    def wait():
                        began = time.monotonic()
                        answers = life.wait_for_termination(0.2), life.event("grace").wait(0.2)
                        say(where, answers=answers, took=time.monotonic() - began)
                    if where == "thread":
                        thread = threading.Thread(target=wait)
                        thread.start()
                        thread.join()
                    else:
                        wait()
        """)
        for where in ("main", "thread"):
            self.assertEqual(said[where]["answers"], [True, False])
            self.assertGreaterEqual(said[where]["took"], 0.4)
            self.assertLess(said[where]["took"], 0.4 + SLACK)
        self.assertEqual(said["code"], 0)

    def test_pythons_wake_up_descriptor_is_as_it_was(self):
        said = run("""
            with lastcall.Lifecycle() as life:
                def wakeup():
                    descriptor = signal.set_wakeup_fd(-1)
                    signal.set_wakeup_fd(descriptor)
                    return descriptor
                before = wakeup()
                life.wait_for_termination(0.01)
                say("descriptors", before=before, after=wakeup())
        """)["descriptors"]
        self.assertEqual(said["after"], said["before"])

    def test_time_outs_of_the_main_thread_may_be_endless_and_descriptors_lacking(self):
        said = run("""
            import resource
            with lastcall.Lifecycle() as life:
                threading.Timer(0.2, life.request_shutdown, ["a timer"]).start()
                before = resource.getrlimit(resource.RLIMIT_NOFILE)
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
                late = life.event("stopped").wait(0.01)
                say("waited", late=late, stopped=life.event("stopped").wait(float("inf")))
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
                say("again", endless=life.wait_for_termination(float("inf")))
        """)
        self.assertEqual(said["waited"], {"late": False, "stopped": True})
        self.assertEqual(said["again"], {"endless": False})

    def test_a_descriptor_is_readable_for_ever(self):
        with Program("""
            with lastcall.Lifecycle() as life:
                event = life.event("grace")
                poll = select.poll()
                poll.register(event, select.POLLIN)
                say("waits", early=poll.poll(0), set=event.is_set())
                poll.poll()
                say("over", again=[len(poll.poll(0)) for _ in range(3)], set=event.is_set())
        """) as program:
            waits = program.hear("waits")
            self.assertEqual((waits["early"], waits["set"]), ([], False))
            program.signal(TERM)
            over = program.hear("over")
            self.assertEqual((over["again"], over["set"]), ([1, 1, 1], True))
            self.assertEqual(program.wait(), 0)

    def test_l54_form_brings_its_own_lengths(self):
        with Program("""
            with lastcall.Lifecycle(delay=60, grace=60, cancel=60) as life:
                def wait():
                    threading.Timer(1, say, ["waits"]).start()
                    life.wait_for_termination(delay=0.5, grace=0.5, cancel=5)
                def tell(stage):
                    life.event(stage).wait()
                    say(stage)
                work = life.enter("job")
                for stage in ("delay", "grace", "cancel"):
                    threading.Thread(target=tell, args=[stage]).start()
                thread = threading.Thread(target=wait)
                thread.start()
                life.event("cancel").wait()
                work.end()
                thread.join()
            sys.exit(life.exit_code)
        """) as program:
            program.hear("waits")
            program.signal(TERM)
            for stage, planned in (("delay", 0), ("grace", 0.5), ("cancel", 1.0)):
                took = program.hear(stage)["at"] - program.asked
                self.assertGreaterEqual(took, planned)
                self.assertLess(took, planned + SLACK)
            self.assertEqual(program.wait(), 3)

    def test_other_threads_run_at_full_speed_while_a_hundred_wait(self):
        said = run("""
            def rate():
                count, end = 0, time.perf_counter() + 0.3
                while time.perf_counter() < end:
                    count += 1
                return count

            with lastcall.Lifecycle() as life:
                # The best of three, for the machine has others to serve.
                before = max(rate() for _ in range(3))
                threads = [threading.Thread(target=life.wait_for_termination) for _ in range(100)]
                for thread in threads:
                    thread.start()
                after = 0
                for _ in range(10):
                    after = max(after, rate())
                    if after > before:
                        break
                life.request_shutdown("enough")
                for thread in threads:
                    thread.join()
                say("ratio", ratio=after / before)
        """)
        # One that polled, or held the interpreter's lock, would leave them next to nothing; others on
        # this machine may take half.
        self.assertGreater(said["ratio"]["ratio"], 0.3)

    def test_daemon_threads_may_wait_until_the_very_end(self):
        for _ in range(20):
            said = run("""
                with lastcall.Lifecycle() as life:
                    for _ in range(30):
                        threading.Thread(target=life.wait_for_termination, daemon=True).start()
            """)
            self.assertEqual((said["code"], said["errors"]), (0, ""))


class StagesTest(unittest.TestCase):
    STAGES = """
        def tell(stage):
            life.event(stage).wait()
            say(stage)
        with lastcall.Lifecycle(delay=30, grace=30, cancel=30) as life:
            for stage in ("delay", "grace", "cancel"):
                threading.Thread(target=tell, args=[stage]).start()
            with life.enter("job 7", "me"):
                say("ready")
                life.event("cancel").wait()
        say("receipt", **life.receipt)
        sys.exit(life.exit_code)
    """

    def test_the_second_signal_skips_a_stage(self):
        with Program(self.STAGES) as program:
            program.hear("ready")
            for stage in ("delay", "grace", "cancel"):
                if stage != "delay":
                    time.sleep(0.6)  # what comes sooner is no second signal
                program.signal(TERM)
                self.assertLess(program.hear(stage)["at"] - program.asked, AT_ONCE)
            receipt = program.hear("receipt")
            self.assertEqual([each.get("skip", False) for each in receipt["requests"]],
                             [False, True, True])
            self.assertEqual(receipt["requests"][0]["cause"]["signal"], "SIGTERM")
            self.assertEqual([each["method"] for each in receipt["cancelled"]], ["job 7"])
            self.assertEqual(program.wait(), 3)

    def test_sigint_leaves_out_the_delay_and_interrupts_nobody(self):
        with Program(self.STAGES) as program:
            program.hear("ready")
            program.signal(INT)
            self.assertLess(program.hear("grace")["at"] - program.asked, AT_ONCE)
            time.sleep(0.6)
            program.signal(INT)
            program.hear("cancel")
            self.assertEqual(program.wait(), 3)
            self.assertNotIn("KeyboardInterrupt", program.errors())

    def test_requests_are_merged_and_in_the_receipt(self):
        said = run("""
            with lastcall.Lifecycle(delay=30, grace=30) as life:
                with life.enter("job"):
                    life.request_shutdown("first")
                    life.request_shutdown("second", delay=0, grace=60)
                    life.request_shutdown("third", grace=0.1)
                    life.event("cancel").wait()
            say("receipt", **life.receipt)
        """)
        requests = said["receipt"]["requests"]
        self.assertEqual([each["cause"]["reason"] for each in requests],
                         ["first", "second", "third"])
        self.assertEqual([each["cause"]["kind"] for each in requests], ["program"] * 3)
        self.assertLess(said["receipt"]["took_s"], 0.1 + SLACK)
        self.assertEqual(said["receipt"]["exit_code"], 3)

    def test_names_that_are_no_text(self):
        said = run("""
            sys.argv[0] = os.fsdecode(b"/opt/job-\\xff.py")
            with lastcall.Lifecycle(grace=0, cancel=0.5) as life:
                with life.enter("a\\udcff\\x1b[31m"):
                    life.request_shutdown("b\\udcff\\n")
                    life.event("cancel").wait()
            say("receipt", **life.receipt)
        """)
        receipt = said["receipt"]
        self.assertEqual(receipt["subject"], r"job-\udcff.py")
        self.assertEqual(receipt["requests"][0]["cause"]["reason"], r"b\udcff\n")
        self.assertEqual(receipt["cancelled"][0]["method"], r"a\udcff\x1b[31m")

    def test_leaving_the_block_is_a_request(self):
        said = run("""
            with lastcall.Lifecycle() as life:
                pass
            say("receipt", **life.receipt)
        """)
        self.assertEqual(said["receipt"]["requests"][0]["cause"]["reason"], "its block was left")

    def test_an_exception_leaves_the_block_in_good_order(self):
        said = run("""
            try:
                with lastcall.Lifecycle() as life:
                    raise KeyError("nothing")
            finally:
                say("receipt", **life.receipt)
        """)
        self.assertIn("KeyError: 'nothing'", said["receipt"]["requests"][0]["cause"]["reason"])
        self.assertEqual(said["code"], 1)
        self.assertIn("KeyError", said["errors"])

    def test_an_end_that_is_interrupted_leaves_nothing_behind(self):
        said = run("""
            def fail(number, frame):
                raise KeyError("from a handler")
            signal.signal(signal.SIGALRM, fail)
            function, held = signal.signal, []
            def by_a_handler():
                with lastcall.Lifecycle(grace=60, cancel=60) as life:
                    held.append(life.enter("a job"))
                    signal.setitimer(signal.ITIMER_REAL, 0.05)
            async def by_cancellation():
                async with lastcall.Lifecycle(grace=60, cancel=60) as life:
                    held.append(life.enter("a job"))
                    asyncio.get_running_loop().call_later(0.05, asyncio.current_task().cancel)
            for way in (by_a_handler, lambda: asyncio.run(by_cancellation())):
                try:
                    way()
                except BaseException as error:
                    say("raised", error=type(error).__name__)
                with lastcall.Lifecycle() as life:
                    pass
                say("another", code=life.exit_code, function=signal.signal is function)
        """)
        self.assertEqual(said["another"], {"code": 0, "function": True})
        self.assertEqual(said["raised"], {"error": "CancelledError"})
        self.assertEqual(said["code"], 0)

    def test_one_follows_another(self):
        said = run("""
            for name in ("one", "two"):
                with lastcall.Lifecycle(name=name) as life:
                    signal.raise_signal(signal.SIGTERM)
                    life.wait_for_termination()
                say(name, subject=life.receipt["subject"])
            with lastcall.Lifecycle(cancel=0.2) as life:
                life.request_shutdown("not by a signal")
            time.sleep(0.4)  # who goes on is not held to the bound of the past
            say("goes on")
            os._exit(7)
        """)
        self.assertEqual((said["one"]["subject"], said["two"]["subject"]), ("one", "two"))
        self.assertIn("goes on", said)
        self.assertEqual(said["code"], 7)


class AsyncioTest(unittest.TestCase):
    def test_signals_end_waits_in_a_loop(self):
        with Program("""
            async def wait(event):
                await event
            async def main():
                event = life.event("grace")
                # Time-outs and cancelling disturb nobody else.
                many = [asyncio.create_task(wait(event)) for _ in range(1000)]
                for _ in range(3):
                    try:
                        await asyncio.wait_for(wait(event), 0.01)
                    except asyncio.TimeoutError:
                        say("timed out")
                for each in many[::2]:
                    each.cancel()
                await asyncio.sleep(0)
                say("ready", descriptors=len(os.listdir("/proc/self/fd")))
                done = await asyncio.gather(*many, return_exceptions=True)
                await event
                say("over", cancelled=sum(each is not None for each in done))
            with lastcall.Lifecycle() as life:
                asyncio.run(main())
            sys.exit(life.exit_code)
        """) as program:
            for _ in range(3):
                program.hear("timed out")
            self.assertLess(program.hear("ready")["descriptors"], 20)
            self.assertLessEqual(threads_of(program.pid), 7)
            program.signal(TERM)
            self.assertEqual(program.hear("over")["cancelled"], 500)
            self.assertEqual(program.wait(), 0)
            self.assertLess(program.took(), AT_ONCE)

    def test_in_several_loops_and_beside_a_reader_of_the_program(self):
        with Program("""
            async def main():
                event = life.event("grace")
                own = asyncio.Event()
                asyncio.get_running_loop().add_reader(event.fileno(), own.set)
                task = asyncio.ensure_future(event)
                threading.Timer(0.1, say, ["ready"]).start()
                await asyncio.gather(own.wait(), task)
                asyncio.get_running_loop().remove_reader(event.fileno())
                say("over")
            async def abandoned():
                task = asyncio.ensure_future(life.event("grace"))
                await asyncio.sleep(0)
            with lastcall.Lifecycle() as life:
                asyncio.run(abandoned())
                threads = [threading.Thread(target=asyncio.run, args=[main()]) for _ in range(3)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
        """) as program:
            for _ in range(3):
                program.hear("ready")
            program.signal(TERM)
            for _ in range(3):
                program.hear("over")
            self.assertEqual((program.wait(), program.errors()), (0, ""))

    def test_a_loop_that_has_gone_is_not_kept(self):
        said = run("""
            import gc, weakref
            async def wait(event):
                loops.append(weakref.ref(asyncio.get_running_loop()))
                try:
                    await asyncio.wait_for(event, 0.01)
                except asyncio.TimeoutError:
                    pass
            loops = []
            with lastcall.Lifecycle() as life:
                before = len(os.listdir("/proc/self/fd"))
                for _ in range(10):
                    asyncio.run(wait(life.event("stopped")))
                gc.collect()
                say("kept", loops=sum(loop() is not None for loop in loops),
                    descriptors=len(os.listdir("/proc/self/fd")) - before)
        """)
        self.assertEqual(said["kept"]["loops"], 0)
        self.assertLessEqual(said["kept"]["descriptors"], 2)  # the event's own

    def test_async_with(self):
        with Program("""
            async def main():
                async with lastcall.Lifecycle() as life:
                    say("ready")
                    await life.event("delay")
                say("over", code=life.exit_code)
            asyncio.run(main())
        """) as program:
            program.hear("ready")
            program.signal(INT)  # asyncio.run() would make it a KeyboardInterrupt
            self.assertEqual(program.hear("over")["code"], 0)
            self.assertEqual(program.wait(), 0)


if __name__ == "__main__":
    unittest.main()
