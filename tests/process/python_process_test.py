"""The Python package beside the rest of a process: other handlers, children, threads that do not
end, systemd; and what misuse is told."""

import os
import signal
import socket
import tempfile
import time
import unittest

from clients import wait_until
from python_program import AT_ONCE, SLACK, Program, run

TERM, INT, USR1 = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1


class HandlersTest(unittest.TestCase):
    def test_python_handlers_run_beside_it(self):
        for when in ("before", "after", "in asyncio"):
            with self.subTest(when), Program(f"""
                when = {when!r}
                def hear(number, frame):
                    say("handler", main=threading.current_thread() is threading.main_thread())
                if when == "before":
                    signal.signal(signal.SIGTERM, hear)
                async def main():
                    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, hear, 0, 0)
                    say("ready")
                    await life.event("stopped")
                with lastcall.Lifecycle() as life:
                    if when == "in asyncio":
                        asyncio.run(main())
                    else:
                        if when == "after":
                            signal.signal(signal.SIGTERM, hear)
                        say("ready")
                        life.wait_for_termination()
                say("over", kept=signal.getsignal(signal.SIGTERM) is hear)
            """) as program:
                program.hear("ready")
                program.signal(TERM)
                self.assertTrue(program.hear("handler")["main"])
                self.assertEqual(program.hear("over")["kept"], when != "in asyncio")
                self.assertEqual(program.wait(), 0)

    def test_handlers_run_while_main_waits(self):
        with Program("""
            signal.signal(signal.SIGALRM, lambda number, frame: say("alarm"))
            def fail(number, frame):
                raise KeyError("from a handler")
            signal.signal(signal.SIGUSR2, fail)
            with lastcall.Lifecycle() as life:
                say("ready")
                try:
                    life.wait_for_termination()
                except KeyError as error:
                    say("raised", error=str(error))
                life.wait_for_termination()
        """) as program:
            program.hear("ready")
            program.await_asleep()
            program.signal(signal.SIGALRM)
            program.hear("alarm")
            program.await_asleep()
            program.signal(signal.SIGUSR2)
            self.assertIn("from a handler", program.hear("raised")["error"])
            program.signal(TERM)
            self.assertEqual(program.wait(), 0)

    def test_handlers_wake_a_main_thread_that_is_blocked_elsewhere(self):
        for block in ("done.wait()", "os.read(ends[0], 1)"):
            with self.subTest(block), Program(f"""
                done, ends = threading.Event(), os.pipe()
                def hear(number, frame):
                    done.set()
                    os.write(ends[1], b"x")
                signal.signal(signal.SIGTERM, hear)
                with lastcall.Lifecycle(grace=60, cancel=60) as life:
                    say("ready")
                    {block}
            """) as program:
                program.hear("ready")
                program.await_asleep(in_a_lock=block == "done.wait()")
                program.signal_until_it_ends(TERM)
                self.assertEqual(program.wait(), 0)

    def test_a_reload_of_the_programs_own_is_not_commented(self):
        comment = "no configuration to reload"
        for handler in (True, False):
            with self.subTest(handler), Program(f"""
                if {handler}:
                    signal.signal(signal.SIGHUP, lambda number, frame: say("reloaded"))
                with lastcall.Lifecycle() as life:
                    say("ready")
                    sys.stdin.readline()
            """) as program:
                program.hear("ready")
                program.signal(signal.SIGHUP)
                if handler:
                    program.hear("reloaded")
                else:
                    wait_until(lambda: comment in program.errors(), "the comment")
                program.go_on()
                self.assertEqual(program.wait(), 0)
                self.assertEqual(comment in program.errors(), not handler)

    def test_what_was_ignored_stays_ignored(self):
        with Program("""
            for number in (signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            with lastcall.Lifecycle() as life:
                signal.signal(signal.SIGQUIT, signal.SIG_IGN)
                for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
                    signal.raise_signal(number)
                say("ready")
                life.wait_for_termination()
            say("receipt", **life.receipt)
        """) as program:
            program.hear("ready")
            program.signal(TERM)
            causes = [each["cause"]["signal"] for each in program.hear("receipt")["requests"]]
            self.assertEqual(causes, ["SIGTERM"])
            self.assertNotIn("SIGHUP", program.errors())

    def test_a_dump_of_the_programs_own_stays_its_own(self):
        with tempfile.NamedTemporaryFile("r") as dump:
            said = run(f"""
                import faulthandler
                file = open({dump.name!r}, "w")
                faulthandler.register(signal.SIGUSR1, file=file)
                with lastcall.Lifecycle() as life:
                    signal.raise_signal(signal.SIGUSR1)
                    say("in", size=os.path.getsize(file.name))
                signal.raise_signal(signal.SIGUSR1)
                say("after", size=os.path.getsize(file.name))
            """)
        self.assertGreater(said["in"]["size"], 0)
        self.assertGreater(said["after"]["size"], said["in"]["size"])
        self.assertEqual(said["code"], 0)

    def test_who_cannot_hear_signals_is_told(self):
        said = run("""
            import resource
            before = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
            try:
                with lastcall.Lifecycle() as life:
                    say("entered")
            except lastcall.LifecycleError as error:
                say("refused", text=str(error))
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            with lastcall.Lifecycle() as life:
                say("over")
        """)
        self.assertIn("no descriptor left", said["refused"]["text"])
        self.assertNotIn("entered", said)
        self.assertIn("SIGTERM is blocked in this thread", said["errors"])
        self.assertEqual(said["code"], 0)

    def test_sigusr1_says_what_is_in_flight_and_where_every_thread_is(self):
        with Program("""
            def job():
                with life.enter("job 7", "me"):
                    say("ready")
                    life.event("delay").wait()
            with lastcall.Lifecycle() as life:
                threading.Thread(target=job).start()
                # Not even who holds the interpreter lock is in the way.
                ctypes.PyDLL(None).read(os.pipe()[0], bytes(1), 1)
        """) as program:
            program.hear("ready")
            program.await_asleep()
            program.signal(signal.SIGUSR1)
            wait_until(lambda: "job 7 from me" in program.errors() and
                       ' in job\n' in program.errors(), "the dump")

    def test_dispositions_come_back(self):
        said = run("""
            def dispositions():
                caught = next(line for line in open("/proc/self/status")
                              if line.startswith("SigCgt"))
                # The first 31: glibc has some of its own above.
                return (int(caught.split()[1], 16) % 2**31,
                        [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)])
            before, function = dispositions(), signal.signal
            with lastcall.Lifecycle() as life:
                pass
            say("after", same=before == dispositions(), function=signal.signal is function)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        """)
        self.assertEqual(said["after"], {"same": True, "function": True})
        self.assertEqual(said["code"], -TERM)


class ChildrenTest(unittest.TestCase):
    def test_a_subprocess_dies_by_terminate(self):
        said = run("""
            with lastcall.Lifecycle() as life:
                child = subprocess.Popen(["sleep", "60"])
                blocked = [line.split()[1] for line in open(f"/proc/{child.pid}/status")
                           if line.startswith(("SigBlk", "SigIgn"))]
                child.terminate()
                say("child", code=child.wait(10), blocked=int(blocked[0], 16))
                say("serving", set=life.event("delay").is_set())
        """)
        self.assertEqual(said["child"], {"code": -TERM, "blocked": 0})
        self.assertFalse(said["serving"]["set"])

    def test_a_forked_child_has_no_lifecycle(self):
        said = run("""
            with lastcall.Lifecycle() as life:
                event = life.event("grace")
                tries = {
                    "is_set": event.is_set, "wait": lambda: event.wait(1), "fileno": event.fileno,
                    "wait_for_termination": life.wait_for_termination,
                    "request_shutdown": life.request_shutdown, "receipt": lambda: life.receipt,
                    "event": lambda: life.event("grace"), "enter": lambda: life.enter("job"),
                }
                child = os.fork()
                if child == 0:
                    told = {}
                    for name, attempt in tries.items():
                        try:
                            attempt()
                        except lastcall.LifecycleError as error:
                            told[name] = str(error)
                    say("child", told=told, tries=list(tries))
                else:
                    os.waitpid(child, 0)
                    say("parent", set=event.is_set())
            # The child comes out of the block too, and its parent does not hear of it.
            say("out" if child == 0 else "over")
            if child:
                say("reason", reason=life.receipt["requests"][0]["cause"]["reason"])
        """)
        told = said["child"]["told"]
        self.assertEqual(sorted(told), sorted(said["child"]["tries"]))
        for name, text in told.items():
            self.assertIn("was forked and has no lifecycle", text, name)
        self.assertFalse(said["parent"]["set"])
        self.assertIn("out", said)
        self.assertEqual(said["reason"]["reason"], "its block was left")
        self.assertEqual(said["code"], 0, said["errors"])

    def test_a_forked_child_may_have_its_own(self):
        said = run("""
            with lastcall.Lifecycle(name="parent") as life:
                child = os.fork()
                if child == 0:
                    with lastcall.Lifecycle(name="child") as own:
                        os.kill(os.getpid(), signal.SIGTERM)
                        own.wait_for_termination()
                    say("child", subject=own.receipt["subject"])
                    os._exit(own.exit_code)
                say("parent", status=os.waitpid(child, 0)[1], set=life.event("delay").is_set())
        """)
        self.assertEqual(said["child"]["subject"], "child")
        self.assertEqual(said["parent"], {"status": 0, "set": False})

    def test_a_forked_child_that_lives_holds_nobody_up(self):
        with Program("""
            import multiprocessing
            with lastcall.Lifecycle(grace=60) as life:
                life.event("grace").fileno()  # the child has a copy of this, too
                child = multiprocessing.get_context("fork").Process(target=time.sleep, args=[60])
                child.start()
                say("waits")
                life.wait_for_termination()
            say("out", alive=child.is_alive())
            child.kill()
        """) as program:
            program.hear("waits")
            program.signal(TERM)
            self.assertTrue(program.hear("out")["alive"])
            self.assertLess(time.monotonic() - program.asked, AT_ONCE)
            self.assertEqual(program.wait(), 0)

    def test_a_forked_childs_signals_do_what_they_did_before(self):
        said = run("""
            with lastcall.Lifecycle() as life:
                for number in (signal.SIGINT, signal.SIGUSR1):
                    child = os.fork()
                    if child == 0:
                        try:
                            signal.raise_signal(number)
                            time.sleep(60)
                        except KeyboardInterrupt:
                            os._exit(9)
                    say(number.name, status=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """)
        self.assertEqual(said["SIGINT"]["status"], 9)
        self.assertEqual(said["SIGUSR1"]["status"], -USR1)

    def test_a_forked_child_dies_by_terminate(self):
        said = run("""
            import multiprocessing
            with lastcall.Lifecycle() as life:
                child = multiprocessing.get_context("fork").Process(target=time.sleep, args=[60])
                child.start()
                child.terminate()
                child.join(10)
                say("child", code=child.exitcode, set=life.event("delay").is_set())
        """)
        self.assertEqual(said["child"], {"code": -TERM, "set": False})
        self.assertEqual(said["code"], 0)


class BoundTest(unittest.TestCase):
    """The process ends when the plan says, whatever its threads do."""

    def check(self, program, bound, name, innermost):
        program.hear("ready")
        program.signal(TERM)
        self.assertEqual(program.wait(), 4)
        self.assertGreater(program.took(), bound - 0.05)
        self.assertLess(program.took(), bound + SLACK)
        receipt = program.forced_receipt()
        self.assertEqual(receipt["exit_code"], 4)
        stuck = {each["name"]: each["stack"] for each in receipt["stuck"]}
        self.assertIn(name, stuck)
        self.assertIn(innermost, "".join(stuck[name][:1]))

    def test_main_does_not_return(self):
        with Program("""
            def hang():
                ctypes.CDLL(None).read(os.pipe()[0], bytes(1), 1)
            with lastcall.Lifecycle(grace=0.5, cancel=0.5) as life:
                say("ready")
                hang()
        """) as program:
            self.check(program, 1.0, "MainThread", "hang (")

    def test_in_a_file_whose_name_is_no_text(self):
        with Program("""
            text = "def hang():\\n    threading.Event().wait()"
            exec(compile(text, os.fsdecode(b"/opt/\\xff.py"), "exec"))
            with lastcall.Lifecycle(grace=0.5, cancel=0.5) as life:
                say("ready")
                hang()
        """) as program:
            self.check(program, 1.0, "MainThread", "wait (")

    def test_another_thread_does_not_return(self):
        with Program("""
            def hang():
                while True:
                    time.sleep(0.01)
            with lastcall.Lifecycle(grace=0.5, cancel=0.5) as life:
                threading.Thread(target=hang, name="worker 3").start()
                say("ready")
                life.wait_for_termination()
            say("out")
        """) as program:
            self.check(program, 1.0, "worker 3", "hang (")

    def test_somebody_holds_the_interpreter_lock(self):
        with Program("""
            with lastcall.Lifecycle(grace=0.5, cancel=0.5) as life:
                work = life.enter("job 7")
                say("ready")
                ctypes.PyDLL(None).read(os.pipe()[0], bytes(1), 1)
        """) as program:
            self.check(program, 1.0, "job 7", "")

    def test_work_that_does_not_end_is_named_with_its_stack(self):
        with Program("""
            def job():
                with life.enter("job 7"):
                    say("ready")
                    threading.Event().wait()
            with lastcall.Lifecycle(grace=0.5, cancel=0.5) as life:
                threading.Thread(target=job, daemon=True).start()
                life.wait_for_termination()
        """) as program:
            self.check(program, 1.0, "job 7", "wait (")

    def test_a_signal_that_is_repeated_breaks_nothing_off(self):
        for name in ("SIGTERM", "SIGINT"):
            with self.subTest(name):
                # A machine that takes half a second between the two makes of the second one that
                # ends by force: then it is tried again.
                for _ in range(20):
                    said = run(f"""
                        with lastcall.Lifecycle() as life:
                            signal.raise_signal(signal.{name})
                            life.wait_for_termination()
                        signal.raise_signal(signal.{name})
                        time.sleep(0.1)
                        say("clean")
                    """)
                    if said["code"] != 4:
                        break
                self.assertEqual(said["code"], 0)
                self.assertIn("clean", said)

    def test_who_was_ended_by_a_signal_and_lives_again_is_not_bound(self):
        said = run("""
            with lastcall.Lifecycle(grace=0.1, cancel=0.1) as life:
                signal.raise_signal(signal.SIGTERM)
                life.wait_for_termination()
            with lastcall.Lifecycle(grace=60) as again:
                time.sleep(0.4)  # the first one's bound has passed
            say("lives", code=again.exit_code)
        """)
        self.assertEqual(said["lives"]["code"], 0)
        self.assertEqual(said["code"], 0)

    def test_a_second_signal_ends_what_hangs_after_the_stop(self):
        with Program("""
            with lastcall.Lifecycle(grace=60) as life:
                say("ready")
                life.wait_for_termination()
                say("over")
                threading.Event().wait()
        """) as program:
            program.hear("ready")
            program.signal(TERM)
            program.hear("over")
            time.sleep(0.6)
            program.signal(TERM)
            self.assertEqual(program.wait(), 4)
            self.assertLess(program.took(), AT_ONCE)
            stuck = [each["name"] for each in program.forced_receipt()["stuck"]]
            self.assertIn("MainThread", stuck)


class SystemdTest(unittest.TestCase):
    TEXT = """
        with lastcall.Lifecycle(delay=0.3, grace=20) as life:
            say("environment", inherited=subprocess.run(
                ["sh", "-c", "echo $NOTIFY_SOCKET"], capture_output=True, text=True).stdout.strip())
            life.wait_for_termination()
        say("receipt", stages={each["stage"]: each["planned_s"] for each in life.receipt["stages"]})
    """

    def test_systemd_hears_no_ready_after_stopping(self):
        with tempfile.TemporaryDirectory() as folder, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(f"{folder}/notify")
            notify.settimeout(30)
            said = run("""
                with lastcall.Lifecycle() as life:
                    signal.raise_signal(signal.SIGTERM)
                    life.event("stopped").wait()
                    life.wait_for_termination()
            """, env={"NOTIFY_SOCKET": f"{folder}/notify"})
            self.assertEqual(said["code"], 0)
            notify.setblocking(False)
            heard = []
            while True:
                try:
                    heard.append(notify.recv(4096).decode())
                except BlockingIOError:
                    break
            self.assertIn("STOPPING=1", "".join(heard))
            self.assertNotIn("READY=1", "".join(heard))

    def notified(self, supervised):
        with tempfile.TemporaryDirectory() as folder, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(f"{folder}/notify")
            notify.settimeout(30)
            environment = {"NOTIFY_SOCKET": f"{folder}/notify"}
            if supervised:
                environment["LASTCALL_SUPERVISOR"] = str(os.getpid())
            with Program(self.TEXT, env=environment) as program:
                self.assertEqual(program.hear("environment")["inherited"], "")
                said = [notify.recv(4096).decode()]
                program.signal(TERM)
                said += [notify.recv(4096).decode() for _ in range(2)]
                planned = program.hear("receipt")["stages"]
                self.assertEqual(program.wait(), 0)
                return said, planned

    def test_systemd_is_told(self):
        (ready, extend, stopping), planned = self.notified(False)
        self.assertIn("READY=1", ready)
        self.assertIn("STATUS=", ready)
        key, _, value = extend.partition("=")
        self.assertEqual(key, "EXTEND_TIMEOUT_USEC")
        self.assertAlmostEqual(int(value) / 1e6, 26.3, delta=SLACK)
        self.assertIn("STOPPING=1", stopping)
        self.assertAlmostEqual(planned["delay"], 0.3, delta=0.1)

    def test_under_lastcalld_there_is_no_delay_of_its_own(self):
        _, planned = self.notified(True)
        self.assertEqual(planned["delay"], 0)


class MisuseTest(unittest.TestCase):
    """What is told, and that it says what to do."""

    def test_it_is_told(self):
        cases = {
            "Lifecycle(delay=-1)": "ValueError: delay must be 0 or more",
            "Lifecycle(grace=float('nan'))": "ValueError: grace must be 0 or more",
            "Lifecycle(grace=-10**400)": "ValueError: grace must be 0 or more",
            "Lifecycle(grace=None)": "TypeError: grace is a number of seconds: say 0",
            "Lifecycle(grace='20s')": "TypeError: grace is a number of seconds, not '20s'",
            "Lifecycle().receipt": "with lastcall.Lifecycle() as life",
            "Lifecycle().__enter__()": "has a Lifecycle already",
            "life.__enter__()": "make another one",
            "life.event('gracee')": "delay, grace, cancel, stopped",
            "life.request_shutdown(grace=-2)": "ValueError: grace must be",
            "life.wait_for_termination(delay=-2)": "ValueError: delay must be",
            "life.leaving(object(), print)": "takes the context of a call",
            "life.set_serving(False, 'no.Such')": "no attached server has the service 'no.Such'",
            "life.attach(object(), 'x')": "takes a grpc.server or a grpc.aio.server",
            "asyncio.run(blocks())": "await life.event(\"stopped\")",
            "asyncio.run(enters())": "async with",
            "life.enter(5)": "TypeError: name is text, not 5",
            "life.open(None)": "TypeError: name is text, not None",
            "life.request_shutdown(None)": "TypeError: reason is text, not None",
            "life.wait_for_termination('1')": "TypeError: timeout is a number of seconds",
            "life.event('delay').wait(float('nan'))": "ValueError: timeout must be",
            "life.leaving(Context(), None)": "takes a function to call, not None",
            "life.leaving(Context(), blocks)": "one that sets an asyncio.Event",
            "life.attach(server, 50051)": "TypeError: an address is text",
            "life.attach(server, 'x', 'y')": "TypeError: credentials are what",
        }
        said = run(f"""
            from lastcall import Lifecycle
            import grpc
            from concurrent import futures
            server = grpc.server(futures.ThreadPoolExecutor())
            class Context:
                def add_callback(self, callback): pass
            async def blocks():
                life.wait_for_termination()
            async def enters():
                with Lifecycle():
                    pass
            told = {{}}
            with Lifecycle() as life:
                for text in {list(cases)!r}:
                    try:
                        eval(text)
                    except Exception as error:
                        told[text] = type(error).__name__ + ": " + str(error)
            say("told", **told)
        """)
        for text, expected in cases.items():
            self.assertIn(expected, said["told"].get(text, "nothing"), text)


if __name__ == "__main__":
    unittest.main()
