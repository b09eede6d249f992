"""Calls that make no progress are named, with why, and with the stack of their handler."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
import unittest
from concurrent import futures

import grpc

import stuck_pb2_grpc
from clients import PATIENCE, Health, wait_until, word
from harness import BUILD, Daemon
from lastcall.admin.v1.admin_pb2 import CallFilter, GetCallRequest, ListCallsRequest
from stuck_pb2 import StuckRequest

SYNC, CALLBACK = "lastcall.test.Stuck", "lastcall.test.CallbackStuck"
PLUGIN = str(BUILD / "tests" / "plugins" / "stuck.so")
LONG = 60_000  # ms
# A thread sanitizer hands signals on late, and its own code has no frames to go on by.
RUNS_LATE = "thread" in os.environ.get("LASTCALL_SANITIZE", "")
KINDS = ("Unary", "ServerStream", "ClientStream", "Bidi")


class StallsTest(unittest.TestCase):
    def daemon(self, **servers):
        own = {"/" + service + "/Own": {"stall_after": "1s"} for service in (SYNC, CALLBACK)}
        patient = {f"/{SYNC}/Patient": {"long_polling": True}}
        kinds = {
            "sync": {"method": {f"/{SYNC}/Own": own[f"/{SYNC}/Own"], **patient}},
            "callback": {"method": {f"/{CALLBACK}/Own": own[f"/{CALLBACK}/Own"]},
                         "config": {"stuck": {"callback": True}}, "process": "reactors"},
        }
        daemon = self.enterContext(Daemon(servers={
            name: {"plugins": [PLUGIN], "stall_after": "1s", **kinds[name], **server}
            for name, server in servers.items()}))
        return daemon

    def setUp(self):
        self.begun = []  # who is not held is cancelled

    def begin(self, *args, **kwargs):
        self.begun.append(self.call(*args, **kwargs))
        return self.begun[-1]

    @staticmethod
    def call(daemon, method, how, server="sync", for_ms=LONG, **request):
        """One call, of which no more than one message is sent."""
        stub_of = stuck_pb2_grpc.StuckStub if server == "sync" else stuck_pb2_grpc.CallbackStuckStub
        stub = stub_of(daemon.channel(server))
        message = StuckRequest(how=StuckRequest.How.Value(how), for_ms=for_ms, **request)
        end = threading.Event()

        def requests():
            yield message
            end.wait()
        if method in ("Unary", "Patient"):
            return getattr(stub, method).future(message)
        if method == "ServerStream":
            return stub.ServerStream(message)
        call = getattr(stub, method)
        call = call.future(requests()) if method == "ClientStream" else call(requests())
        call.add_callback(end.set)
        return call

    @staticmethod
    def calls(daemon, **criteria):
        request = ListCallsRequest(filter=CallFilter(**criteria))
        return [call for part in daemon.admin().ListCalls(request, timeout=PATIENCE)
                for call in part.calls]

    def stalled(self, daemon, method, cause, count=1):
        """The calls of the method, once so many are stalled by that."""
        found = []

        def there():
            found[:] = self.calls(daemon, method="*/" + method, stalled=True)
            return [word(call, "cause") for call in found] == [cause] * count
        wait_until(there, f"{count} calls of {method} are stalled: {cause}; {found}")
        return found

    def test_a_handler_on_the_cpu(self):
        daemon = self.daemon(sync={}, callback={})
        for server in ("sync", "callback"):
            for method in KINDS:
                with self.subTest(server, method=method):
                    call = self.begin(daemon, method, "COMPUTE", server, for_ms=3000)
                    stalled, = self.stalled(daemon, method, "on CPU")
                    self.assertRegex(stalled.why, r"^on CPU \(\d+ %\)")
                    self.expect_frame(daemon, stalled, "StuckComputing(")
                    self.end(daemon, call)
        # The first of five in a minute.
        daemon.wait_log(f"stalled: /{SYNC}/Unary of server sync has made no progress for 1")
        if not RUNS_LATE:
            self.assertRegex(daemon.log(), r"stalled:   .*StuckComputing\(")

    def expect_frame(self, daemon, call, frame):
        """In the stack of its handler."""
        found = daemon.admin().GetCall(GetCallRequest(id=call.id), timeout=PATIENCE)
        if not RUNS_LATE:
            self.assertTrue(any(frame in each for each in found.stack), found)

    def end(self, daemon, call):
        call.cancel()
        wait_until(lambda: not self.calls(daemon), "it is over")

    def expect_blocked(self, daemon, server, method, how, why, frame):
        # Its handler reads from whoever listens here, until that is no more.
        with (self.subTest(server, method=method, how=how),
              socket.create_server(("127.0.0.1", 0)) as listener):
            port = listener.getsockname()[1]
            call = self.begin(daemon, method, how, server, for_ms=3000, port=port)
            stalled, = self.stalled(daemon, method, "blocked")
            self.assertRegex(stalled.why, "^" + why.replace("PEER", f"tcp 127.0.0.1:{port}"))
            self.expect_frame(daemon, stalled, frame)
            listener.close()
            self.end(daemon, call)

    def test_a_blocked_handler_says_in_what(self):
        daemon = self.daemon(sync={}, callback={})
        for server in ("sync", "callback"):
            for method in KINDS:
                self.expect_blocked(daemon, server, method, "READ",
                                    r"blocked in read of fd \d+, PEER", "StuckReading(")
            for how, why, frame in (
                    ("SLEEP", "blocked in (clock_)?nanosleep", "StuckSleeping("),
                    ("LOCK", "blocked in futex", "StuckLocking("),
                    ("POLL", r"blocked in poll of fd \d+, PEER", "StuckPolling(")):
                self.expect_blocked(daemon, server, "Unary", how, why, frame)

    def test_a_handler_without_a_processor(self):
        daemon = self.daemon(sync={})
        with contextlib.ExitStack() as burners:
            for _ in range(2 * os.cpu_count()):
                burner = subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"])
                burners.callback(burner.wait)
                burners.callback(burner.kill)
            self.begin(daemon, "Unary", "IDLE", for_ms=20_000)
            self.stalled(daemon, "Unary", "starved")

    def test_a_paused_process_is_no_handlers_fault(self):
        daemon = self.daemon(sync={})
        stream = self.begin(daemon, "Bidi", "INPUT")
        next(stream)
        host = daemon.process_pid()
        os.kill(host, signal.SIGSTOP)
        self.addCleanup(os.kill, host, signal.SIGCONT)
        with self.assertRaises(AssertionError):
            wait_until(lambda: False, "three times stall_after", 3)
        os.kill(host, signal.SIGCONT)
        daemon.wait_log("paused: the whole process stood still for ")
        self.assertEqual(self.calls(daemon, stalled=True), [])
        self.assertNotIn("has made no progress", daemon.log())

    def test_a_client_that_takes_nothing_is_told_of_only_where_the_method_says_so(self):
        daemon = self.daemon(sync={}, callback={})
        for server in ("sync", "callback"):
            calls = [self.begin(daemon, method, "FLOOD", server) for method in ("Bidi", "Own")]
            stalled, = self.stalled(daemon, "Own", "client", 1)[:1]
            self.assertEqual(stalled.why, "its client does not take what was written")
            self.assertEqual(self.calls(daemon, method="*/Bidi", stalled=True), [])
            daemon.wait_log(f"/Own of server {server} has made no progress")
            for call in calls:
                call.cancel()
            wait_until(lambda: not self.calls(daemon), "all are over")

    def test_a_client_that_sends_nothing_is_told_of_only_where_the_method_says_so(self):
        daemon = self.daemon(sync={}, callback={})
        for server in ("sync", "callback"):
            calls = [self.begin(daemon, method, "INPUT", server)
                     for method in ("Bidi", "ClientStream", "Own")]
            stalled, = self.stalled(daemon, "Own", "input")
            self.assertEqual(stalled.why, "its client sends nothing")
            for method in ("Bidi", "ClientStream"):
                self.assertEqual(self.calls(daemon, method="*/" + method, stalled=True), [])
            for call in calls:
                call.cancel()
            wait_until(lambda: not self.calls(daemon), "all are over")

    def test_a_reactor_that_waits_for_itself(self):
        daemon = self.daemon(callback={})
        self.begin(daemon, "Unary", "FORGET", "callback")
        self.begin(daemon, "ServerStream", "FORGET", "callback")
        self.begin(daemon, "Own", "FORGET", "callback")
        stalled, = self.stalled(daemon, "Unary", "application")
        self.assertIn("for something of its own", stalled.why)
        self.stalled(daemon, "Own", "application")
        # A stream may do that, where nobody says otherwise.
        self.assertEqual(self.calls(daemon, method="*/ServerStream", stalled=True), [])

    def test_one_that_may_wait_long_is_not_told_of(self):
        daemon = self.daemon(sync={})
        self.begin(daemon, "Patient", "SLEEP")
        self.begin(daemon, "Unary", "SLEEP")
        self.stalled(daemon, "Unary", "blocked")
        self.assertEqual(len(self.calls(daemon)), 2)
        self.assertEqual(len(self.calls(daemon, stalled=True)), 1)

    def test_all_callback_threads_held_is_everybodys_matter(self):
        daemon = self.daemon(callback={"stall_after": "60s"})
        for _ in range(2):
            self.begin(daemon, "Unary", "SLEEP", "callback")
        method = f"/{CALLBACK}/Unary"
        daemon.wait_log(f"2 of 2 callback threads are held by {method} (blocked in ")
        log = daemon.log()
        self.assertIn(": every callback service in process reactors is frozen", log)
        self.assertEqual(log.count("2 of 2 callback threads"), 1)
        self.assertIn("StuckSleeping(", log)
        # Nobody of gRPC's is left to read what it is asked.
        self.assertEqual(Health(daemon.channel("callback")).check(), "SERVING")
        self.assertEqual(len(self.calls(daemon)), 2, "they are held")

    def test_one_that_is_said_again_has_a_profile(self):
        daemon = self.daemon(sync={})
        self.begin(daemon, "Unary", "ALTERNATE", for_ms=20_000)
        stalled, = self.stalled(daemon, "Unary", "on CPU")
        daemon.wait_log(f"profile: /{SYNC}/Unary of server sync (call {stalled.id}), ")
        shown = re.compile(r"profile:   .*\d+ \(\d+ %\) .*" + ("" if RUNS_LATE else "StuckParsing"))
        wait_until(lambda: shown.search(daemon.log()), "the tree is there")
        if not RUNS_LATE:
            wait_until(lambda: re.search("profile:   .* %\\) .*StuckWriting", daemon.log()), "both are")
        lines = [line for line in daemon.log().splitlines() if "profile:   " in line]
        self.assertLessEqual(len(lines), 30)
        found = daemon.admin().GetCall(GetCallRequest(id=stalled.id), timeout=PATIENCE)
        self.assertRegex(found.profile[0], r"^\d+ looks at thread \d+ in ")
        self.assertIn("\nprofile\n  ", daemon.ctl("call", stalled.id).stdout)

    def test_calls_that_hold_every_thread_of_a_server_are_named(self):
        daemon = self.daemon(sync={"stall_after": "60s", "limits": {"threads": 4}})
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            for method in ("Unary", "Unary", "Unary", "Patient"):
                self.begin(daemon, method, "READ", port=port)
            method = f"/{SYNC}/Unary"
            daemon.wait_log(f"full: 4 of 4 threads of server sync are held by {method} (blocked in ")
            daemon.wait_log("StuckReading(")
            self.assertIn(": new calls of server sync are refused with RESOURCE_EXHAUSTED",
                          daemon.log())
            refused = self.call(daemon, "Unary", "NOT").exception(PATIENCE)
            self.assertEqual(refused.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            wait_until(lambda: daemon.server("sync").canary.full, "the canary says so")
            self.assertFalse(daemon.server("sync").canary.HasField("overdue_s"))
            self.assertRegex(daemon.server("sync").held_by,
                             rf"^4 of 4 threads are held by {method} \(blocked in .*, 3 calls\) and ")
            self.assertIn("\nsync: full: 4 of 4 threads are held by ", daemon.ctl("status").stdout)
        wait_until(lambda: not daemon.server("sync").held_by, "it is full no more")
        self.assertEqual(daemon.log().count("full: 4 of 4"), 1)
        self.assertNotIn("frozen", daemon.log())

    def test_a_server_that_is_busy_is_not_full_of_calls_that_make_no_progress(self):
        daemon = self.daemon(sync={"limits": {"threads": 2}})
        done, refused = threading.Semaphore(0), threading.Event()
        end = threading.Event()

        def keep_calling():
            while not end.is_set():
                error = self.call(daemon, "Unary", "SLEEP", for_ms=100).exception(PATIENCE)
                if error is None:
                    done.release()
                else:
                    self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
                    refused.set()
        with futures.ThreadPoolExecutor() as pool:
            callers = [pool.submit(keep_calling) for _ in range(3)]
            for _ in range(40):
                self.assertTrue(done.acquire(timeout=PATIENCE))
            end.set()
            for caller in callers:
                caller.result(PATIENCE)
        self.assertTrue(refused.is_set())
        self.assertNotIn("full:", daemon.log())

    def test_stacks_that_are_taken_under_load_fail_no_call(self):
        daemon = self.daemon(sync={}, callback={})
        end, stacks = threading.Event(), 0

        def keep_calling(server, how):
            calls = 0
            while calls < 20 or not end.is_set():
                self.call(daemon, "Unary", how, server, for_ms=20).result(PATIENCE)
                calls += 1
        with futures.ThreadPoolExecutor() as pool:
            callers = [pool.submit(keep_calling, server, how) for server in ("sync", "callback")
                       for how in ("COMPUTE", "SLEEP", "LOCK", "NOT")]
            try:
                while stacks < 30 and not any(caller.done() for caller in callers):
                    daemon.signal(signal.SIGUSR1)
                    for call in self.calls(daemon):
                        with contextlib.suppress(grpc.RpcError):  # it is over
                            stacks += bool(daemon.admin().GetCall(
                                GetCallRequest(id=call.id), timeout=PATIENCE).stack)
            finally:
                end.set()
            for caller in callers:
                caller.result(PATIENCE)

    def test_what_is_stalled_is_in_the_status_and_gone_when_it_is_over(self):
        daemon = self.daemon(sync={})
        calls = [self.begin(daemon, "Unary", "SLEEP") for _ in range(3)]
        wait_until(lambda: daemon.server("sync").calls_stalled == 3, "three are stalled")
        found = daemon.admin().GetCall(GetCallRequest(id=self.calls(daemon)[0].id), timeout=PATIENCE)
        self.assertTrue(any("StuckSleeping(" in frame for frame in found.stack), found)
        # All three hang in one place: that is one report.
        self.assertEqual(daemon.log().count("has made no progress"), 1)
        os.kill(daemon.process_pid(), signal.SIGKILL)
        wait_until(lambda: daemon.server("sync").calls_stalled == 0, "none is stalled any more")
        for call in calls:
            self.assertEqual(call.exception(PATIENCE).code(), grpc.StatusCode.UNAVAILABLE)

    def test_a_rule_for_a_method_that_is_not_there_refuses_the_start(self):
        wrong = {"method": {f"/{SYNC}/Unray": {"stall_after": "3s"}}}
        with Daemon(servers={"public": {"plugins": [PLUGIN], **wrong}}, wait=False) as daemon:
            self.assertEqual(daemon.wait(), 78)
            self.assertRegex(daemon.log(), r"lastcalld\.toml:\d+: the server has no method "
                             rf"/{SYNC}/Unray; did you mean \"/{SYNC}/Unary\"\?")


if __name__ == "__main__":
    unittest.main()
