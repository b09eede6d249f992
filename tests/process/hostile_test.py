"""Peers that mean no good: they cost bounded memory and time, everybody else is served, and a
shutdown in the middle is on time."""

import contextlib
import pathlib
import signal
import threading
import time
import unittest

import grpc

from clients import PATIENCE, SANITIZED, SLACK, Busy, Health, wait_until
from echo_pb2 import EchoRequest, SlowRequest
from harness import Daemon
from hostile_peers import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE,
                           RST_STREAM, SETTINGS, Attack, Hoarder, Peer, frame, header, message, request)

ECHO = "/lastcall.example.Echo/"
# A sanitizer makes much of an end.
GRACE, CANCEL = 1, 8 if SANITIZED else 1
# What an attack may cost the process that it meets, in bytes. A sanitizer keeps what was freed.
MEMORY = (2000 if SANITIZED else 300) << 20


def resident(pid):
    fields = pathlib.Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()
    return int(fields[1]) * 4096


class HostileTest(unittest.TestCase):
    @contextlib.contextmanager
    def attacked(self, limits=None, memory=MEMORY):
        """A server with a bystander. In the end, with the attack still under way, it stops in time."""
        servers = {"public": {"limits": limits or {}}}
        with Daemon(servers, shutdown={"grace": f"{GRACE}s", "cancel": f"{CANCEL}s"}) as daemon:
            host = daemon.process_pid()
            before = resident(host)
            with Busy(daemon) as bystander:
                yield daemon
                served = len(bystander.ok)
                wait_until(lambda: len(bystander.ok) > served + 5, "the bystander is served", PATIENCE)
                grown = resident(host) - before
            self.assertEqual(bystander.failed, [])
            self.assertLess(grown, memory)
            self.assertEqual(daemon.process_pid(), host, "it lives")
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            daemon.wait()
            self.assertLess(time.monotonic() - began, GRACE + CANCEL + SLACK)
            daemon.assert_nothing_left()

    def expect_closed(self, peers, within):
        """The server closes all of them."""
        began = time.monotonic()
        for peer in peers:
            peer.wait_closed()
        self.assertLess(time.monotonic() - began, within + SLACK)

    def test_silent_connections(self):
        with contextlib.ExitStack() as stack, self.attacked({"handshake": "1s"}) as daemon:
            peers = [stack.enter_context(Peer(daemon.address(), hello=False)) for _ in range(50)]
            self.expect_closed(peers, 1)
            # Others, for the shutdown.
            stack.enter_context(Peer(daemon.address(), hello=False))

    def test_slow_handshake(self):
        with contextlib.ExitStack() as stack, self.attacked({"handshake": "1s"}) as daemon:
            peer = stack.enter_context(Peer(daemon.address(), hello=False))
            began = time.monotonic()
            for at in range(len(PREFACE) - 1):
                if not peer.send(PREFACE[at:at + 1]):
                    break
                time.sleep(0.1)
            peer.wait_closed()
            self.assertLess(time.monotonic() - began, 3 + SLACK)

    def test_garbage(self):
        with self.attacked() as daemon:
            for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\xff" * 9,
                            b"\0" * 10000, PREFACE + b"\xff" * 10000,
                            PREFACE + frame(SETTINGS) + frame(HEADERS, END_HEADERS, 1, b"\xff" * 99)):
                with self.subTest(garbage[:10]), Peer(daemon.address(), hello=False) as peer:
                    peer.send(garbage)
                    peer.wait_closed()

    def test_half_open(self):
        limits = {"keepalive": "1s", "keepalive_timeout": "1s"}
        with contextlib.ExitStack() as stack, self.attacked(limits) as daemon:
            # It has said its hello and never answers a ping.
            peers = [stack.enter_context(Peer(daemon.address())) for _ in range(10)]
            self.expect_closed(peers, 2)
            stack.enter_context(Peer(daemon.address()))

    def test_unread_responses(self):
        wanted = EchoRequest(text="x" * 10000, count=1_000_000)
        call = frame(HEADERS, END_HEADERS, 1, request(ECHO + "ServerStream")) + \
            frame(DATA, END_STREAM, 1, message(wanted))
        with contextlib.ExitStack() as stack, self.attacked() as daemon:
            for _ in range(10):
                stack.enter_context(Peer(daemon.address())).send(call)
            daemon.await_calls(10, "ServerStream")

    def hoard(self, stack, daemon):
        """Calls whose messages, 320 MB of them, lack their last byte; the peers that have them."""
        peers = [stack.enter_context(Hoarder(daemon.address())) for _ in range(2)]
        for peer in peers:
            thread = threading.Thread(target=peer.hoard, args=(40, 4_000_000))
            thread.start()
            stack.callback(thread.join)
            stack.callback(peer.hang_up)
        return peers

    def test_messages_that_are_never_finished(self):
        # Bounded by connections, streams and the size of a message: see docs/operations.md.
        with contextlib.ExitStack() as stack, self.attacked({"memory": 0}, 2 * MEMORY) as daemon:
            peers = self.hoard(stack, daemon)
            wait_until(lambda: all(peer.paid for peer in peers), "all of it is held", PATIENCE)
            self.assertEqual([peer.refused for peer in peers], [0, 0])

    def test_messages_that_are_never_finished_where_memory_is_limited(self):
        # gRPC ends calls then, and not only theirs: a bystander would see that.
        with contextlib.ExitStack() as stack, \
                Daemon({"public": {"limits": {"memory": "64MiB"}}}) as daemon:
            peers = self.hoard(stack, daemon)
            wait_until(lambda: any(peer.refused or peer.closed for peer in peers),
                       "some of them are refused", PATIENCE)

    def test_connections_beyond_the_cap(self):
        with contextlib.ExitStack() as stack, self.attacked({"connections": 20}) as daemon:
            address = daemon.address()
            with contextlib.ExitStack() as flood:
                for _ in range(100):
                    flood.enter_context(Peer(address))
                wait_until(lambda: daemon.server().connections == 20, "it is full")
                time.sleep(0.2)
                self.assertEqual(daemon.server().connections, 20)
            # Whoever waited in the queue comes in when they have gone.
            self.assertEqual(daemon.slow(0).text(), "slept")
            stack.enter_context(Peer(address))

    def flood(self, peer, calls):
        slow = message(SlowRequest(delay_ms=60_000))
        for stream in range(1, 2 * calls, 2):
            if not peer.send(frame(HEADERS, END_HEADERS, stream, request(ECHO + "Slow")) +
                             frame(DATA, END_STREAM, stream, slow)):
                break

    def test_flood_of_streams(self):
        with contextlib.ExitStack() as stack, self.attacked({"streams": 50}) as daemon:
            peer = stack.enter_context(Peer(daemon.address()))
            peer.acknowledge()
            self.flood(peer, 50)
            wait_until(lambda: self.in_flight(daemon) == 50, "as many as may")
            # One more ends the connection, and all that came over it.
            peer.send(frame(HEADERS, END_HEADERS, 101, request(ECHO + "Slow")))
            self.expect_closed([peer], 0)
            wait_until(lambda: self.in_flight(daemon) == 0, "its calls are over")

    def test_flood_of_streams_of_who_acknowledges_no_limit(self):
        # gRPC 1.51 holds a peer to `streams` once it has said that it knows: see README.
        with contextlib.ExitStack() as stack, self.attacked({"threads": 2000}) as daemon:
            self.flood(stack.enter_context(Peer(daemon.address())), 1000)
            wait_until(lambda: self.in_flight(daemon) == 1000, "all of them")

    def in_flight(self, daemon):
        return sum(each.in_flight for each in daemon.server().methods
                   if each.name == ECHO + "Slow")

    def test_flood_of_pings(self):
        with self.attacked() as daemon:
            address, pings = daemon.address(), frame(PING, payload=b"12345678") * 1000
            with Peer(address) as peer:
                peer.send(pings)
                self.assertIn(b"too_many_pings", peer.wait_closed())

            def once(attack):
                with Peer(address) as peer:
                    while peer.send(pings) and not attack.ending.is_set():
                        pass

            with Attack(once) as attack:
                wait_until(lambda: attack.rounds > 4, "those too who do not listen")

    def test_rapid_resets(self):
        with self.attacked({"threads": 10_000}) as daemon:
            address = daemon.address()

            def once(_):
                with Peer(address) as peer:
                    for stream in range(1, 4001, 2):
                        if not peer.send(
                                frame(HEADERS, END_HEADERS, stream, request(ECHO + "Slow")) +
                                frame(RST_STREAM, 0, stream, b"\0\0\0\x08")):
                            break

            with Attack(once) as attack:
                wait_until(lambda: attack.rounds > 4, "it has been tried")
            wait_until(lambda: self.in_flight(daemon) == 0, "their calls are over")

    def test_headers_of_a_call(self):
        with Daemon({"public": {"limits": {"metadata": "20KiB"}}}) as daemon:
            def call(size):
                return daemon.echo().Unary(EchoRequest(text="hi"), timeout=PATIENCE,
                                           metadata=[("bulk", "x" * size)])
            self.assertEqual(call(15000).text, "hi")  # more than gRPC's own 8 KiB
            with self.assertRaises(grpc.RpcError) as refused:
                call(30000)
            self.assertEqual(refused.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)

    def test_large_messages(self):
        for limits, most in (({}, 4 << 20), ({"message": "64KiB"}, 64 << 10)):
            with self.subTest(limits), Daemon({"public": {"limits": limits}}) as daemon:
                echo = daemon.echo()
                text = "x" * (most - 100)
                self.assertEqual(echo.Unary(EchoRequest(text=text), timeout=PATIENCE).text, text)
                with self.assertRaises(grpc.RpcError) as refused:
                    echo.Unary(EchoRequest(text="x" * most), timeout=PATIENCE)
                self.assertEqual(refused.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)

    def test_more_calls_than_threads(self):
        for threads in (1, 3):
            with self.subTest(threads), \
                    Daemon({"public": {"limits": {"threads": threads}}}) as daemon:
                calls = [daemon.slow(5) for _ in range(threads)]
                daemon.await_calls(threads)
                with self.assertRaises(grpc.RpcError) as refused:
                    daemon.slow(0).text()
                self.assertEqual(refused.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
                self.assertEqual(Health(daemon.channel()).check(), "SERVING")
                self.assertEqual([call.text() for call in calls], ["slept"] * threads)

    def test_flood_of_metadata(self):
        # Three megabytes a call, again and again. A block that never ends is not bounded: see README.
        with self.attacked() as daemon:
            address, block = daemon.address(), header("a", "v" * 16000)

            def once(_):
                with Peer(address) as peer:
                    peer.send(frame(HEADERS, 0, 1, request(ECHO + "Unary")) +
                              frame(CONTINUATION, 0, 1, block) * 200 +
                              frame(CONTINUATION, END_HEADERS, 1))

            with Attack(once) as attack:
                wait_until(lambda: attack.rounds > 50, "it has been tried")


class HostileAdminTest(unittest.TestCase):
    """The same on the admin socket: operators are served, and it ends in time."""

    def test_all_at_once(self):
        with contextlib.ExitStack() as stack, \
                Daemon(shutdown={"grace": f"{GRACE}s", "cancel": f"{CANCEL}s"}) as daemon:
            address, before = f"unix:{daemon.socket}", resident(daemon.pid)
            for _ in range(3):
                stack.enter_context(Peer(address, hello=False))
                stack.enter_context(Peer(address))
            pings = frame(PING, payload=b"12345678") * 1000

            def once(attack):
                with Peer(address, hello=False) as peer:
                    peer.send(b"GET / HTTP/1.1\r\n\r\n")
                    peer.wait_closed()
                with Peer(address) as peer:
                    while peer.send(pings) and not attack.ending.is_set():
                        pass
            with Attack(once, threads=1):
                for _ in range(5):
                    daemon.ctl("status", check=True)
                self.assertLess(resident(daemon.pid) - before, MEMORY)
                began = time.monotonic()
                daemon.ctl("shutdown", check=True)
                daemon.wait(PATIENCE)
                self.assertLess(time.monotonic() - began, GRACE + CANCEL + SLACK)
            daemon.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
