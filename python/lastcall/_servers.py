"""What a lifecycle does for a grpc.server and for a grpc.aio.server: bind, start, drain, cancel.

grpcio's stop() sends clients away, waits for the calls in flight and, asked again with less grace,
cancels them; when to do which is the lifecycle's.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import grpc
import grpc.aio

from lastcall import _health, _log, _native
from lastcall._calls import (Counted, InFlight, aio_under_way, handlers_of, services_of,
                             sync_under_way)
from lastcall._event import Event
from lastcall._stalls import Stalls

# grpcio's stop() waits for clients to close their connections, and one that has no call to make may
# take seconds to look. When no call was in progress for this long, in seconds, they are closed.
_SETTLE = 0.1

# grpcio's stop() takes no infinity.
_A_LONG_TIME = min(threading.TIMEOUT_MAX, 1e9)


def prepare(server: Any, address: str | None, credentials: grpc.ServerCredentials | None,
            program: _native.Program, events: dict[str, Event],
            stalls: Stalls) -> SyncServer | AioServer:
    """The server bound and ready to start. From here on it holds up the stages, until it has
    stopped or was abandoned."""
    if isinstance(server, grpc.aio.Server):
        _check_loop(server)
        kind: type[SyncServer] | type[AioServer] = AioServer
    elif isinstance(server, grpc.Server):
        kind = SyncServer
    else:
        raise TypeError(f"attach() takes a grpc.server or a grpc.aio.server, not {server!r}")
    if address is not None and not isinstance(address, str):
        raise TypeError(f'an address is text, "HOST:PORT" or "unix:PATH", not {address!r}')
    if credentials is not None and not isinstance(credentials, grpc.ServerCredentials):
        raise TypeError("credentials are what grpc.ssl_server_credentials() returns, not "
                        f"{credentials!r}")
    handlers = Handlers(server)
    port = 0 if address is None else _bind(server, address, credentials)
    return kind(server, port, handlers, program, f"server {_name(address, port)}".strip(), events,
                stalls)


def _name(address: str | None, port: int) -> str:
    """The address with the port that a 0 stands for."""
    host, colon, number = (address or "").rpartition(":")
    return f"{host}:{port}" if colon and number == "0" else address or ""


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
        tls = "" if credentials is None else ", are key and certificate PEM and a pair"
        raise _native.LifecycleError(
            f"cannot bind {address}: is it HOST:PORT or unix:PATH, of this machine, allowed to "
            f"this user, does no other program listen there{tls}? grpcio says: {error}") from error


def _cannot_start(error: object) -> _native.LifecycleError:
    return _native.LifecycleError(
        f"the server cannot be started ({error}): attach() starts the server, so do not start it")


class Handlers:
    """The handlers inside a server: health put before them, and a count around each."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._list = handlers_of(server)
        self._before = list(self._list or [])
        if any(isinstance(each, Counted) for each in self._before):
            raise _cannot_start("it was attached before")

    def services(self) -> list[str]:
        return services_of(self._before)

    def adopt(self, health: grpc.GenericRpcHandler, in_flight: InFlight) -> None:
        if self._list is None:
            self._server.add_generic_rpc_handlers((health,))
        else:
            self._list[:] = [health, *(Counted(each, in_flight) for each in self._before)]

    def put_back(self) -> None:
        if self._list is not None:
            self._list[:] = self._before


class SyncServer:
    """A grpc.server."""

    def __init__(self, server: grpc.Server, port: int, handlers: Handlers,
                 program: _native.Program, name: str, events: dict[str, Event],
                 stalls: Stalls) -> None:
        self.port = port
        self.board = _health.Board(handlers.services(), events["delay"])
        self._health = _health.SyncService(self.board)
        self._in_flight = InFlight(program, stalls)
        self._handlers = handlers
        handlers.adopt(self._health.handler(), self._in_flight)
        self._server = server
        self._events = events
        self._started = False
        self._decided = threading.Event()  # whether it was started
        self._open = program.hold(name)

    def start(self) -> None:
        try:
            # Now, for at the end there may be no thread left to make.
            threading.Thread(target=self._drain, name="lastcall-drain", daemon=True).start()
            self._server.start()
        except Exception as error:
            self.abandon()
            raise _cannot_start(error) from error
        self._started = True
        self._decided.set()

    def abandon(self) -> None:
        """It was not started, and is as before."""
        self._decided.set()
        self._handlers.put_back()
        self._open.end()

    def begin_delay(self) -> None:
        self.board.delay_began()

    def begin_grace(self) -> None: ...  # the draining thread hears by itself

    def begin_cancel(self) -> None:
        self._server.stop(0)

    def _drain(self) -> None:
        self._events["grace"].wait()
        self._decided.wait()
        if not self._started:
            return
        self.board.end_watches()
        with contextlib.suppress(RuntimeError):  # out of threads; it has begun all the same
            self._server.stop(_A_LONG_TIME)
        before = self._idle_since()
        while self._server.wait_for_termination(_SETTLE):
            since = self._idle_since()
            if self._events["cancel"].is_set() or since is not None and since == before:
                self._server.stop(None)  # returns when it has stopped
                break
            before = since
        self._open.end()

    def _idle_since(self) -> int | None:
        """The number of calls so far, when none is in progress."""
        so_far = self._in_flight.so_far
        return so_far if sync_under_way(self._server, self._health.watches) is False else None


class AioServer:
    """A grpc.aio.server. Order: made and started in its loop, which then does the rest."""

    def __init__(self, server: grpc.aio.Server, port: int, handlers: Handlers,
                 program: _native.Program, name: str, events: dict[str, Event],
                 stalls: Stalls) -> None:
        self.port = port
        self.board = _health.Board(handlers.services(), events["delay"])
        self._health = _health.AioService(self.board)
        self._in_flight = InFlight(program, stalls)
        self._handlers = handlers
        handlers.adopt(self._health.handler(), self._in_flight)
        self._loop = asyncio.get_running_loop()
        self._server = server
        self._events = events
        self._open = program.hold(name)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        try:
            await self._server.start()
        except Exception as error:
            raise _cannot_start(error) from error
        self._serving = asyncio.create_task(self._serve(), name="lastcall-server")

    def start_ended(self, _: asyncio.Task[int]) -> None:
        """Also when it never began."""
        if self._serving is None:
            self.abandon()

    def abandon(self) -> None:
        """It was not started, and is as before."""
        self._handlers.put_back()
        self._open.end()

    def begin_delay(self) -> None:
        self.board.delay_began()

    def begin_grace(self) -> None:  # of this a loop that lives hears by itself
        if self._loop.is_closed():
            self._open.end()

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
            _log.warning("the event loop ended before its server had stopped: wait for it, with "
                         "await life.event(\"stopped\")")
            raise
        finally:
            self._open.end()

    async def _await_idle(self) -> None:
        before = self._idle_since()
        while True:
            await asyncio.sleep(_SETTLE)
            since = self._idle_since()
            if since is not None and since == before:
                return
            before = since

    def _idle_since(self) -> int | None:
        """The number of calls so far, when none is in progress."""
        so_far = self._in_flight.so_far
        return None if aio_under_way(self._in_flight, self._health.watches) else so_far
