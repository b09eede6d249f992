"""grpc.health.v1 for one server: what it says of whom (Board), and the service that says it.

From the first moment of delay everything is NOT_SERVING. A Watch is not work in flight: it holds no
thread, and it ends by itself when grace begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from lastcall._event import Event
from lastcall._health_messages import (NOT_SERVING, SERVICE_UNKNOWN, SERVING, HealthCheckRequest,
                                       HealthCheckResponse, HealthListRequest, HealthListResponse)

SERVICE = "grpc.health.v1.Health"

# Told a status; None: the stream ends. Must not block.
Watcher = Callable[["int | None"], None]


class Board:
    """Threads: any, for every method."""

    def __init__(self, services: Iterable[str], delay: Event) -> None:
        self._lock = threading.RLock()  # a signal handler may come while its own thread has it
        self._serving = {"": True, **{service: True for service in services}}
        self._delay = delay
        self._watchers: dict[Watcher, str] = {}
        self._over = False

    def status(self, service: str) -> int | None:
        """None: there is no such service."""
        serving = self._serving.get(service)
        # The event itself is asked, so that nobody is told SERVING after it.
        return None if serving is None else SERVING if serving and not self._delay.is_set() else (
            NOT_SERVING)

    def services(self) -> list[str]:
        return list(self._serving)

    def set_serving(self, serving: bool, service: str) -> bool:
        """False: there is no such service."""
        with self._lock:
            if service not in self._serving:
                return False
            self._serving[service] = serving
            self._tell([service])
            return True

    def watch(self, service: str, watcher: Watcher) -> None:
        """Tells the status now, and again each time it may have changed."""
        with self._lock:
            watcher(self.status(service) or SERVICE_UNKNOWN)
            if self._over:
                watcher(None)
            else:
                self._watchers[watcher] = service

    def unwatch(self, watcher: Watcher) -> None:
        with self._lock:
            self._watchers.pop(watcher, None)

    def delay_began(self) -> None:
        with self._lock:
            self._tell(self._serving)

    def end_watches(self) -> None:
        with self._lock:
            self._over = True
            for watcher in self._watchers:
                watcher(None)
            self._watchers.clear()

    def _tell(self, services: Iterable[str]) -> None:
        for watcher, service in self._watchers.items():
            if service in services:
                watcher(self.status(service) or SERVICE_UNKNOWN)


def _response(status: int | None) -> Any:
    return HealthCheckResponse(status=status)


class _Service:
    """What both kinds of server share."""

    def __init__(self, board: Board) -> None:
        self._board = board
        # The Watches, as the server knows them: what nobody has to wait for.
        self.watches: set[Any] = set()

    def _list(self) -> Any:
        response = HealthListResponse()
        for service in self._board.services():
            response.statuses[service].status = self._board.status(service)
        return response

    def handler(self) -> grpc.GenericRpcHandler:
        def codec(request: Any, response: Any) -> dict[str, Any]:
            return {"request_deserializer": request.FromString,
                    "response_serializer": response.SerializeToString}

        check = codec(HealthCheckRequest, HealthCheckResponse)
        return grpc.method_handlers_generic_handler(SERVICE, {
            "Check": grpc.unary_unary_rpc_method_handler(self.check, **check),
            "List": grpc.unary_unary_rpc_method_handler(
                self.list, **codec(HealthListRequest, HealthListResponse)),
            "Watch": grpc.unary_stream_rpc_method_handler(self.watch, **check),
        })

    check: Callable[..., Any]
    list: Callable[..., Any]
    watch: Callable[..., Any]


class SyncService(_Service):
    """For grpc.server: in threads of its own, so that it answers while handlers hold all others."""

    def __init__(self, board: Board) -> None:
        super().__init__(board)
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="lastcall-health")
        # To send waits for a client that does not read, who must not be in anybody's way.
        self._sending = ThreadPoolExecutor(max_workers=256, thread_name_prefix="lastcall-watch")
        self.check = self._in_pool(self._check)
        self.list = self._in_pool(lambda request, context: self._list())
        self.watch = self._in_pool(self._watch)
        # grpcio gives such a handler a function to send with, and its thread back at once.
        self.watch.experimental_non_blocking = True  # type: ignore[attr-defined]

    def _in_pool(self, behavior: Callable[..., Any]) -> Callable[..., Any]:
        def in_pool(*args: Any, **kwargs: Any) -> Any:
            return behavior(*args, **kwargs)

        in_pool.experimental_thread_pool = self._pool  # type: ignore[attr-defined]
        return in_pool

    def _check(self, request: Any, context: grpc.ServicerContext) -> Any:
        status = self._board.status(request.service)
        if status is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f'no service "{request.service}" here')
        return _response(status)

    def _watch(self, request: Any, context: grpc.ServicerContext,
               send_response_callback: Callable[[Any], None] | None = None) -> Any:
        call = getattr(context, "_state", None)
        self.watches.add(call)
        if send_response_callback is None:  # an interceptor that wraps handlers stands between
            return self._watch_in_thread(request, context, call)
        stream = _SyncStream(self._sending, send_response_callback)
        self._board.watch(request.service, stream.tell)

        def ended() -> None:
            self._board.unwatch(stream.tell)
            self.watches.discard(call)

        if not context.add_callback(ended):
            ended()  # already
        return None

    def _watch_in_thread(self, request: Any, context: grpc.ServicerContext,
                         call: Any) -> Iterator[Any]:
        statuses: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._board.watch(request.service, statuses.put)
        if not context.add_callback(lambda: statuses.put(None)):
            statuses.put(None)
        try:
            last = 0
            while (status := statuses.get()) is not None:
                if status != last:
                    yield _response(status)
                last = status
        finally:  # also where its client goes in the middle of an answer
            self._board.unwatch(statuses.put)
            self.watches.discard(call)


class _SyncStream:
    """Sends the statuses of one Watch in order, and each only when it is another."""

    def __init__(self, pool: ThreadPoolExecutor, send: Callable[[Any], None]) -> None:
        self._lock = threading.RLock()  # as Board's
        self._pool = pool
        self._send = send
        self._queue: list[int | None] = []
        self._sending = False
        self._last: int | None = 0

    def tell(self, status: int | None) -> None:
        with self._lock:
            if status == self._last or self._last is None:
                return
            self._last = status
            self._queue.append(status)
            if not self._sending:
                self._sending = True
                self._pool.submit(self._drain)

    def _drain(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._sending = False
                    return
                status = self._queue.pop(0)
            self._send(None if status is None else _response(status))


class AioService(_Service):
    """For grpc.aio.server. Order: made in its loop."""

    def __init__(self, board: Board) -> None:
        super().__init__(board)
        self._loop = asyncio.get_running_loop()
        self.check = self._check
        self.list = self._answer_list
        self.watch = self._watch

    async def _check(self, request: Any, context: Any) -> Any:
        status = self._board.status(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f'no service "{request.service}" here')
        return _response(status)

    async def _answer_list(self, request: Any, context: Any) -> Any:
        return self._list()

    async def _watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        statuses: asyncio.Queue[int | None] = asyncio.Queue()

        def tell(status: int | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(statuses.put_nowait, status)

        task = asyncio.current_task()
        self.watches.add(task)
        self._board.watch(request.service, tell)
        try:
            last = 0
            while (status := await statuses.get()) is not None:
                if status != last:
                    yield _response(status)
                last = status
        finally:
            self._board.unwatch(tell)
            self.watches.discard(task)
