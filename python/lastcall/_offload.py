"""Offload: where heavy work goes, so that the threads and loops which serve calls are free and a
failure is a status, never a hang."""

from __future__ import annotations

import asyncio
import functools
import math
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from lastcall import _native
from lastcall._context import is_async, is_context, on_end
from lastcall._lengths import length, seconds
from lastcall._offload_stream import AsyncRows, Feed, Rows
from lastcall._offload_threads import (REST, OffloadCounts, OffloadThreads, Piece, ThreadWorker,
                                       gone, stopping)
from lastcall._status import StatusError, abort, abort_async

T = TypeVar("T")

_CANCEL = _native.STAGES["cancel"]


class Offload:
    """Threads, or processes, of its own with a bounded queue; life.offload() makes it.

    Work is any function that blocks or computes, called with `args`. It is answered once: by what
    it returns, by a StatusError that it raises itself, or, whatever it does, by one of these:

        RESOURCE_EXHAUSTED  the queue is full, or no thread can be made; nothing runs
        DEADLINE_EXCEEDED   `deadline` seconds, or the client's own, are over; work that is queued
                            still never begins
        INTERNAL            it raised something else; the log has it, with the traceback
        CANCELLED           the client is gone, or the stage is cancel. Not in grace

    With a `context`, as the handler of a call gets it, that is how the call ends: what run,
    run_async and the streams raise is for grpcio, and nothing for the handler to handle. Without
    one (None), and from begin's Future, it is a StatusError. Either way grace lasts until it is
    answered.

    Whoever is answered leaves work in a thread behind: its stop_token() is set, and its thread
    stays busy until it returns. Work in a process is killed.

    Threads: any, for every method.
    """

    def __init__(self, program: Callable[[], _native.Program], threads: int | None,
                 processes: int | None, queue: int, deadline: float) -> None:
        if threads is not None and processes is not None:
            raise ValueError("an offload has threads or processes: make two")
        self._program = program
        self._deadline = length("deadline", deadline)
        queue = _whole("queue", queue, 0)
        if processes is None:
            self._threads = OffloadThreads(_whole("threads", 4 if threads is None else threads, 1),
                                           queue, ThreadWorker, REST)
        else:
            from lastcall._offload_process import ProcessWorker  # with all of multiprocessing

            self._threads = OffloadThreads(_whole("processes", processes, 1), queue,
                                           functools.partial(ProcessWorker, program), None)

    def run(self, context: Any, work: Callable[..., T], *args: Any,
            deadline: float | None = None) -> T:
        """What work(*args) returns. For synchronous handlers.

        Blocks: until it is answered. `deadline`: seconds from now; None: as configured.
        """
        self._check(context, in_loop=False)
        try:
            result: T = self._begin(context, work, args, deadline).answer.result()
            return result
        except StatusError as error:
            if context is None:
                raise
            abort(context, error)

    async def run_async(self, context: Any, work: Callable[..., T], *args: Any,
                        deadline: float | None = None) -> T:
        """The same for coroutines. Cancelling it abandons the work."""
        self._check(context, in_loop=True)
        try:
            result: T = await asyncio.wrap_future(
                self._begin(context, work, args, deadline).answer)
            return result
        except StatusError as error:
            if context is None:
                raise
            await abort_async(context, error)

    def begin(self, context: Any, work: Callable[..., T], *args: Any,
              deadline: float | None = None) -> Future[T]:
        """Returns immediately. The future's cancel() abandons the work, also when it runs; what is
        called when it is done must not block. A StatusError of it does not end the call."""
        return self._begin(context, work, args, deadline).answer

    def stream(self, context: Any, producer: Callable[..., Iterable[T]], *args: Any,
               buffer: int = 8, deadline: float | None = None) -> Rows[T]:
        """What producer(*args) yields, one after another: for a synchronous handler that returns a
        stream, which may return this.

        `buffer` rows may wait for the client, besides the one on its way; then the producer waits,
        and nobody else does. `deadline` is the producer's. Where the client is gone, or this is
        closed, a generator is closed at its next yield.
        """
        self._check(context, in_loop=False)
        feed = Feed(_whole("buffer", buffer, 1))
        piece = self._begin(context, producer, args, deadline, feed)
        return Rows(context, feed, piece.answer)

    def stream_async(self, context: Any, producer: Callable[..., Iterable[T]], *args: Any,
                     buffer: int = 8, deadline: float | None = None) -> AsyncRows[T]:
        """The same for coroutines: `async for row in …stream_async(context, …): yield row`."""
        self._check(context, in_loop=True)
        feed = Feed(_whole("buffer", buffer, 1))
        piece = self._begin(context, producer, args, deadline, feed)
        return AsyncRows(context, feed, piece.answer)

    def counts(self) -> OffloadCounts:
        return self._threads.counts()

    def _close(self) -> None:
        """The stage is cancel. Does not block."""
        self._threads.close()

    def _check(self, context: Any, in_loop: bool) -> None:
        if context is not None and not is_context(context):
            raise TypeError("an offload takes the context of a call, as its handler gets it, or "
                            f"None, not {context!r}")
        if in_loop:
            if context is not None and not is_async(context):
                raise TypeError("a call of a grpc.server has no event loop: say run() or stream()")
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise _native.LifecycleError(
            "this would stop this thread's event loop: await run_async(), or say stream_async()")

    def _begin(self, context: Any, work: Callable[..., Any], args: tuple[Any, ...],
               deadline: float | None, feed: Feed | None = None) -> Piece:
        if not callable(work):
            raise TypeError(f"work is a function, not {work!r}")
        now = time.monotonic()
        given = seconds("deadline", deadline)
        by = now + (self._deadline if given is None else given)
        program = self._program()
        name = _name(work)
        if context is None:
            in_flight = program.enter(f"offloaded work {name}", "")
        else:
            left = context.time_remaining()
            by = min(by, now + (math.inf if left is None else left))
            in_flight = program.hold(f"offloaded work {name}")
        write = None if feed is None else feed.write
        piece = Piece(name, work, args, write, by, program, in_flight)
        if program.reached(_CANCEL):  # entered, then looked
            piece.tell(None, stopping())
            return piece
        self._threads.begin(piece)
        if context is not None:
            _when_over(context, self._threads, piece)
        return piece


def _when_over(context: Any, threads: OffloadThreads, piece: Piece) -> None:
    weak = weakref.ref(piece)  # the call may be long, and have much work

    def ended() -> None:
        found = weak()
        if found is not None:
            threads.abandon(found, gone())

    on_end(context, ended)


def _name(work: Any) -> str:
    while isinstance(work, functools.partial):
        work = work.func
    return getattr(work, "__qualname__", None) or type(work).__qualname__


def _whole(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be {least} or more, not {value}")
    return value
