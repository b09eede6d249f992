"""A client that hears of a replacement late: what it sends meanwhile is answered, and it is not sent away
with an error. By hand, for gRPC's own clients answer as soon as they are busy."""

import unittest

import echo_pb2
import echo_pb2_grpc
from harness import Daemon
from hostile_peers import DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, Peer, \
    frame, message, request

ACK = 1
ANY_STREAM = 0x7fffffff


class LatePeer(Peer):
    """Answers no PING until it is told to, and each from then on."""

    def __init__(self, address):
        super().__init__(address)
        self.acknowledge()
        self._heard = self.socket.makefile("rb")
        self._owed = []  # answers to PINGs; None: nothing is put off any more

    def __exit__(self, *args):
        self._heard.close()
        super().__exit__(*args)

    def call(self, stream):
        headers = frame(HEADERS, END_HEADERS, stream, request("/lastcall.example.Echo/Unary"))
        self.send(headers + frame(DATA, END_STREAM, stream, message(echo_pb2.EchoRequest())))

    def answer_pings(self):
        for answer in self._owed:
            self.send(answer)
        self._owed = None

    def next(self):
        """Whichever comes next: an answer, a reset, a last word or the end; with its stream and what it
        says."""
        while head := self._heard.read(9):
            payload = self._heard.read(int.from_bytes(head[:3], "big"))
            kind, stream = head[3], int.from_bytes(head[5:9], "big")
            if kind == PING and not head[4] & ACK:
                answer = frame(PING, ACK, 0, payload)
                if self._owed is None:
                    self.send(answer)
                else:
                    self._owed.append(answer)
            elif kind == DATA:
                return "answer", stream, echo_pb2.EchoReply.FromString(payload[5:]).pid
            elif kind == RST_STREAM:
                return "reset", stream, int.from_bytes(payload, "big")
            elif kind == GOAWAY and int.from_bytes(payload[:4], "big") != ANY_STREAM:
                return "last word", int.from_bytes(payload[:4], "big"), \
                    int.from_bytes(payload[4:8], "big")
        return "end", None, None


class LateTest(unittest.TestCase):
    def test_who_hears_late_is_answered_and_leaves_without_an_error(self):
        for kind in ("tcp", "unix"):
            with self.subTest(kind), Daemon() as daemon, LatePeer(daemon.address(kind=kind)) as peer:
                peer.call(1)
                what, stream, old = peer.next()
                self.assertEqual((what, stream), ("answer", 1))
                daemon.ctl("restart", "main", check=True)
                for _ in range(3):  # that much later
                    with daemon.channel(kind=kind) as channel:
                        reply = echo_pb2_grpc.EchoStub(channel).Unary(echo_pb2.EchoRequest())
                    self.assertNotEqual(reply.pid, old, "its successor serves")
                peer.call(3)
                self.assertEqual(peer.next(), ("answer", 3, old))
                peer.answer_pings()
                self.assertEqual(peer.next(), ("last word", 3, 0))


if __name__ == "__main__":
    unittest.main()
