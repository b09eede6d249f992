"""Threads for what takes time, or never returns: so many and no more, a bounded queue, and an
answer in time whatever the work does. What Offload stands on.

Nothing can end a thread that waits for a database that is gone. So work may be abandoned: it is
answered, and its thread goes on; what it returns is dropped. It still counts towards the bound.
"""

from __future__ import annotations

import collections
import contextvars
import heapq
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from lastcall import _log, _native
from lastcall._status import StatusError

# How long a thread without work waits for more, in seconds.
REST = 10.0

_LONGEST_WAIT = 1e6  # seconds; threading takes no infinity


def late() -> StatusError:
    return StatusError("DEADLINE_EXCEEDED", "the work was not done in time")


def gone() -> StatusError:
    return StatusError("CANCELLED", "the call was cancelled")


def stopping() -> StatusError:
    return StatusError("CANCELLED", "the server is stopping")


def _busy() -> StatusError:
    return StatusError("RESOURCE_EXHAUSTED",
                       "the server has too much of this work already; try again later")


def _threw() -> StatusError:
    return StatusError("INTERNAL", "the work failed; the server's log says how")


@dataclass(frozen=True)
class OffloadCounts:
    """One moment of an Offload."""

    busy: int = 0
    """threads (or processes) that work, and"""
    abandoned: int = 0
    """those of them whose answer nobody waits for any more"""
    queued: int = 0
    most_queued: int = 0
    begun: int = 0
    """pieces of work so far that were not refused;"""
    refused: int = 0
    """with RESOURCE_EXHAUSTED, and"""
    late: int = 0
    """that were answered DEADLINE_EXCEEDED"""


class StopToken:
    """Whether nobody wants what a piece of work returns any more. Threads: any."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until it is set (True) or `timeout` seconds are over (False)."""
        return self._event.wait(timeout)


_token: contextvars.ContextVar[StopToken] = contextvars.ContextVar("lastcall_stop_token")
_never = StopToken(threading.Event())


def stop_token() -> StopToken:
    """Of the offloaded work that asks: set when its client is gone, its deadline has passed or the
    stage is cancel. Elsewhere, and in work of a process, which is killed instead, never set."""
    return _token.get(_never)


class Piece:
    """A piece of work."""

    def __init__(self, name: str, work: Callable[..., Any], args: tuple[Any, ...],
                 write: Callable[[Any], bool] | None, by: float, program: _native.Program,
                 in_flight: _native.Work) -> None:
        self.name = name
        self.work = work
        self.args = args
        self.write = write  # for each item of what it returns; None: that itself is the answer
        self.by = by
        self.stop = threading.Event()
        self.answer = Answer()
        self.kill: Callable[[], None] | None = None  # ends it, where that can be done
        self.running = False  # under the lock of its threads, as what follows
        self.abandoned = False
        self.id = 0
        self._program = program
        self._in_flight = in_flight  # grace lasts until it is answered
        self._context = contextvars.copy_context()

    def run(self, worker: Worker) -> Any:
        # Until it has returned the program has not stopped, and names it with its stack.
        with self._program.open(f"offloaded work {self.name}"):
            self._context.run(_token.set, StopToken(self.stop))
            return self._context.run(worker.call, self)

    def tell(self, result: Any, error: StatusError | None) -> None:
        """Once."""
        if error is None:
            self.answer.set_result(result)
        else:
            self.answer.set_exception(error)
        self._in_flight.end()

    def cancelled(self) -> None:
        """By the answer's own cancel()."""
        self._in_flight.end()


class Answer(Future[Any]):
    """What becomes of a piece of work. Cancelled: nobody wants it any more."""

    abandon: Callable[[], bool] | None = None  # until it is answered

    def cancel(self) -> bool:
        abandon = self.abandon
        if abandon is not None and abandon():
            return super().cancel()
        return self.cancelled()


def each(rows: Iterable[Any], write: Callable[[Any], bool]) -> None:
    """Writes them one after another, and closes a generator that nobody wants more of."""
    iterator = iter(rows)
    try:
        for row in iterator:
            if not write(row):
                break
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


class Worker(Protocol):
    """Of one thread; how it does its work."""

    def call(self, piece: Piece) -> Any:
        """Blocks: until it is done."""
    def close(self) -> None: ...


class Killed(Exception):
    """The work was ended, for nobody wants its answer."""


class ThreadWorker:
    """Does it itself."""

    def call(self, piece: Piece) -> Any:
        result = piece.work(*piece.args)
        if piece.write is None:
            return result
        each(result, piece.write)

    def close(self) -> None: ...


class OffloadThreads:
    """Threads: any, for every method. They are daemons: who must wait for what runs here is the
    lifecycle, which has a bound."""

    def __init__(self, threads: int, queue: int, make_worker: Callable[[], Worker],
                 rest: float | None) -> None:
        self._most = threads
        self._bound = queue
        self._make_worker = make_worker
        self._rest = rest
        self._lock = threading.RLock()  # a signal's handler may offload, too
        self._more = threading.Condition(self._lock)  # queued, or the end
        self._due = threading.Condition(self._lock)   # the first instant is another, or the end
        self._queue: collections.deque[Piece] = collections.deque()
        self._threads = 0
        self._resting = 0   # of those: that wait for more,
        self._starting = 0  # and that were made for something and have yet to take it
        self._abandoned = 0
        self._most_queued = 0
        self._refused = 0
        self._late = 0
        self._keeping_time = False
        self._closed = False
        self._pieces: dict[int, Piece] = {}  # that are not answered
        self._instants: list[tuple[float, int]] = []  # of those, and of some that are; a heap
        self._last = 0

    def begin(self, piece: Piece) -> None:
        """Returns immediately; a refusal is told in here."""
        piece.answer.abandon = lambda: self._abandon(piece, None)
        with self._lock:
            refusal = self._try_begin(piece)
        if refusal is not None:
            piece.answer.abandon = None
            piece.tell(None, refusal)

    def abandon(self, piece: Piece, error: StatusError) -> None:
        """Its answer is this, where it has none. Where no thread has begun it, none will."""
        if self._abandon(piece, error):
            piece.tell(None, error)

    def close(self) -> None:
        """Whatever is there or will be is cancelled, soon; threads end. Does not block."""
        with self._lock:
            self._closed = True
            self._more.notify_all()
            self._due.notify_all()

    def counts(self) -> OffloadCounts:
        with self._lock:
            return OffloadCounts(self._threads - self._resting, self._abandoned, self._waiting(),
                                 self._most_queued, self._last, self._refused, self._late)

    # Order: the lock is held, for these.

    def _waiting(self) -> int:
        """What will find none of those who come for more."""
        return max(0, len(self._queue) - self._resting - self._starting)

    def _try_begin(self, piece: Piece) -> StatusError | None:
        if self._closed:
            return stopping()
        if piece.by <= time.monotonic():
            self._late += 1
            return late()
        one_more = self._threads < self._most
        none_free = self._resting + self._starting <= len(self._queue)
        if not one_more and none_free and self._waiting() >= self._bound:
            self._refused += 1
            return _busy()
        self._queue.append(piece)
        try:
            self._need_timekeeper()
            if self._resting >= len(self._queue):
                self._more.notify()
            elif one_more:
                self._need_thread()
        except RuntimeError:  # there is no thread left
            self._queue.pop()
            self._refused += 1
            return _busy()
        self._most_queued = max(self._most_queued, self._waiting())
        self._last += 1
        piece.id = self._last
        self._pieces[piece.id] = piece
        heapq.heappush(self._instants, (piece.by, piece.id))
        if self._instants[0][1] == piece.id:
            self._due.notify()
        return None

    def _need_timekeeper(self) -> None:
        if not self._keeping_time:
            threading.Thread(target=self._keep_time, name="lastcall-offload-time",
                             daemon=True).start()
            self._keeping_time = True

    def _need_thread(self) -> None:
        self._threads += 1
        self._starting += 1
        try:
            threading.Thread(target=self._work, name="lastcall-offload", daemon=True).start()
        except RuntimeError:
            self._threads -= 1
            self._starting -= 1
            if self._threads == 0:  # else one of the others will come to it
                raise

    def _take(self, piece: Piece) -> bool:
        """Whether it has yet to be answered. Who is told so answers it."""
        if self._pieces.pop(piece.id, None) is None:
            return False
        piece.answer.abandon = None
        if len(self._instants) > 2 * len(self._pieces) + 64:
            self._instants = [each for each in self._instants if each[1] in self._pieces]
            heapq.heapify(self._instants)
        return True

    def _take_due(self) -> list[tuple[Piece, StatusError]]:
        if self._closed:
            return [(piece, stopping()) for piece in self._pieces.values()]
        due = []
        now = time.monotonic()
        while self._instants and self._instants[0][0] <= now:
            piece = self._pieces.get(heapq.heappop(self._instants)[1])
            if piece is not None:
                due.append((piece, late()))
        return due

    # Order: the lock is not held.

    def _abandon(self, piece: Piece, error: StatusError | None) -> bool:
        with self._lock:
            if not self._take(piece):
                return False
            if error is not None and error.code == "DEADLINE_EXCEEDED":
                self._late += 1
            if piece.running:
                piece.abandoned = True
                self._abandoned += 1
            else:
                self._queue.remove(piece)
        piece.stop.set()  # then look: who sets `kill` looks at this after it
        kill = piece.kill
        if kill is not None:
            kill()
        if error is None:
            piece.cancelled()
        return True

    def _keep_time(self) -> None:
        """The one thread that answers for work which does not."""
        while True:
            with self._lock:
                due = self._take_due()
                if not due:
                    if self._closed:
                        return
                    left = (self._instants[0][0] - time.monotonic() if self._instants
                            else _LONGEST_WAIT)
                    self._due.wait(min(max(0.0, left), _LONGEST_WAIT))
                    continue
            for piece, error in due:
                self.abandon(piece, error)
            del due, piece  # what they captured may end in its own time

    def _work(self) -> None:
        worker = self._make_worker()
        try:
            piece = self._next(first=True)
            while piece is not None:
                self._run(worker, piece)
                del piece
                piece = self._next()
        finally:
            worker.close()

    def _next(self, first: bool = False) -> Piece | None:
        """None: nobody came, and the thread is to end."""
        with self._lock:
            self._starting -= first
            self._resting += 1
            self._more.wait_for(lambda: self._queue or self._closed, self._rest)
            self._resting -= 1
            if not self._queue:
                self._threads -= 1
                return None
            piece = self._queue.popleft()
            piece.running = True
            return piece

    def _run(self, worker: Worker, piece: Piece) -> None:
        result, error = None, None
        if piece.by <= time.monotonic():
            self.abandon(piece, late())
        else:
            try:
                result = piece.run(worker)
            except StatusError as answer:
                error = answer
            except Killed:
                error = gone()
            except BaseException as thrown:  # whatever it is, somebody waits
                _log.exception(f"offloaded work {piece.name} threw")
                error = _threw()
                error.__cause__ = thrown
        with self._lock:
            piece.running = False
            if piece.abandoned:
                self._abandoned -= 1
            wanted = self._take(piece)
        if wanted:
            piece.tell(result, error)
