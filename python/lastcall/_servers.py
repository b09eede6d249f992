"""What a lifecycle does for a grpc.server and for a grpc.aio.server: bind, start, drain, cancel.

grpcio's stop() sends clients away, waits for the calls in flight and, asked again with less grace,
cancels them; when to do which is the lifecycle's.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import grpc
import grpc.aio

from lastcall import _health, _native
from lastcall._calls import Counted, InFlight, handlers_of, services_of
from lastcall._event import Event
from lastcall._health import Board

_LOG = logging.getLogger("lastcall")

# grpcio's stop() waits for clients to close their connections, and one that has no call to make may
# take seconds to look. When no call has been in flight for this long, in seconds, they are closed.
_SETTLE = 0.1

# grpcio's stop() takes no infinity.
_A_LONG_TIME = min(threading.TIMEOUT_MAX, 1e9)


def prepare(server: Any, address: str | None, credentials: grpc.ServerCredentials | None,
            program: _native.Program, events: dict[str, Event]) -> SyncServer | AioServer:
    """The server bound and ready to start."""
    if isinstance(server, grpc.aio.Server):
        _check_loop(server)
        kind: type[SyncServer] | type[AioServer] = AioServer
    elif isinstance(server, grpc.Server):
        kind = SyncServer
    else:
        raise TypeError(f"attach() takes a grpc.server or a grpc.aio.server, not {server!r}")
    port = 0 if address is None else _bind(server, address, credentials)
    return kind(server, port, program, f"server {address or ''}".strip(), events)


def _check_loop(server: grpc.aio.Server) -> None:
    advice = "make the server and attach it in the coroutine that asyncio.run() runs"
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        raise _native.LifecycleError(
            f"a grpc.aio.server is attached inside its event loop, and none runs here: {advice}"
        ) from None
    if getattr(server, "_loop", here) is not here:
        raise _native.LifecycleError(
            f"the grpc.aio.server belongs to another event loop than the one here: {advice}")


def _bind(server: Any, address: str, credentials: grpc.ServerCredentials | None) -> Any:
    """Returns the port; grpcio says 1 for a unix socket."""
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except ValueError as error:
        raise _cannot_start(error) from error
    except RuntimeError as error:
        raise _native.LifecycleError(
            f"cannot bind {address}: is it HOST:PORT or unix:PATH, of this machine, allowed to "
            f"this user, and does no other program listen there? grpcio says: {error}") from error


def _cannot_start(error: Exception) -> _native.LifecycleError:
    return _native.LifecycleError(
        f"the server cannot be started ({error}): attach() starts the server, so nobody else may")


def _adopt(server: Any, service: type, program: _native.Program,
           delay: Event) -> tuple[Board, InFlight | None]:
    """Puts the health service, and a count around everything else, into a server not yet started.
    Without InFlight nobody knows of its calls."""
    handlers = handlers_of(server)
    board = Board(services_of(handlers or []), delay)
    health = service(board).handler()
    if handlers is None:
        server.add_generic_rpc_handlers((health,))
        return board, None
    in_flight = InFlight(program)
    handlers[:] = [health, *(Counted(each, in_flight) for each in handlers)]
    return board, in_flight


class SyncServer:
    """A grpc.server."""

    def __init__(self, server: grpc.Server, port: int, program: _native.Program, name: str,
                 events: dict[str, Event]) -> None:
        self.port = port
        self.board, self._in_flight = _adopt(server, _health.SyncService, program, events["delay"])
        self._server = server
        self._open = program.hold(name)

    def start(self) -> None:
        try:
            self._server.start()
        except Exception as error:
            self._open.end()
            raise _cannot_start(error) from error

    def begin_delay(self) -> None:
        self.board.delay_began()

    def begin_grace(self) -> None:
        self.board.end_watches()
        stopped = self._server.stop(_A_LONG_TIME)

        def await_stopped() -> None:
            stopped.wait()
            self._open.end()

        for task in (await_stopped, lambda: self._close_when_idle(stopped)):
            threading.Thread(target=task, name="lastcall-drain", daemon=True).start()

    def begin_cancel(self) -> None:
        self._server.stop(0)

    def _close_when_idle(self, stopped: threading.Event) -> None:
        if self._in_flight is None:
            return
        idle = threading.Event()
        self._in_flight.watch(idle.set)
        while True:
            idle.wait()
            idle.clear()
            since = self._in_flight.idle_since()
            if stopped.wait(_SETTLE):
                return
            if since is not None and since == self._in_flight.idle_since():
                self._server.stop(0)
                return


class AioServer:
    """A grpc.aio.server. Order: made and started in its loop, which then does the rest."""

    def __init__(self, server: grpc.aio.Server, port: int, program: _native.Program, name: str,
                 events: dict[str, Event]) -> None:
        self.port = port
        self.board, self._in_flight = _adopt(server, _health.AioService, program, events["delay"])
        self.loop = asyncio.get_running_loop()
        self._server = server
        self._events = events
        self._open = program.hold(name)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        try:
            await self._server.start()
        except Exception as error:
            self._open.end()
            raise _cannot_start(error) from error
        self._serving = asyncio.create_task(self._serve(), name="lastcall-server")

    @property
    def stopped(self) -> bool:
        return self._serving is None or self._serving.done()

    def begin_delay(self) -> None:
        self.board.delay_began()

    def begin_grace(self) -> None: ...  # of these the loop hears by itself
    def begin_cancel(self) -> None: ...

    async def _serve(self) -> None:
        try:
            await self._events["grace"]
            self.board.end_watches()
            drained = asyncio.create_task(self._server.stop(_A_LONG_TIME))
            cancel = asyncio.ensure_future(self._events["cancel"])
            idle = asyncio.create_task(self._await_idle())
            await asyncio.wait({drained, cancel, idle}, return_when=asyncio.FIRST_COMPLETED)
            if not drained.done():
                await self._server.stop(None)
            cancel.cancel()
            idle.cancel()
            await drained
        except asyncio.CancelledError:
            _LOG.warning("the event loop ended before its server had stopped: wait for it, with "
                         "await life.event(\"stopped\")")
            raise
        finally:
            self._open.end()

    async def _await_idle(self) -> None:
        if self._in_flight is None:
            await asyncio.get_running_loop().create_future()
            return
        idle = asyncio.Event()
        self._in_flight.watch(lambda: self.loop.call_soon_threadsafe(idle.set))
        while True:
            await idle.wait()
            idle.clear()
            since = self._in_flight.idle_since()
            await asyncio.sleep(_SETTLE)
            if since is not None and since == self._in_flight.idle_since():
                return
