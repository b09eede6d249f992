"""HTTP/2 by hand, for clients that do what no library would."""

import contextlib
import select
import socket
import struct
import threading

from google.protobuf.wrappers_pb2 import StringValue

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = \
    0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW = 4  # of the settings


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + \
        struct.pack(">I", stream) + payload


def integer(value, prefix):
    """As HPACK writes lengths (RFC 7541, 5.1)."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes([value])
    encoded, value = bytes([most]), value - most
    while value >= 128:
        encoded, value = encoded + bytes([value % 128 + 128]), value // 128
    return encoded + bytes([value])


def header(name, value):
    """A literal that nobody keeps; text, or any bytes."""
    name, value = (each if isinstance(each, bytes) else each.encode() for each in (name, value))
    return b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value


def request(method, more=b""):
    """The headers of a gRPC call."""
    return (header(":method", "POST") + header(":scheme", "http") + header(":path", method) +
            header(":authority", "x") + header("te", "trailers") +
            header("content-type", "application/grpc") + more)


def message(proto):
    data = proto.SerializeToString()
    return b"\0" + struct.pack(">I", len(data)) + data


class Peer:
    """A connection that sends what it is told to, and reads only when asked."""

    def __init__(self, address, hello=True):
        local = address.startswith("unix:")
        self.socket = socket.socket(socket.AF_UNIX if local else socket.AF_INET)
        host, port = address.rsplit(":", 1)
        try:
            self.socket.connect(port if local else (host, int(port)))
        except OSError:
            self.socket.close()
            raise
        self.socket.settimeout(60)
        if hello:
            self.send(PREFACE + frame(SETTINGS))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def acknowledge(self):
        """Reads the other end's settings and says so."""
        assert self.socket.recv(65536)
        assert self.send(frame(SETTINGS, 1))

    def send(self, data):
        """False: the other end has had enough, or reads nothing any more."""
        self.socket.settimeout(2)
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(60)

    def hang_up(self):
        """From any thread: whoever reads or sends here is told."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def wait_closed(self):
        """Reads until the other end closes; what it had to say."""
        heard = b""
        with contextlib.suppress(ConnectionError):
            while more := self.socket.recv(65536):
                heard += more
        return heard


class Hoarder(Peer):
    """A connection that keeps to what the other end lets it send, and uses all of it."""

    def __init__(self, address):
        super().__init__(address)
        self._heard = b""
        self._most = 65535  # of each stream, at first
        self._left = {0: 65535}
        self.paid = False    # everything was sent
        self.closed = False  # before that
        self.refused = 0     # calls that the other end has ended

    def hoard(self, calls, size):
        """Begins so many calls of Unary, each with all but the last byte of a message."""
        streams = range(1, 2 * calls, 2)
        start = b"\0" + struct.pack(">I", size + 1)
        owed = dict.fromkeys(streams, memoryview(start + b"\0" * size))
        for stream in streams:
            self._begin(stream, "Unary")
        self._pay(owed)

    def ask(self, calls, wanted):
        """Begins so many calls of ServerStream, and takes no answer."""
        streams = range(1, 2 * calls, 2)
        for stream in streams:
            self._begin(stream, "ServerStream")
        self._pay(dict.fromkeys(streams, memoryview(message(wanted))), END_STREAM)

    def stay(self, over):
        """Reads nothing more, until the event is set or the other end has closed."""
        gone = select.poll()
        gone.register(self.socket, select.POLLRDHUP)
        while not over.is_set() and not gone.poll(100):
            pass

    def _begin(self, stream, method):
        self._left[stream] = self._most
        self.send(frame(HEADERS, END_HEADERS, stream, request("/lastcall.example.Echo/" + method)))

    def _pay(self, owed, flags=0):
        with contextlib.suppress(OSError):
            while owed:
                sent = False
                for stream in list(owed):
                    size = min(len(owed[stream]), self._left[0], self._left[stream], 16384)
                    if size <= 0:
                        continue
                    now, owed[stream] = owed[stream][:size], owed[stream][size:]
                    self._left[0] -= size
                    self._left[stream] -= size
                    sent = True
                    last = 0 if owed[stream] else flags
                    self.socket.sendall(frame(DATA, last, stream, bytes(now)))
                    if not owed[stream]:
                        del owed[stream]
                if (not sent or self._speaks()) and not self._listen(owed):
                    break
        self.closed = bool(owed)
        self.paid = not owed

    def _speaks(self):
        return bool(select.select([self.socket], [], [], 0)[0])

    def _listen(self, owed):
        """Reads some: what it may send now, and which calls are over."""
        heard = self.socket.recv(65536)
        self._heard += heard
        while len(self._heard) >= 9:
            length = int.from_bytes(self._heard[:3], "big")
            if len(self._heard) < 9 + length:
                break
            kind, flags = self._heard[3:5]
            stream = int.from_bytes(self._heard[5:9], "big")
            payload, self._heard = self._heard[9:9 + length], self._heard[9 + length:]
            self._take(kind, flags, stream, payload, owed)
        return bool(heard)

    def _take(self, kind, flags, stream, payload, owed):
        if kind == WINDOW_UPDATE:
            self._left[stream] += int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & 1:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at:at + 6])
                if name == INITIAL_WINDOW:
                    for each in self._left:
                        self._left[each] += value - self._most if each else 0
                    self._most = value
            self.socket.sendall(frame(SETTINGS, 1))
        elif kind == PING and not flags & 1:
            self.socket.sendall(frame(PING, 1, 0, payload))
        elif kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
            self.refused += owed.pop(stream, None) is not None


class Attack:
    """What several peers do, each in a thread of its own, again and again until it is over: `once` is
    called with the attack, whose `ending` is set then."""

    def __init__(self, once, threads=2):
        self.ending = threading.Event()
        self.rounds = 0
        self._once = once
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self):
        while not self.ending.is_set():
            with contextlib.suppress(OSError):
                self._once(self)
                self.rounds += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self._threads:
            thread.join()


class CallPeer(Peer):
    """A connection with one call of the health service, or of another, on stream 1."""

    def __init__(self, address, method, settings=b"", service="grpc.health.v1.Health",
                 asked=None, flags=END_STREAM):  # None: a message of no bytes
        super().__init__(address, hello=False)
        self.send(PREFACE + frame(SETTINGS, payload=settings) +
                  frame(HEADERS, END_HEADERS, 1, request(f"/{service}/{method}")) +
                  frame(DATA, flags, 1, message(asked or StringValue())))
        self._heard = b""

    def frame(self):
        """The next that comes: (kind, flags, stream, payload)."""
        while len(self._heard) < 9 or len(self._heard) < 9 + self._length():
            more = self.socket.recv(65536)
            assert more, "the connection was closed"
            self._heard += more
        length = self._length()
        kind, flags, stream = struct.unpack(">BBI", self._heard[3:9])
        payload, self._heard = self._heard[9:9 + length], self._heard[9 + length:]
        return kind, flags, stream, payload

    def _length(self):
        return int.from_bytes(self._heard[:3], "big")

    def until(self, wanted):
        """The kinds of all frames up to the first that is wanted, and that one."""
        kinds = []
        while True:
            found = self.frame()
            kinds.append(found[0])
            if wanted(*found):
                return kinds, found

    def is_quiet(self, seconds):
        """Whether its call does not end in that time."""
        self.socket.settimeout(seconds)
        try:
            self.until(ends)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(60)
        return False


def ends(kind, flags, stream, _):
    return stream == 1 and (kind == RST_STREAM or flags & END_STREAM)
