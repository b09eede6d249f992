"""A Python program whose log nobody reads: stderr is a pipe that is full, or a logging handler hangs."""

import contextlib
import os
import unittest

from python_program import AT_ONCE, SLACK, Program, signal


def full_pipe():
    """Both ends of one that takes nothing more."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"\n")
    os.set_blocking(write_end, True)
    return read_end, write_end


class UnreadTest(unittest.TestCase):
    def setUp(self):
        self.read_end, self.write_end = full_pipe()
        self.addCleanup(os.close, self.read_end)
        self.addCleanup(os.close, self.write_end)

    def test_the_process_is_ended_by_force_at_its_instant(self):
        for stuck in ("in flight", "after the stages"):
            with self.subTest(stuck), Program(f"""
                with lastcall.Lifecycle(0, 0.5, 0.5) as life:
                    if {stuck == "in flight"}:
                        life.enter("job 7")
                    say("ready")
                    life.wait_for_termination()
                time.sleep(600)
            """, stderr=self.write_end) as program:
                program.hear("ready")
                program.signal(signal.SIGHUP)  # a warning
                program.signal(signal.SIGTERM)
                self.assertEqual(program.wait(), 4)
                self.assertLess(program.took(), 1.0 + SLACK)

    def test_a_dump_of_stacks_stops_no_thread(self):
        with Program("""
            with lastcall.Lifecycle() as life:
                for _ in range(20):
                    signal.raise_signal(signal.SIGUSR1)
                say("goes on")
                life.wait_for_termination()
        """, stderr=self.write_end) as program:
            program.hear("goes on")
            program.signal(signal.SIGTERM)
            self.assertEqual(program.wait(), 0)
            self.assertLess(program.took(), AT_ONCE)

    def test_what_was_said_is_there_once_it_is_read(self):
        with Program("""
            with lastcall.Lifecycle() as life:
                say("ready")
                life.wait_for_termination()
        """, stderr=self.write_end) as program:
            program.hear("ready")
            program.signal(signal.SIGUSR1)
            program.signal(signal.SIGHUP)
            program.await_asleep()
            text = b""
            while not all(words in text for words in (b"no configuration to reload",
                                                      b"dump: stage serving",
                                                      b"(most recent call first)")):
                text += os.read(self.read_end, 65536).lstrip(b"\n")
            program.signal(signal.SIGTERM)
            self.assertEqual(program.wait(), 0)


class HandlerTest(unittest.TestCase):
    """logging is the program's own, and may hang."""

    def test_a_logging_handler_that_hangs_holds_up_no_stage(self):
        with Program("""
            import logging
            class Hangs(logging.Handler):
                def emit(self, record):
                    say("called", text=record.getMessage(), error=str(record.exc_info[1]))
                    time.sleep(600)
            logging.getLogger("lastcall").addHandler(Hangs())
            class Broken:
                def begin_delay(self): raise ValueError("broken")
                begin_grace = begin_cancel = begin_delay
            class Witness:
                def begin_delay(self): say("delay")
                def begin_grace(self): say("grace")
                def begin_cancel(self): say("cancel")
            with lastcall.Lifecycle(0.2, 0.2, 0.2) as life:
                life._servers += [Broken(), Witness()]
                life.enter("job")  # for ever
                say("ready")
                life.wait_for_termination()
        """) as program:
            program.hear("ready")
            program.signal(signal.SIGTERM)
            called = program.hear("called")
            self.assertEqual(called["text"], "a server does not follow the lifecycle")
            self.assertEqual(called["error"], "broken")
            for stage in ("delay", "grace", "cancel"):
                program.hear(stage)
            self.assertEqual(program.wait(), 4)
            self.assertLess(program.took(), 0.6 + SLACK)

    def test_records_come_in_order_and_are_complete_at_the_end(self):
        with Program("""
            import logging
            logging.basicConfig(format="%(levelname)s %(threadName)s: %(message)s")
            from lastcall import _log
            for number in range(100):
                _log.warning(f"line {number}")
            try:
                raise ValueError("100%")
            except ValueError:
                _log.exception("100% wrong")
        """) as program:
            self.assertEqual(program.wait(), 0)
            lines = program.errors().splitlines()
        self.assertEqual(lines[:100], [f"WARNING MainThread: line {each}" for each in range(100)])
        self.assertEqual((lines[100], lines[-1]),
                         ("ERROR MainThread: 100% wrong", "ValueError: 100%"))

    def test_what_does_not_fit_is_counted(self):
        with Program("""
            import logging
            held, go_on = threading.Event(), threading.Event()
            class Slow(logging.Handler):
                def emit(self, record):
                    held.set()
                    go_on.wait()
                    say("line", text=record.getMessage())
            logging.getLogger("lastcall").addHandler(Slow())
            from lastcall import _log
            _log.warning("first")
            held.wait()
            for number in range(1007):
                _log.warning("more")
            go_on.set()
            _log._queue.flush(60)
        """) as program:
            self.assertEqual(program.wait(), 0)
            program._reader.join()
            lines = [what["text"] for _, _, what in program._said]
        self.assertEqual(lines.count("more"), 1000)
        self.assertIn("7 log records were dropped because the log was not read", lines)


if __name__ == "__main__":
    unittest.main()
