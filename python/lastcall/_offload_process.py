"""Work in a process of its own: for pure Python that computes, which holds the interpreter lock and
with it every other thread. And it can be ended.

The processes are spawned, never forked: gRPC's threads and locks do not survive a fork.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from lastcall import _native
from lastcall._offload_threads import Killed, Piece, each
from lastcall._status import StatusError

_SPAWN = multiprocessing.get_context("spawn")

# How long one that has nothing to do may take to end by itself, in seconds.
_PATIENCE = 1.0

_PR_SET_PDEATHSIG = 1  # prctl(2)


class WorkFailed(Exception):
    """It threw, in its process; with its stack there. Or that process ended."""


class ProcessWorker:
    """One process, from its first work on. Order: belongs to one thread, which ends after it."""

    def __init__(self, program: Callable[[], _native.Program]) -> None:
        self._program = program
        self._child: _Child | None = None

    def call(self, piece: Piece) -> Any:
        request = pickle.dumps((piece.work, piece.args, piece.write is not None))
        if self._child is None or not self._child.usable():
            self.close()
            self._child = _Child(self._program())
        return self._child.call(piece, request)

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None


class _Child:
    def __init__(self, program: _native.Program) -> None:
        """Blocks: until it is started."""
        self._open = program.open("a process of offloaded work")
        self._lock = threading.Lock()
        self._piece: Piece | None = None  # that it works on
        self._killed = False
        self._ready = False  # it has imported the program's main module
        self._ours, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, os.getpid()),
                                       name="lastcall-offload", daemon=True)
        try:
            with _signals_blocked():
                self._process.start()
        except BaseException:
            self._ours.close()
            self._open.end()
            raise
        finally:
            theirs.close()

    def usable(self) -> bool:
        return not self._killed and self._process.is_alive()

    def call(self, piece: Piece, request: bytes) -> Any:
        """Blocks: until it has answered, or was killed."""
        begun = False
        try:
            # Until then nobody kills it: a client may have less patience than a start takes.
            if not self._ready:
                self._ours.recv_bytes()
                self._ready = True
            with self._lock:
                self._piece = piece
            piece.kill = lambda: self._kill(piece)
            if piece.stop.is_set():
                raise Killed
            begun = True
            self._ours.send_bytes(request)
            return self._await_answer(piece)
        except (StatusError, WorkFailed):
            raise
        except (EOFError, OSError):
            how = self._how_it_ended()
            self._kill(piece)
            if piece.stop.is_set():
                raise Killed from None
            raise WorkFailed(f"its process {how}") from None
        except BaseException:
            if begun:
                self._kill(piece)  # it may have more to say of this
            raise
        finally:
            piece.kill = None
            with self._lock:
                self._piece = None

    def close(self) -> None:
        """Blocks: until it has ended."""
        self._ours.close()
        self._process.join(0 if self._killed else _PATIENCE)
        self._process.kill()
        self._process.join()
        self._process.close()
        self._open.end()

    def _await_answer(self, piece: Piece) -> Any:
        while True:
            kind, what = pickle.loads(self._ours.recv_bytes())
            if kind == "result":
                return what
            if kind == "status":
                raise StatusError(*what)
            if kind == "failed":
                raise WorkFailed(f"in its process:\n{what}")
            assert piece.write is not None
            if not piece.write(what):
                raise Killed

    def _kill(self, piece: Piece) -> None:
        """Threads: any. It works on nothing else, then."""
        with self._lock:
            if self._piece is piece:
                self._killed = True
                self._process.kill()

    def _how_it_ended(self) -> str:
        self._process.join(_PATIENCE)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"ended with exit code {code}"
        return f"was ended by {signal.Signals(-code).name}"


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """What a terminal or a service manager sends to all is for the lifecycle: a process of its work
    has them blocked from its first moment."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _native.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, parent: int) -> None:
    """The process: one piece of work after another, until its parent has closed the connection."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    for number in _native.SIGNALS:
        signal.signal(number, lambda *_: None)  # its own children have the default
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _native.SIGNALS)
    with contextlib.suppress(EOFError, OSError, _Gone):
        connection.send_bytes(b"ready")
        while True:
            _answer(connection, connection.recv_bytes())


class _Gone(BaseException):
    """The parent is."""


def _answer(connection: Connection, request: bytes) -> None:
    def say(kind: str, what: Any) -> bool:
        message = pickle.dumps((kind, what))
        try:
            connection.send_bytes(message)
        except OSError:
            raise _Gone from None
        return True

    try:
        work, args, streams = pickle.loads(request)
        result = work(*args)
        if streams:
            each(result, lambda row: say("row", row))
            result = None
        say("result", result)
    except _Gone:
        raise
    except StatusError as error:
        say("status", (error.code, error.details))
    except BaseException:
        say("failed", traceback.format_exc())
