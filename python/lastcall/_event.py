"""Event: a stage has been reached. Set once, by the lifecycle alone; waited for by anybody."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import os
import select
import signal
import threading
import time
import weakref
from collections.abc import Generator, Iterator

from lastcall import _native
from lastcall._lengths import seconds
from lastcall._signals import look

_MAIN = threading.main_thread().ident
_LONGEST_POLL_MS = 2**31 - 1
_SLICE = 0.05  # seconds


class Event:
    """Whether a stage has been reached. Any number of threads and coroutines may wait; waiting
    takes no thread, no CPU and no interpreter lock. In a forked child everything raises
    LifecycleError.
    """

    def __init__(self, program: _native.Program, stage: str) -> None:
        self._program = program
        self._name = stage
        self._stage = _native.STAGES[stage]
        # One entry in an event loop, however many coroutines wait there.
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopEntry] = (
            weakref.WeakKeyDictionary())

    def is_set(self) -> bool:
        return self._program.reached(self._stage)

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until the stage is reached (True) or `timeout` seconds are over (False).

        In the main thread Python's own signal handlers run meanwhile; what they raise comes out.
        """
        timeout = seconds("timeout", timeout, negative=True)
        look()
        if threading.get_ident() == _MAIN and not self.is_set():
            return self._poll(timeout)
        return self._program.wait(self._stage, timeout)

    def fileno(self) -> int:
        """A descriptor, readable forever once the stage is reached; for select, poll, epoll.

        It stays the event's: do not read from it, do not close it. Raises OSError where the process
        has no descriptor left.
        """
        look()
        fd = self._program.fileno(self._stage)
        if fd < 0:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return fd

    def __await__(self) -> Generator[object, None, None]:
        """Waits in a coroutine. Cancelling it, or a timeout around it, disturbs no other waiter."""
        look()
        if self.is_set():
            return
        loop = asyncio.get_running_loop()
        entry = self._loops.get(loop)
        if entry is None or entry.over:
            entry = self._loops[loop] = _LoopEntry(self.fileno())
        yield from entry.wait().__await__()

    def _poll(self, timeout: float | None) -> bool:
        # A lock or a futex would not come back for a handler that ran in this thread; poll does.
        end = None if timeout is None or timeout == math.inf else time.monotonic() + timeout
        try:
            return self._poll_until(end)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
        # Without a descriptor handlers run now and then.
        while not self._program.wait(self._stage, _SLICE):
            if end is not None and time.monotonic() >= end:
                return False
        return True

    def _poll_until(self, end: float | None) -> bool:
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        with _signals_readable() as signals:
            poll.register(signals, select.POLLIN)
            while not self.is_set():
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return False
                # Rounded up: poll counts in milliseconds, and must not come back a moment early.
                poll.poll(None if left is None else min(int(left * 1000) + 1, _LONGEST_POLL_MS))
                with contextlib.suppress(BlockingIOError):
                    os.read(signals, 4096)
                look()  # handlers of the program's own have run
        return True

    def __repr__(self) -> str:
        return f"<lastcall.Event {self._name}>"


@contextlib.contextmanager
def _signals_readable() -> Iterator[int]:
    """A descriptor that is readable when a signal came for one of Python's handlers: one that comes
    just before poll() would otherwise wait for its end. In the main thread."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    if before != -1:  # an event loop has its own
        signal.set_wakeup_fd(before)
    try:
        yield read
    finally:
        if before == -1:
            signal.set_wakeup_fd(-1)
        os.close(read)
        os.close(write)


class _LoopEntry:
    """The coroutines of one loop that wait for one event: one reader on a descriptor of its own, so
    that a program may watch Event.fileno() in the same loop."""

    def __init__(self, fd: int) -> None:
        """In the loop. Owns: nothing of it, for the loop's own life must not hang on this."""
        self.over = False
        self._fd = os.dup(fd)
        self._waiters: weakref.WeakSet[asyncio.Future[None]] = weakref.WeakSet()
        loop = asyncio.get_running_loop()
        self._loop = weakref.ref(loop)
        loop.add_reader(self._fd, self._wake)

    async def wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            if not self._waiters:
                self._end()

    def _wake(self) -> None:
        self._end()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _end(self) -> None:
        if not self.over:
            self.over = True
            loop = self._loop()
            if loop is not None and not loop.is_closed():
                loop.remove_reader(self._fd)
            os.close(self._fd)

    def __del__(self) -> None:  # the loop went away before the stage was reached
        if not self.over:
            os.close(self._fd)
