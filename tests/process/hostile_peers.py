"""HTTP/2 by hand, for clients that do what no library would."""

import contextlib
import socket
import struct
import threading

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


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
    """A literal that nobody keeps."""
    return b"\0" + integer(len(name), 7) + name.encode() + integer(len(value), 7) + value.encode()


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

    def wait_closed(self):
        """Reads until the other end closes."""
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(65536):
                pass


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
