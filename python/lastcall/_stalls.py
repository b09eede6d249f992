"""Calls that make no progress, event loops that do not turn, and an interpreter lock that nobody gives
back: seen, and said to the log with the Python stack.

A daemon thread looks once a second, while servers are attached and nothing stops. What it says is by the
rules of docs/stalls.md: the same kind again only when it has lasted twice as long, few in a minute.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import math
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from lastcall import _frames, _log, _native
from lastcall._context import is_async
from lastcall._lengths import seconds

_LOOK = 1.0  # seconds from one look to the next
_FROZEN = 1.0  # how long a loop stands still, or the interpreter lock is held, until that is said
_MINUTE = 60.0
_FORGOTTEN = 600.0
_A_MINUTE = 5  # reports
_KNOWN = 1000  # kinds
_MOST_STACKS = 20  # in one look


class Reports:
    """Which stalls are said, so that an operator can bear it."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, float]] = {}  # the age that was said, when it was seen
        self._said: collections.deque[float] = collections.deque()
        self._suppressed: set[str] = set()

    def says(self, kind: str, age: float, now: float) -> bool:
        said, seen = self._known.get(kind, (0.0, -math.inf))
        if now - seen < _FORGOTTEN:
            self._known[kind] = (said, now)
            if age < 2 * said:
                return False
        while self._said and now - self._said[0] >= _MINUTE:
            self._said.popleft()
        if len(self._said) >= _A_MINUTE:
            if len(self._suppressed) < _KNOWN:
                self._suppressed.add(kind)
            return False
        self._said.append(now)
        self._suppressed.discard(kind)
        self._known[kind] = (age, now)
        if len(self._known) > _KNOWN:
            del self._known[min(self._known, key=lambda each: self._known[each][1])]
        return True

    def take_suppressed(self) -> int:
        count = len(self._suppressed)
        self._suppressed.clear()
        return count


class Call:
    """One call while its handler runs. Threads: its handler's."""

    __slots__ = ("coroutine", "context", "method", "outside", "progressed", "task", "thread")

    def __init__(self, method: str, context: Any) -> None:
        self.method = method
        self.context = context
        self.progressed = time.monotonic()
        self.outside = False  # gRPC has it, or its client: not the handler
        self.thread = threading.get_ident()
        self.task: asyncio.Task[Any] | None = None
        self.coroutine: Any = None  # of a unary handler

    def leaves(self) -> None:
        self.outside = True

    def returns(self) -> None:
        self.thread = threading.get_ident()
        self.progressed = time.monotonic()
        self.outside = False


class Requests:
    """The requests of a stream for a synchronous handler, which waits for its client in here."""

    def __init__(self, inner: Iterator[Any], call: Call) -> None:
        self._inner = inner
        self._call = call

    def __iter__(self) -> Requests:
        return self

    def __next__(self) -> Any:
        self._call.leaves()
        try:
            return next(self._inner)
        finally:
            self._call.returns()

    next = __next__  # grpcio's has it

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Loop:
    """An event loop, and whether it turns."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.thread = threading.get_ident()
        self.forgiven = -math.inf  # none of its calls is blamed for what was before
        self._asked: float | None = None

    def _turned(self) -> None:
        self.thread = threading.get_ident()
        self._asked = None

    def stands_still(self, now: float, forgiven: float) -> float:
        """For how long at the least; 0: it turns, or need not."""
        if not self.loop.is_running():
            self._asked = None
        elif self._asked is None:
            self._asked = now
            try:
                self.loop.call_soon_threadsafe(self._turned)
            except RuntimeError:  # closed just now
                self._asked = None
        else:
            return now - max(self._asked, forgiven)
        return 0.0


class Stalls:
    """Threads: any, for every method."""

    def __init__(self, stall_after: float | None, long_polling: Iterable[str]) -> None:
        after = seconds("stall_after", stall_after)
        if after == 0:
            raise ValueError("stall_after is more than 0 seconds; None looks for no stalls")
        if isinstance(long_polling, str):
            raise TypeError(f"long_polling is a list of methods: [{long_polling!r}]")
        self._long_polling = frozenset(long_polling)
        for method in self._long_polling:
            if not isinstance(method, str) or not method.startswith("/") or method.count("/") != 2:
                raise ValueError(f'a method is "/package.Service/Method", not {method!r}')
        self._after = math.inf if after is None else after
        self._calls: dict[int, Call] = {}
        self._ended: collections.deque[tuple[float, str]] = collections.deque(maxlen=_A_MINUTE)
        self._loops: dict[asyncio.AbstractEventLoop, _Loop] = {}
        self._reports = Reports()
        self._forgiven = -math.inf  # nobody is blamed for what was before
        self._suppressed_said = -math.inf
        self._started = False

    def enter(self, method: str, context: Any) -> Call:
        call = Call(method, context)
        if is_async(context):
            call.task = asyncio.current_task()
        self._calls[id(call)] = call
        return call

    def leave(self, call: Call) -> None:
        del self._calls[id(call)]
        self._ended.append((time.monotonic(), call.method))

    def watch(self, program: _native.Program, loop: asyncio.AbstractEventLoop | None) -> None:
        """From now on, until delay begins. Order: a loop's, in its thread."""
        if self._after == math.inf:
            return
        if loop is not None:
            self._loops.setdefault(loop, _Loop(loop))
        if self._started:
            return
        self._started = True
        thread = threading.Thread(target=self._run, args=(program,), name="lastcall-stalls",
                                  daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there is no thread left
            _log.warning("no thread can be made to look for calls that make no progress")

    def _run(self, program: _native.Program) -> None:
        delay = _native.STAGES["delay"]
        length = min(_LOOK, self._after / 4)
        turns = _turns()
        while True:
            planned = time.monotonic() + length
            reached, lock_after = program.wait_and_tell(delay, length)
            if reached:
                return
            before, turns = turns, _turns()
            now = time.monotonic()
            try:
                self._look_at_itself(now, planned, lock_after, turns, before)
                self._look(now)
            except Exception:  # the next look is due in time
                _log.exception("looking at calls")

    def _look_at_itself(self, now: float, planned: float, lock_after: float,
                        turns: tuple[float, int], before: tuple[float, int]) -> None:
        if now - planned < _FROZEN:
            return
        # The process stood still, or this thread could not run: no call is to blame for that time.
        self._forgiven = now
        queued = turns[0] - before[0]
        held = lock_after - queued
        # Who waits for the lock looks again after each switch interval. In a process that stands still
        # it does not.
        looked = (turns[1] - before[1]) * sys.getswitchinterval()
        if held < _FROZEN or looked < held / 4:
            return
        if not self._reports.says("lock", held, now):
            return
        _log.warning(f"frozen: for {held:.1f}s no Python thread could run (the GIL was held, by code "
                  f"in C that does not give it back){self._in_flight(now - held)}")

    def _in_flight(self, since: float) -> str:
        """The calls that synchronous handlers or a loop are in, with where they are, or have been in."""
        frames = sys._current_frames()
        text = ""
        threads = {call.thread: call.method for call in list(self._calls.values())
                   if call.task is None and not call.outside}
        for loop in list(self._loops.values()):
            if (task := asyncio.current_task(loop.loop)) is not None:
                threads[loop.thread] = self._name_of(task)
        for thread, method in itertools.islice(threads.items(), _A_MINUTE):
            if thread in frames:
                text += f"\n  in flight then: {method}"
                text += _frames.lines(_frames.of_thread(frames[thread]))
        # Whoever held the lock may have gone on before this thread had it.
        for ended, method in list(self._ended):
            if ended >= since:
                text += f"\n  in flight then: {method}, which has ended"
        return text

    def _look(self, now: float) -> None:
        loops = list(self._loops.values())
        for each in loops:
            if self._is_frozen(each, now):
                each.forgiven = now
            if each.loop.is_closed():
                del self._loops[each.loop]
        looked_at = 0
        for call in list(self._calls.values()):
            idle = now - max(call.progressed, self._forgiven_of(call))
            if call.outside or idle < self._after or call.method in self._long_polling:
                continue
            if call.task is not None and call.coroutine is None:
                continue
            looked_at += 1
            if looked_at > _MOST_STACKS:
                break
            self._report(call, idle, now)
        if now - self._suppressed_said >= _MINUTE:
            self._suppressed_said = now
            if suppressed := self._reports.take_suppressed():
                _log.warning(f"stalled: {suppressed} more kinds of stall were not reported")

    def _forgiven_of(self, call: Call) -> float:
        loop = None if call.task is None else self._loops.get(call.task.get_loop())
        return self._forgiven if loop is None else max(self._forgiven, loop.forgiven)

    def _is_frozen(self, loop: _Loop, now: float) -> bool:
        length = loop.stands_still(now, self._forgiven)
        if length < _FROZEN:
            return False
        frame = sys._current_frames().get(loop.thread)
        task = asyncio.current_task(loop.loop)
        if frame is None or (task is None and _frames.waits_in_loop(frame)):
            return False  # it waits for a processor, or for the interpreter lock
        stack = _frames.of_thread(frame)
        name = self._name_of(task)
        if self._reports.says(f"frozen {name} {_frames.kind(stack)}", length, now):
            _log.warning(f"frozen: the event loop is held by {name} for {length:.1f}s: nothing else in "
                      f"it runs{_frames.lines(stack)}")
        return True

    def _name_of(self, task: asyncio.Task[Any] | None) -> str:
        if task is None:
            return "a callback"
        for call in list(self._calls.values()):
            if call.task is task:
                return call.method
        return f"task {task.get_name()}"

    def _report(self, call: Call, idle: float, now: float) -> None:
        if call.task is None:
            frame = sys._current_frames().get(call.thread)
            stack = [] if frame is None else _frames.of_thread(frame)
        else:
            stack = _frames.of_coroutine(call.coroutine)
        # What was looked at may be its thread's next.
        if id(call) not in self._calls:
            return
        if self._reports.says(f"stalled {call.method} {_frames.kind(stack)}", idle, now):
            _log.warning(f"stalled: {call.method} has made no progress for {idle:.1f}s "
                         f"(call from {call.context.peer()}){_frames.lines(stack)}")


def _turns() -> tuple[float, int]:
    """Of this thread: for how long it was ready to run without a processor, how often it was given one."""
    try:
        with open("/proc/thread-self/schedstat", encoding="ascii") as file:
            _, waited, count = file.read().split()
    except (OSError, ValueError):
        return 0.0, 0
    return int(waited) / 1e9, int(count)
