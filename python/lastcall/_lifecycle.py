"""Lifecycle: the stages of this process, its signals, and the servers that follow them."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from lastcall import _log, _native
from lastcall._event import Event
from lastcall._leave import Leaving
from lastcall._lengths import length, seconds
from lastcall._native import LifecycleError, Work
from lastcall._offload import Offload
from lastcall._signals import Handlers, look
from lastcall._stalls import Stalls

if TYPE_CHECKING:
    import grpc
    import grpc.aio

Stage = Literal["delay", "grace", "cancel", "stopped"]
STAGES: dict[str, int] = _native.STAGES  # the numbers of delay, grace, cancel and stopped

# Set by lastcalld to its own pid for the programs that it starts.
_SUPERVISOR = "LASTCALL_SUPERVISOR"

# How much longer than the plan systemd is told to wait, and our own thread is given, in seconds.
_MARGIN = 1.0

_one = threading.Lock()  # held by the one lifecycle that a process may have, for it has its signals

# The one that a signal ended: it keeps the signals, for what a process does at its end must not be
# broken off by another; until the process has ended, or one more is entered.
_ended: list[Lifecycle] = []


def _forget() -> None:
    global _one
    _one = threading.Lock()
    _ended.clear()


os.register_at_fork(after_in_child=_forget)  # a child has none, and may make its own


def _text(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is text, not {value!r}")
    return value


def _name_of_program() -> str:
    """As it was started: a file's name, or that of the package in `python -m`."""
    path = sys.argv[0] if sys.argv else ""
    if os.path.basename(path) == "__main__.py":
        path = os.path.dirname(path)
    return os.path.basename(path) or "python"


def _stacks() -> dict[int, tuple[str, list[str]]]:
    """By thread: its name, and its stack, the innermost line first."""
    # A daemon thread keeps no process alive: it has no name in here.
    names = {thread.ident: thread.name for thread in threading.enumerate() if not thread.daemon}
    stacks = {}
    for ident, frame in sys._current_frames().items():
        lines = [f"{each.f_code.co_name} ({each.f_code.co_filename}:{line})"
                 for each, line in traceback.walk_stack(frame)]
        stacks[ident] = (names.get(ident, ""), lines)
    return stacks


class Lifecycle:
    """The stages of this process: serving, then delay, grace and cancel, then stopped.

    SIGTERM, SIGINT, request_shutdown() or leaving the `with` block begin the end. From then on
    the process takes `delay` + `grace` + `cancel` seconds at most, whatever its threads do; what
    has not returned by then is named on stderr, and the process ends with code 4. A stage that has
    nothing to do ends immediately. Durations are seconds; float("inf") means no limit.

    A call of an attached server whose handler makes no progress for `stall_after` seconds is named
    in the log (logger "lastcall"), with its stack; but for the methods in `long_polling`
    ("/shop.Prices/Watch"), for which waiting is what they are for. So is an event loop that does not
    turn. None: nobody looks.

    Threads: any, for every method, also in callbacks and handlers. One at a time in a process. A
    forked child has no lifecycle: there everything raises LifecycleError, and it may make its own.
    """

    def __init__(self, delay: float = 0, grace: float = 20, cancel: float = 5, *,
                 name: str | None = None, stall_after: float | None = 10,
                 long_polling: Iterable[str] = ()) -> None:
        self._stalls = Stalls(stall_after, long_polling)
        self._lengths = length("delay", delay), length("grace", grace), length("cancel", cancel)
        self._name = _name_of_program() if name is None else _text("name", name)
        self._supervised = os.environ.get(_SUPERVISOR) == str(os.getppid())
        self._native: _native.Program | None = None
        self._pid = 0  # the process that entered the block
        self._events: dict[str, Event] = {}
        self._handlers = Handlers()
        self._leaving = Leaving()
        self._lock = threading.RLock()  # a signal handler may come while its own thread has it
        self._servers: list[Any] = []
        self._offloads: list[Offload] = []
        self._ready = False

    def __enter__(self) -> Lifecycle:
        if _loop_here() is not None:
            raise LifecycleError("leaving the block would stop this thread's event loop: say "
                                 '"async with lastcall.Lifecycle()"')
        return self._enter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Requests a stop where none was requested. Blocks: until stopped."""
        if self._is_elsewhere():
            return
        try:
            self._ask_at_exit(error)
            self._events["stopped"].wait()
        finally:
            self._close()

    async def __aenter__(self) -> Lifecycle:
        return self._enter()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        if self._is_elsewhere():
            return
        try:
            self._ask_at_exit(error)
            await self._events["stopped"]
        finally:
            self._close()

    @overload
    def attach(self, server: grpc.Server, address: str | None = None,
               credentials: grpc.ServerCredentials | None = None) -> int: ...
    @overload  # type: ignore[misc]  # where grpcio brings no types, the two are one
    def attach(self, server: grpc.aio.Server, address: str | None = None,
               credentials: grpc.ServerCredentials | None = None) -> asyncio.Task[int]: ...

    def attach(self, server: Any, address: str | None = None,
               credentials: Any = None) -> int | asyncio.Task[int]:
        """Serves on `address` ("HOST:PORT", "unix:PATH") until the lifecycle ends.

        `server` is a grpc.server or a grpc.aio.server with its services added; this starts it, with
        a health service. `credentials` are grpcio's; without them it is plaintext. Without
        `address` it serves where its own ports are. Returns the port; of a grpc.aio.server, in
        whose loop this must be called, a task that does when it has started.

        Raises LifecycleError: the address cannot be bound; the server was started already;
        a stop was requested already; another loop than the server's.
        """
        from lastcall import _servers  # grpcio is needed by those who serve

        with self._lock:
            program = self._program()
            self._refuse_when_late()
            unit = _servers.prepare(server, address, credentials, program, self._events,
                                    self._stalls)
            try:
                self._refuse_when_late()  # from here on nothing stops without it
            except LifecycleError:
                unit.abandon()
                raise
            if isinstance(unit, _servers.AioServer):
                self._stalls.watch(program, asyncio.get_running_loop())
                starting = asyncio.get_running_loop().create_task(self._start(unit))
                starting.add_done_callback(unit.start_ended)
                self._servers.append(unit)
                return starting
            unit.start()
            self._stalls.watch(program, None)
            self._servers.append(unit)
        self.ready()
        return unit.port

    def ready(self) -> None:
        """Everything is started: tells systemd. attach() and wait_for_termination() do it too."""
        self._program()
        if not self._ready and not self._events["delay"].is_set():
            self._ready = True
            self._notifier.ready(f"{self._name} is serving")

    def wait_for_termination(self, timeout: float | None = None, *, delay: float | None = None,
                             grace: float | None = None, cancel: float | None = None) -> bool:
        """Blocks until stopped (False) or `timeout` seconds are over (True), as grpcio's does.

        With durations it is gRFC L54's wait for a signal: from now on they hold for a SIGTERM and
        for every other request that brings no durations of its own. In an event loop, await
        life.event("stopped") instead.
        """
        lengths = [seconds(*each) for each in
                   (("delay", delay), ("grace", grace), ("cancel", cancel))]
        program = self._program()
        if _loop_here() is not None:
            raise LifecycleError("wait_for_termination() would stop this thread's event loop: "
                                 'await life.event("stopped")')
        if any(length is not None for length in lengths):
            # lastcalld has had its own delay before it sends SIGTERM.
            program.configure(0.0 if self._supervised else lengths[0], *lengths[1:])
        self.ready()
        return not self._events["stopped"].wait(timeout)

    def event(self, stage: Stage) -> Event:
        """The event of "delay", "grace", "cancel" or "stopped"; the same object each time."""
        self._program()
        if stage not in self._events:
            raise ValueError(f"there is no event of {stage!r}, but of {', '.join(STAGES)}")
        return self._events[stage]

    def leaving(self, context: Any, callback: Callable[[], Any]) -> None:
        """Calls `callback` once when the call of `context` should end soon: in grace, spread over
        its first half; never when the call ends before. Where grace has begun it is called
        immediately, before this returns (of a grpc.aio.server, soon).

        Threads: otherwise the lifecycle's own, and it must not block; of a grpc.aio.server, the
        loop's.
        """
        self._program()
        self._leaving.add(context, callback)

    def set_serving(self, serving: bool, service: str = "") -> None:
        """What health says of `service` until a stop is requested; "" is the server as a whole.
        Raises ValueError: no server here has that service."""
        self._program()
        if not any([each.board.set_serving(serving, service) for each in self._attached()]):
            raise ValueError(f"no attached server has the service {service!r}")

    def enter(self, name: str, peer: str = "") -> Work:
        """A job is in flight, for as long as the `with` block of the result, or until its end().

        Grace lasts while there is one. `peer` is who requested it. Calls of attached servers are
        entered by themselves.
        """
        return self._program().enter(_text("name", name), _text("peer", peer))

    def open(self, name: str) -> Work:
        """Something that must be closed before the program has stopped: cancel lasts until then."""
        return self._program().open(_text("name", name))

    def offload(self, *, threads: int | None = None, processes: int | None = None, queue: int = 64,
                deadline: float = 30) -> Offload:
        """A place of its own for work that blocks or computes: see Offload.

        So many `threads` (4), or, for pure Python that computes, `processes`; `queue` pieces of
        work may wait for one, and what has not returned after `deadline` seconds is answered
        nevertheless. Threads and processes are made when there is work for them, and end with the
        lifecycle. May be called before the block is entered.
        """
        offload = Offload(self._program, threads, processes, queue, deadline)
        with self._lock:
            self._offloads.append(offload)
        return offload

    def request_shutdown(self, reason: str = "", *, delay: float | None = None,
                         grace: float | None = None, cancel: float | None = None) -> None:
        """Requests a stop and returns immediately. Merged with every other request: it can bring an
        instant forward, never push one back. Durations left out are the configured ones."""
        self._program().shutdown(_text("reason", reason), seconds("delay", delay),
                                 seconds("grace", grace), seconds("cancel", cancel))

    @property
    def receipt(self) -> dict[str, Any] | None:
        """The report of the stop, as docs/shutdown.md describes it; None until stopped."""
        text = self._program().receipt()
        return None if text is None else json.loads(text)

    @property
    def exit_code(self) -> int | None:
        """0 every call finished, 3 calls were cancelled; None until stopped. For sys.exit()."""
        receipt = self.receipt
        return None if receipt is None else receipt["exit_code"]

    def _program(self) -> _native.Program:
        if self._native is None:
            raise LifecycleError(
                'a Lifecycle lives in a block: "with lastcall.Lifecycle() as life:"')
        self._native.check_process()
        look()
        return self._native

    def _attached(self) -> list[Any]:
        with self._lock:
            return list(self._servers)

    async def _start(self, unit: Any) -> int:
        await unit.start()
        self.ready()
        port: int = unit.port
        return port

    def _enter(self) -> Lifecycle:
        if self._native is not None:
            raise LifecycleError("a Lifecycle is entered once: make another one")
        if not _one.acquire(blocking=False):
            raise LifecycleError("this process has a Lifecycle already, and its signals with it: "
                                 "pass that one on, or leave its block first")
        try:
            while _ended:
                _ended.pop()._give_signals_back()
            self._pid = os.getpid()
            self._handlers.install()
            delay, grace, cancel = self._lengths
            self._native = _native.Program(self._name, 0.0 if self._supervised else delay, grace,
                                           cancel, _stacks, self._handlers.dump)
            self._notifier = _native.Notifier()
            os.environ.pop("NOTIFY_SOCKET", None)  # the notifier has taken it, so no child gets it
            self._events = {stage: Event(self._native, stage) for stage in STAGES}
            self._conductor = threading.Thread(target=self._conduct, name="lastcall", daemon=True)
            self._conductor.start()
        except BaseException:
            self._give_signals_back()
            _one.release()
            raise
        return self

    def _is_elsewhere(self) -> bool:
        """This is a forked child, which has nothing to end."""
        return self._native is None or os.getpid() != self._pid

    def _ask_at_exit(self, error: BaseException | None) -> None:
        assert self._native is not None
        if self._events["delay"].is_set():
            return
        reason = "its block was left"
        if error is not None:
            reason += f" by {traceback.format_exception_only(type(error), error)[-1].strip()}"
        self._native.shutdown(_text("reason", reason), None, None, None)

    def _close(self) -> None:
        """Also when a handler's exception, or a cancellation, came before the stop was over."""
        assert self._native is not None
        if self._native.asked_by_signal():
            self._native.keep()
            _ended.append(self)
        else:
            self._give_signals_back()
        if self._events["stopped"].is_set():
            # It has systemd to tell. Somebody's callback may hold it, and must not hold the end.
            self._conductor.join(_MARGIN)
        _one.release()

    def _give_signals_back(self) -> None:
        if self._native is not None:
            self._native.close()
        self._handlers.remove()

    def _refuse_when_late(self) -> None:
        if self._events["delay"].is_set():
            raise LifecycleError("attach() comes too late: a stop was requested, and nothing new "
                                 'is started; look at life.event("delay").is_set() before')

    def _conduct(self) -> None:
        """The lifecycle's thread in Python: what a stage means for servers, calls and systemd."""
        assert self._native is not None
        self._events["delay"].wait()
        left = self._native.until(STAGES["stopped"])
        if left is not None:
            self._notifier.extend_timeout(left + _MARGIN)
        self._notifier.stopping(f"{self._name} is stopping")
        self._each("begin_delay")
        self._events["grace"].wait()
        self._each("begin_grace")
        self._tell_to_leave()
        self._events["cancel"].wait()
        with self._lock:
            offloads = list(self._offloads)
        for offload in offloads:
            offload._close()
        self._each("begin_cancel")

    def _tell_to_leave(self) -> None:
        assert self._native is not None
        spread = functools.partial(self._leaving.spread, self._native.leave_turns())
        try:
            # In a thread of its own: a callback that blocks must not keep cancel from the others.
            threading.Thread(target=spread, name="lastcall-leave", daemon=True).start()
        except RuntimeError:  # there is no thread left
            spread()

    def _each(self, method: str) -> None:
        look()  # the next signal must be heard, should it be wanted sooner
        for server in self._attached():
            try:
                getattr(server, method)()
            except Exception:  # the others must hear of it all the same
                _log.exception("a server does not follow the lifecycle")


def _loop_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
