"""What Python programs offload: bounded, answered in time whatever it does, beside the calls that
are served; under grpc.server and grpc.aio.server, in threads and in processes."""

import json
import os
import pathlib
import signal
import unittest
from concurrent.futures import ThreadPoolExecutor

import grpc

from clients import wait_until
from python_offloading import ROW
from python_program import PATIENCE, Program, run

TERM = signal.SIGTERM
FULL, LATE, GONE = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED,
                    grpc.StatusCode.CANCELLED)


class Server(Program):
    def __init__(self, kind, limits, lengths="delay=0", first=""):
        super().__init__(f"""
            import python_offloading
            {first}
            if __name__ == "__main__":  # or each process of an offload would be one more server
                with lastcall.Lifecycle({lengths}) as life:
                    python_offloading.run_{kind}(life, {limits})
                say("receipt", **life.receipt)
                sys.exit(life.exit_code)
        """)
        self.port = self.hear("serving")["port"]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")

    def __exit__(self, *args):
        self.channel.close()
        super().__exit__(*args)

    def call(self, method, request=b"", timeout=PATIENCE):
        return self.channel.unary_unary(f"/test.Offload/{method}").future(request, timeout=timeout)

    def stream(self, method, request=b"", channel=None):
        return (channel or self.channel).unary_stream(f"/test.Offload/{method}")(request)

    def counts(self):
        return json.loads(self.call("Counts").result())

    def await_counts(self, **wanted):
        wait_until(lambda: wanted.items() <= self.counts().items(), f"the counts are {wanted}")

    def hold(self):
        call = self.call("Hold")
        self.hear("holds")
        return call

    def stop(self):
        """In the stage grace, once this returns."""
        self.signal(TERM)
        self.hear("grace")

    def children(self):
        """That were spawned for work."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == self.pid and b"spawn_main" in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
            except OSError:
                pass
        return found


class SyncTest(unittest.TestCase):
    kind = "sync"

    def server(self, limits="", lengths="delay=0"):
        return Server(self.kind, limits, lengths)

    def expect(self, call, code):
        """A call, or a function that reads a stream."""
        with self.assertRaises(grpc.RpcError) as failed:
            call() if callable(call) else call.result()
        self.assertEqual(failed.exception.code(), code, failed.exception)
        return failed.exception.details()

    def test_what_has_no_place_is_refused_at_once_and_all_else_is_served(self):
        with self.server("threads=1, queue=1") as server:
            held = server.hold()
            queued = server.call("Hold")
            server.await_counts(busy=1, queued=1)
            self.expect(server.call("Mark"), FULL)
            self.assertEqual(server.call("Here").result(), b"here")
            server.go_on()
            self.assertEqual(held.result(), b"held")
            server.hear("holds")
            server.go_on()
            self.assertEqual(queued.result(), b"held")
            server.await_counts(busy=0, queued=0, most_queued=1, begun=2, refused=1, late=0)

    def test_what_is_late_is_answered_and_what_was_queued_never_begins(self):
        with self.server("threads=1, deadline=1") as server:
            held = server.hold()
            marked = server.call("Mark")
            self.expect(held, LATE)
            self.expect(marked, LATE)
            server.await_counts(busy=1, abandoned=1, queued=0, late=2)
            server.go_on()
            server.await_counts(busy=0, abandoned=0)
            self.assertEqual(server.call("Pid").result(), str(server.pid).encode())
            self.assertNotIn("marked", str(server._said))

    def test_the_clients_own_deadline_counts_and_the_work_is_told(self):
        with self.server() as server:
            self.expect(server.call("Ask", timeout=0.5), LATE)
            server.hear("told")

    def test_a_client_that_goes_is_told_to_the_work(self):
        with self.server() as server:
            call = server.call("Ask")
            server.hear("asks")
            call.cancel()
            server.hear("told")

    def test_what_throws_is_internal_and_only_the_log_says_why(self):
        with self.server() as server:
            self.assertNotIn("secret", self.expect(server.call("Throw"), grpc.StatusCode.INTERNAL))
            self.expect(lambda: list(server.stream("Fail")), grpc.StatusCode.INTERNAL)
            wait_until(lambda: server.errors().count("KeyError: 'secret'") == 2, "the log has it")
            self.assertIn("offloaded work throw threw", server.errors())
            self.assertIn("in throw\n", server.errors())
            self.assertNotIn("calling application", server.errors())

    def test_work_answers_with_a_status_of_its_own(self):
        with self.server() as server:
            self.assertEqual(self.expect(server.call("Status"), grpc.StatusCode.NOT_FOUND),
                             "no such scene")
            self.assertEqual(server.errors(), "")

    def test_work_goes_on_in_grace(self):
        with self.server(lengths="delay=0, grace=60") as server:
            held = server.hold()
            server.stop()
            server.go_on()
            self.assertEqual(held.result(), b"held")
            self.assertEqual(server.wait(), 0)
            self.assertEqual(server.hear("receipt")["calls"], {"finished": 1, "cancelled": 0})

    def test_work_is_told_in_cancel(self):
        with self.server(lengths="delay=0, grace=0.3, cancel=60") as server:
            call = server.call("Ask")
            server.hear("asks")
            server.signal(TERM)
            self.assertIn(self.code(call), (GONE, grpc.StatusCode.UNAVAILABLE))
            server.hear("told")
            self.assertEqual(server.wait(), 3)

    def code(self, call):
        with self.assertRaises(grpc.RpcError) as failed:
            call.result()
        return failed.exception.code()

    def test_what_does_not_return_is_named_and_the_stop_is_bounded(self):
        with self.server("deadline=0.5", lengths="delay=0, grace=60, cancel=0.5") as server:
            self.expect(server.hold(), LATE)
            server.signal(TERM)  # nobody waits for it in grace
            self.assertEqual(server.wait(), 4)
            (stuck,) = server.forced_receipt()["stuck"]
            self.assertEqual(stuck["name"], "offloaded work hold")
            self.assertTrue(any(line.startswith("hold (") for line in stuck["stack"]))

    def test_a_producer_waits_for_its_client_alone(self):
        with self.server("threads=2") as server:
            idle = server.stream("Rows", b"200")
            self.assertEqual(len(next(idle)), ROW)
            with grpc.insecure_channel(f"127.0.0.1:{server.port}") as another, \
                    ThreadPoolExecutor() as threads:
                read = threads.submit(
                    lambda: sum(1 for _ in server.stream("Rows", b"200", another)))
                self.assertEqual(read.result(PATIENCE), 200)
            self.assertEqual(server.hear("closed")["yielded"], 200)
            self.assertEqual(server.counts()["busy"], 1)  # the other has yet to yield
            self.assertEqual(sum(1 for _ in idle), 199)
            server.hear("closed")

    def test_a_producer_is_let_go_with_its_client_and_at_its_deadline(self):
        with self.server("threads=1, deadline=1") as server:
            for ends in (lambda stream: stream.cancel(), lambda stream: None):
                stream = server.stream("Rows", b"10000")
                next(stream)
                ends(stream)
                self.assertLess(server.hear("closed")["yielded"], 10000)
                server.await_counts(busy=0)
            self.expect(lambda: list(stream), LATE)


class AioTest(SyncTest):
    kind = "aio"

    def test_more_than_a_pool_has_threads_block_and_everybody_is_served(self):
        with self.server("threads=40") as server:
            held = [server.hold() for _ in range(40)]
            self.assertEqual(server.call("Here").result(), b"here")
            for _ in held:
                server.go_on()
            for call in held:
                self.assertEqual(call.result(), b"held")


class InProcesses:
    def server(self, limits="processes=1", lengths="delay=0"):
        return Server(self.kind, limits, lengths)

    expect = SyncTest.expect

    def test_work_has_a_process_of_its_own_that_stays(self):
        with self.server() as server:
            first = server.call("Pid").result()
            self.assertNotEqual(int(first), server.pid)
            self.assertEqual(server.call("Pid").result(), first)
            self.assertEqual(server.children(), [int(first)])
            server.signal(TERM)
            self.assertEqual(server.wait(), 0)
            self.assertFalse(os.path.exists(f"/proc/{int(first)}"))

    def test_what_is_late_is_killed_and_the_next_is_served(self):
        with self.server("processes=1, deadline=5") as server:
            self.expect(server.call("Spin"), LATE)
            spun = server.hear("spins")["pid"]
            self.assertNotIn(int(server.call("Pid").result()), (spun, server.pid))
            server.await_counts(busy=0, abandoned=0, late=1)
            self.assertFalse(os.path.exists(f"/proc/{spun}"))
            self.assertEqual(server.errors(), "")

    def test_a_process_that_ends_is_internal_and_the_next_is_served(self):
        with self.server() as server:
            self.expect(server.call("Die"), grpc.StatusCode.INTERNAL)
            wait_until(lambda: "its process was ended by SIGKILL" in server.errors(), "the log")
            self.assertNotEqual(server.call("Pid").result(), str(server.pid).encode())

    def test_what_throws_has_its_stack_in_the_log(self):
        with self.server() as server:
            self.assertNotIn("secret", self.expect(server.call("Throw"), grpc.StatusCode.INTERNAL))
            self.expect(server.call("Status"), grpc.StatusCode.NOT_FOUND)
            self.expect(lambda: list(server.stream("Fail")), grpc.StatusCode.INTERNAL)
            wait_until(lambda: server.errors().count("in throw\n") == 1 and
                       server.errors().count("in fail\n") == 1, "the log has both")

    def test_a_stream_waits_for_its_client_and_goes_with_it(self):
        with self.server() as server:
            stream = server.stream("Rows", b"200")
            self.assertEqual(sum(1 for _ in stream), 200)
            self.assertEqual(server.hear("closed")["yielded"], 200)
            stream = server.stream("Rows", b"10000")
            next(stream)
            server.await_counts(busy=1)
            stream.cancel()
            server.await_counts(busy=0)

    def test_clients_with_less_patience_than_a_process_needs_to_start_are_served_then(self):
        with Server(self.kind, "processes=1",
                    first="time.sleep(0 if __name__ == '__main__' else 1)") as server:
            self.expect(server.call("Pid", timeout=0.2), LATE)

            def served():
                try:
                    return server.call("Pid", timeout=0.2).result()
                except grpc.RpcError:
                    return None
            self.assertEqual(wait_until(served, "one is served").decode(),
                             str(*server.children()))

    def test_signals_for_all_of_a_terminal_leave_the_work_to_the_lifecycle(self):
        with self.server(lengths="delay=0, grace=60, cancel=5") as server:
            call = server.call("Spin")
            spun = server.hear("spins")["pid"]
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(spun, number)
            server.stop()
            self.assertTrue(os.path.exists(f"/proc/{spun}"))
            self.assertFalse(call.done())
            server.signal_until_it_ends(TERM)
            self.assertEqual(server.wait(), 3)
            self.assertFalse(os.path.exists(f"/proc/{spun}"))

    def test_it_ends_with_the_program_that_is_killed(self):
        with self.server() as server:
            call = server.call("Spin")
            spun = server.hear("spins")["pid"]
            server.signal(signal.SIGKILL)
            server.wait()
            self.assertTrue(call)
            wait_until(lambda: not os.path.exists(f"/proc/{spun}"), "it has ended")


class SyncProcessesTest(InProcesses, unittest.TestCase):
    kind = "sync"


class AioProcessesTest(InProcesses, unittest.TestCase):
    kind = "aio"


if __name__ == "__main__":
    unittest.main()
