"""Every call as an operator sees it: in flight, with what it waits for; cancelled by name; and over."""

import os
import signal
import struct
import tempfile
import threading
import unittest

import grpc

import callback_echo_pb2
import callback_echo_pb2_grpc
from clients import PATIENCE, wait_until, word
from echo_pb2 import EchoRequest, SlowRequest
from harness import Daemon
from hostile_peers import INITIAL_WINDOW, WINDOW_UPDATE, CallPeer, ends, frame
from lastcall.admin.v1.admin_pb2 import (CallFilter, CancelCallsRequest, GetCallRequest,
                                         ListCallsRequest)
from tls_test import Authority

ECHO = "/lastcall.example.Echo/"
BIG = 64 << 10


class CallsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.enterClassContext(Daemon(servers={
            "public": {},
            "callback": {"plugins": ["callback_echo"]},
            "other": {"process": "apart"},
        }))

    def setUp(self):
        self.begun = []
        self.addCleanup(self.end_all)

    def end_all(self):
        for call in self.begun:
            call.cancel()
        wait_until(lambda: not self.calls(), "no call is in flight")

    def list(self, recent=False, limit=0, **criteria):
        request = ListCallsRequest(filter=CallFilter(**criteria), recent=recent, limit=limit)
        parts = list(self.daemon.admin().ListCalls(request, timeout=PATIENCE))
        self.assertEqual([part.complete for part in parts], [False] * (len(parts) - 1) + [True])
        return parts

    def calls(self, **criteria):
        return [call for part in self.list(**criteria) for call in part.calls]

    def await_call(self, method, waits, sent=0, **criteria):
        """The one call of the method, once its first message is there, and it waits for that."""
        found = []

        def there():
            found[:] = self.calls(method=f"*/{method}", **criteria)
            return (len(found) == 1 and word(found[0], "waits_for") == waits and
                    found[0].received >= 1 and found[0].sent >= sent)
        wait_until(there, f"one call of {method} waits for {waits}: {found}")
        return found[0]

    def begin(self, call):
        self.begun.append(call)
        return call

    def slow(self, server="public", seconds=300, **kwargs):
        echo = self.daemon.echo(name=server)
        return self.begin(echo.Slow.future(SlowRequest(delay_ms=1000 * seconds), **kwargs))

    def callbacks(self):
        return callback_echo_pb2_grpc.CallbackEchoStub(self.daemon.channel("callback"))

    def test_a_unary_call_is_with_its_handler(self):
        self.slow(timeout=250)
        call = self.await_call("Slow", "handler")
        self.assertEqual((call.server, call.method, word(call, "kind")),
                         ("public", ECHO + "Slow", "unary"))
        self.assertRegex(call.id, r"^main/1/\d+$")
        self.assertRegex(call.peer, r"^127\.0\.0\.1:\d+$")
        self.assertEqual((call.received, call.sent, call.identity), (1, 0, ""))
        self.assertGreater(call.thread, 0)
        self.assertTrue(200 < call.deadline_in_s < 252, call)
        self.assertTrue(0 <= call.idle_s <= call.age_s < PATIENCE, call)

    def test_a_call_without_a_deadline_says_so(self):
        self.slow()
        self.assertFalse(self.await_call("Slow", "handler").HasField("deadline_in_s"))

    def test_a_stream_whose_client_does_not_read_waits_for_it(self):
        request = EchoRequest(text="x" * BIG, count=1000)
        self.begin(self.daemon.echo().ServerStream(request))
        call = self.await_call("ServerStream", "client", sent=1)
        self.assertEqual(word(call, "kind"), "server stream")
        self.assertGreater(call.sent, 0)
        self.assertLess(call.sent, 1000)

    def test_a_unary_call_whose_client_does_not_take_the_answer_waits_for_it(self):
        no_window = struct.pack(">HI", INITIAL_WINDOW, 0)
        for name, service in (("public", ECHO), ("callback", "/lastcall.example.CallbackEcho/")):
            with self.subTest(name), CallPeer(self.daemon.address(name), "Unary", no_window,
                                              service.strip("/"), EchoRequest(text="x")) as peer:
                call = self.await_call("Unary", "client")
                self.assertEqual((call.received, word(call, "kind")), (1, "unary"))
                peer.send(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 100)))
                peer.until(ends)
                wait_until(lambda: not self.calls(), "it is over")

    def test_a_reactor_whose_client_does_not_read_waits_for_it(self):
        request = callback_echo_pb2.CallbackRequest(text="x" * BIG, count=1000)
        self.begin(self.callbacks().ServerStream(request))
        call = self.await_call("ServerStream", "client", sent=1)
        self.assertEqual((call.server, call.thread), ("callback", 0))
        self.assertGreater(call.sent, 0)

    def test_a_reactor_that_waits_for_itself_is_with_its_handler(self):
        request = callback_echo_pb2.CallbackRequest(text="x", count=2, interval_ms=600_000)
        self.begin(self.callbacks().ServerStream(request))
        call = self.await_call("ServerStream", "handler", sent=1)
        self.assertEqual((call.received, call.sent), (1, 1))

    def open_input(self, method):
        """A call of which the client has sent one message, and sends no other."""
        end = threading.Event()
        self.addCleanup(end.set)

        def requests():
            yield EchoRequest(text="a")
            end.wait()
        call = getattr(self.daemon.echo(), method)
        return self.begin(call.future(requests()) if method == "ClientStream" else call(requests()))

    def test_streams_from_a_silent_client_wait_for_its_input(self):
        for method, kind, sent in (("ClientStream", "client stream", 0), ("Bidi", "bidi stream", 1)):
            with self.subTest(method):
                self.open_input(method)
                call = self.await_call(method, "input")
                self.assertEqual((word(call, "kind"), call.received, call.sent), (kind, 1, sent))

    def test_progress_makes_it_young_again(self):
        # The second comes late: until it has, nothing has happened for as long.
        request = EchoRequest(text="x", count=2, interval_ms=3000)
        stream = self.begin(self.daemon.echo().ServerStream(request))
        next(stream)
        wait_until(lambda: self.await_call("ServerStream", "handler").idle_s > 1, "it is idle")
        next(stream)
        wait_until(lambda: not self.calls(method="*/ServerStream"), "it is over")

    def test_a_filter_lets_through_what_has_all_of_it(self):
        self.slow()
        self.slow("other")
        self.await_call("Slow", "handler", server="public")
        mine = self.await_call("Slow", "handler", server="other")
        self.assertEqual(mine.process, "apart")
        for criteria, count in (({}, 2), ({"server": "other"}, 1), ({"server": "none"}, 0),
                                ({"method": ECHO + "*"}, 2), ({"method": ECHO + "Unary"}, 0),
                                ({"peer": "127.0.0.1"}, 2), ({"peer": "10.*"}, 0),
                                ({"peer": mine.peer}, 1), ({"older_s": 3600}, 0)):
            with self.subTest(**criteria):
                self.assertEqual(len(self.calls(**criteria)), count)

    def test_a_limit_keeps_the_oldest_and_counts_the_others(self):
        first = self.slow()
        oldest = self.await_call("Slow", "handler")
        for _ in range(4):
            self.slow()
        wait_until(lambda: len(self.calls()) == 5, "all are there")
        parts = self.list(limit=2)
        listed = [call for part in parts for call in part.calls]
        self.assertEqual((len(listed), parts[-1].left_out), (2, 3))
        self.assertEqual(listed[0].id, oldest.id)
        self.assertTrue(first.running())

    def test_one_call_has_the_stack_of_its_handler(self):
        self.slow()
        call = self.await_call("Slow", "handler")
        found = self.daemon.admin().GetCall(GetCallRequest(id=call.id), timeout=PATIENCE)
        self.assertEqual((found.call.id, found.call.peer), (call.id, call.peer))
        self.assertTrue(found.stack or found.no_stack, found)

    def test_an_id_that_means_nothing(self):
        for wrong, code in (("main/1/999999", "NOT_FOUND"), ("main/7/1", "NOT_FOUND"),
                            ("none/1/1", "NOT_FOUND"), ("4711", "INVALID_ARGUMENT"),
                            ("", "INVALID_ARGUMENT"), ("main/1/x", "INVALID_ARGUMENT"),
                            ("main//1", "INVALID_ARGUMENT"), ("/1/1", "INVALID_ARGUMENT"),
                            ("main/1/-1", "INVALID_ARGUMENT")):
            with self.subTest(wrong):
                for ask in (lambda: self.daemon.admin().GetCall(GetCallRequest(id=wrong)),
                            lambda: self.cancel(ids=[wrong])):
                    with self.assertRaises(grpc.RpcError) as caught:
                        ask()
                    self.assertEqual(caught.exception.code().name, code)

    def cancel(self, ids=(), reason="", dry_run=False, **criteria):
        return self.daemon.admin().CancelCalls(CancelCallsRequest(
            ids=ids, reason=reason, dry_run=dry_run, filter=CallFilter(**criteria)),
            timeout=PATIENCE)

    def test_cancel_ends_exactly_the_calls_that_it_names(self):
        calls = {}
        for _ in range(3):
            call = self.slow()
            wait_until(lambda: len(self.calls()) == len(calls) + 1, "it is there")
            new = [each.id for each in self.calls() if each.id not in calls.values()]
            calls[call], = new
        first, second, third = calls
        done = self.cancel(ids=[calls[first], calls[third], "main/1/424242"], reason="they hang")
        self.assertEqual((done.cancelled, list(done.not_in_flight)), (2, ["main/1/424242"]))
        for call in (first, third):
            self.assertEqual(call.exception(PATIENCE).code(), grpc.StatusCode.CANCELLED)
            self.assertEqual(call.exception().details(), "cancelled by an operator: they hang")
        # The handlers have seen it too.
        wait_until(lambda: [each.id for each in self.calls()] == [calls[second]], "one is left")
        self.assertFalse(second.done())
        self.assertIn(f"admin: cancel calls {calls[first]}, {calls[third]}, main/1/424242 requested "
                      "by ", self.daemon.log())

    def test_cancel_ends_what_calls_have_in_common(self):
        slow, other = self.slow(), self.slow("other")
        stream = self.open_input("Bidi")
        self.await_call("Bidi", "input")
        wait_until(lambda: len(self.calls()) == 3, "all are there")
        self.assertEqual(self.cancel(method="*/Slow", dry_run=True).cancelled, 2)
        self.assertEqual(self.cancel(method="*/Slow", older_s=3600).cancelled, 0)
        self.assertEqual(len(self.calls()), 3)
        self.assertEqual(self.cancel(method="*/Slow").cancelled, 2)
        for call in (slow, other):
            self.assertEqual(call.exception(PATIENCE).code(), grpc.StatusCode.CANCELLED)
            self.assertEqual(call.exception().details(), "cancelled by an operator")
        wait_until(lambda: len(self.calls()) == 1, "one is left")
        self.assertTrue(stream.is_active())

    def test_a_reactor_is_cancelled_as_well(self):
        request = callback_echo_pb2.CallbackRequest(text="x", count=2, interval_ms=600_000)
        stream = self.begin(self.callbacks().ServerStream(request))
        call = self.await_call("ServerStream", "handler")
        self.assertEqual(self.cancel(ids=[call.id]).cancelled, 1)
        with self.assertRaises(grpc.RpcError) as caught:
            list(stream)
        self.assertEqual(caught.exception.details(), "cancelled by an operator")
        wait_until(lambda: not self.calls(), "it is over")

    def test_a_stream_that_its_client_does_not_read_is_cancelled_too(self):
        self.begin(self.daemon.echo().ServerStream(EchoRequest(text="x" * BIG, count=1000)))
        call = self.await_call("ServerStream", "client")
        self.cancel(ids=[call.id])
        wait_until(lambda: not self.calls(), "it is over")

    def test_to_cancel_everything_must_be_said(self):
        call = self.slow()
        self.await_call("Slow", "handler")
        for nothing in ({}, {"ids": ["main/1/1"], "server": "public"}, {"older_s": -1},
                        {"older_s": float("nan")}):
            with self.subTest(**nothing), self.assertRaises(grpc.RpcError) as caught:
                self.cancel(**nothing)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertFalse(call.done())

    def finished(self, method):
        return next((each for part in self.list(recent=True, method=f"*/{method}")
                     for each in part.finished if each.server == "public"), None)

    def test_calls_that_are_over_are_remembered(self):
        echo = self.daemon.echo()
        echo.Stubborn(SlowRequest(delay_ms=50), timeout=PATIENCE)
        for _ in range(20):
            echo.Stubborn(SlowRequest(delay_ms=0), timeout=PATIENCE)
        method = self.finished("Stubborn")
        self.assertEqual((method.failed, len(method.slowest)), (0, 10))
        slowest = method.slowest[0]
        self.assertGreaterEqual(slowest.duration_s, 0.05)
        self.assertRegex(slowest.id, r"^main/1/\d+$")
        self.assertRegex(slowest.peer, r"^127\.0\.0\.1:\d+$")
        self.assertRegex(slowest.ended_at, r"^\d{4}-\d\d-\d\dT")
        durations = [call.duration_s for call in method.slowest]
        self.assertEqual(durations, sorted(durations, reverse=True))

    def test_calls_that_have_failed_are_remembered_with_why(self):
        before = self.finished("Bidi")
        call = self.open_input("Bidi")
        listed = self.await_call("Bidi", "input")
        call.cancel()
        wait_until(lambda: not self.calls(), "it is over")
        echo = self.daemon.echo()
        with self.assertRaises(grpc.RpcError):
            echo.Slow(SlowRequest(delay_ms=60_000), timeout=0.1)
        wait_until(lambda: not self.calls(), "it is over")
        late = self.finished("Slow").failures[0]
        self.assertIn(late.status, (grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
                                    grpc.StatusCode.CANCELLED.value[0]))
        self.assertGreaterEqual(late.duration_s, 0.1)
        self.assertTrue(before is None or listed.id not in
                        [each.id for each in before.failures])

    def test_what_strangers_invent_is_remembered_together(self):
        channel = self.daemon.channel("callback")
        for number in range(3):
            with self.assertRaises(grpc.RpcError):
                channel.unary_unary(f"/invented/{number}")(b"", timeout=PATIENCE)
        others = [each for part in self.list(recent=True, server="callback")
                  for each in part.finished if each.method == "(others)"]
        self.assertEqual([each.failed for each in others], [3])
        self.assertEqual({each.status for each in others[0].failures},
                         {grpc.StatusCode.UNIMPLEMENTED.value[0]})


class HangingTest(unittest.TestCase):
    def test_a_process_that_does_not_answer_is_named_and_the_others_are_listed(self):
        servers = {"public": {}, "other": {"process": "apart"}}
        with Daemon(servers=servers) as daemon:
            held, other = daemon.slow(300), daemon.slow(300, name="other")
            daemon.await_calls(1)
            daemon.await_calls(1, name="other")
            host = daemon.process_pid("apart")
            os.kill(host, signal.SIGSTOP)
            self.addCleanup(os.kill, host, signal.SIGCONT)
            admin = daemon.admin()
            for _ in range(2):  # the second time it owes more answers than it may
                asked = [admin.ListCalls(ListCallsRequest(), timeout=PATIENCE) for _ in range(40)]
                for parts in map(list, asked):
                    self.assertEqual(list(parts[-1].not_answering), ["apart"])
                    self.assertEqual([call.process for part in parts for call in part.calls],
                                     ["main"])
            with self.assertRaises(grpc.RpcError) as caught:
                daemon.admin().GetCall(GetCallRequest(id="apart/1/1"), timeout=PATIENCE)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertEqual(caught.exception.details(), "process apart does not answer")
            os.kill(host, signal.SIGCONT)
            wait_until(lambda: not list(daemon.admin().ListCalls(ListCallsRequest()))[-1]
                       .not_answering, "it answers again")
            self.assertFalse(held.over() or other.over())


class IdentityTest(unittest.TestCase):
    def test_a_client_goes_by_the_name_in_its_certificate(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="lastcall-tls-"))
        authority = Authority(folder, "authority")
        own, own_key = authority.issue("server")
        certificate, key = authority.issue("alice", b"DNS:alice.example")
        tls = {"certificate": str(own), "key": str(own_key),
               "client_ca": str(authority.certificate)}
        with Daemon(servers={"public": {"tls": tls}}) as daemon:
            credentials = grpc.ssl_channel_credentials(
                authority.certificate.read_bytes(), key.read_bytes(), certificate.read_bytes())
            address = daemon.address().replace("127.0.0.1", "localhost")
            with grpc.secure_channel(address, credentials) as channel:
                method = channel.unary_unary(ECHO + "Slow")
                call = method.future(SlowRequest(delay_ms=60_000).SerializeToString())
                daemon.await_calls(1)
                for criteria in ({}, {"peer": "alice.*"}):
                    request = ListCallsRequest(filter=CallFilter(**criteria))
                    part = next(daemon.admin().ListCalls(request, timeout=PATIENCE))
                    self.assertEqual([each.identity for each in part.calls], ["alice.example"])
                call.cancel()


if __name__ == "__main__":
    unittest.main()
