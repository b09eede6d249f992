"""What a producer has yielded and its client has not taken: so much, and then that one waits."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import threading
from concurrent.futures import CancelledError
from typing import Any, Generic, TypeVar

from lastcall._offload_threads import Answer, gone
from lastcall._status import StatusError, abort, abort_async

T = TypeVar("T")


class Feed:
    """Between a producer in a thread and whoever reads. Either may be first to go."""

    def __init__(self, buffer: int) -> None:
        self._buffer = buffer
        self._lock = threading.RLock()  # a reader may be collected while its own thread has it
        self._room = threading.Condition(self._lock)
        self._more = threading.Condition(self._lock)
        self._rows: collections.deque[Any] = collections.deque()
        self._closed = False
        self._ended = False
        self._error: StatusError | None = None
        self._waiter: asyncio.Future[None] | None = None  # of a reader in a loop

    def write(self, row: Any) -> bool:
        """Blocks: while the reader has not taken enough. False: nobody wants more."""
        with self._lock:
            self._room.wait_for(lambda: self._closed or len(self._rows) < self._buffer)
            if self._closed:
                return False
            self._rows.append(row)
            self._wake()
            return True

    def end(self, answer: Answer) -> None:
        """The producer's answer. What it has written is still there, unless it failed."""
        try:
            error = answer.exception()
        except CancelledError:
            error = gone()
        with self._lock:
            if error is not None:
                self._close()
            self._error = error if isinstance(error, StatusError) else None
            self._ended = True
            self._wake()

    def close(self) -> None:
        """Nobody reads any more."""
        with self._lock:
            self._close()

    def read(self) -> Any:
        """Blocks: until there is a row. Raises EOFError: that was the last; StatusError."""
        with self._lock:
            self._more.wait_for(lambda: self._rows or self._ended)
            return self._take()

    async def read_async(self) -> Any:
        while True:
            with self._lock:
                if self._rows or self._ended:
                    return self._take()
                waiter = self._waiter = asyncio.get_running_loop().create_future()
            await waiter

    # Order: the lock is held, for these.

    def _take(self) -> Any:
        if self._rows:
            self._room.notify()
            return self._rows.popleft()
        if self._error is not None:
            raise self._error
        raise EOFError

    def _close(self) -> None:
        self._closed = True
        self._rows.clear()
        self._room.notify_all()

    def _wake(self) -> None:
        self._more.notify()
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                waiter.get_loop().call_soon_threadsafe(_set, waiter)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class _Reader:
    def __init__(self, context: Any, feed: Feed, answer: Answer) -> None:
        self._context = context
        self._feed = feed
        self._answer = answer
        answer.add_done_callback(feed.end)  # type: ignore[arg-type]

    def close(self) -> None:
        """The producer is let go: it is told by its stop_token and at its next yield."""
        self._feed.close()
        self._answer.cancel()

    def __del__(self) -> None:
        self.close()


class Rows(_Reader, Generic[T]):
    """An iterator. Threads: one."""

    def __iter__(self) -> Rows[T]:
        return self

    def __next__(self) -> T:
        """Blocks: until the producer has yielded, or is answered."""
        try:
            row: T = self._feed.read()
            return row
        except EOFError:
            raise StopIteration from None
        except StatusError as error:
            if self._context is None:
                raise
            abort(self._context, error)


class AsyncRows(_Reader, Generic[T]):
    """An asynchronous iterator, for one coroutine."""

    def __aiter__(self) -> AsyncRows[T]:
        return self

    async def __anext__(self) -> T:
        try:
            row: T = await self._feed.read_async()
            return row
        except EOFError:
            raise StopAsyncIteration from None
        except StatusError as error:
            if self._context is None:
                raise
            await abort_async(self._context, error)
        except asyncio.CancelledError:
            self.close()
            raise

    async def aclose(self) -> None:
        self.close()
