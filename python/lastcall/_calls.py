"""The calls of a server: each entered as work in flight while its handler runs, and whether any is
in progress at all.

grpcio takes interceptors only where a server is made, and attach() comes after that. So this
reaches for the list of handlers inside the server and puts one around each. Where a grpcio keeps
that list elsewhere, calls are not counted and not named in the receipt; all the rest works without.
Nor does it say what is in progress before a handler begins, so that is looked for inside it too.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from lastcall import _log, _native
from lastcall._context import is_async, on_end
from lastcall._signals import look
from lastcall._stalls import Call, Requests, Stalls

_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def handlers_of(server: Any) -> list[Any] | None:
    """The list of generic handlers that the server reads; None where it is not found."""
    state = getattr(server, "_state", None)  # of grpc.server
    handlers = getattr(state, "generic_handlers", None)
    if handlers is None:
        # Of grpc.aio.server: compiled, with its fields out of reach, but not for the collector. Its
        # only list is this one.
        lists = [each for each in gc.get_referents(getattr(server, "_server", None))
                 if isinstance(each, list)]
        handlers = lists[0] if len(lists) == 1 else None
    if not isinstance(handlers, list) or not all(hasattr(each, "service") for each in handlers):
        _log.warning(f"grpcio {grpc.__version__} keeps its handlers in an unknown place: calls are "
                     "not counted, and health knows only the server as a whole")
        return None
    return handlers


def services_of(handlers: list[Any]) -> list[str]:
    return [each.service_name() for each in handlers if isinstance(each, grpc.ServiceRpcHandler)]


class InFlight:
    """The calls of one server: each from when its handler begins until that has returned and the
    answer is sent, or is not wanted any more.

    Threads: any, for every method.
    """

    def __init__(self, program: _native.Program, stalls: Stalls) -> None:
        self._program = program
        self._stalls = stalls
        self.so_far = 0  # changes whenever a handler begins
        # The coroutine that grpc.aio runs a call in: as of 1.51, then as the calls here show it.
        self.task_kind = "_handle_exceptions"

    @contextlib.contextmanager
    def entered(self, method: str, context: Any) -> Iterator[Call]:
        self.so_far += 1
        if is_async(context) and (task := asyncio.current_task()):
            self.task_kind = _kind(task)
        look()
        work = self._program.enter(method, context.peer())
        ends = itertools.count(1)

        def ended() -> None:
            if next(ends) == needed:
                work.end()

        needed = 2
        if not on_end(context, ended):
            needed = 1
        call = self._stalls.enter(method, context)
        try:
            yield call
        finally:
            self._stalls.leave(call)
            ended()


def sync_under_way(server: grpc.Server, others: Iterable[Any]) -> bool | None:
    """Whether a grpc.server has a call that is not among `others`: also one whose message is still
    arriving, that an interceptor works on, or that waits for a thread. None: this grpcio keeps its
    calls elsewhere."""
    state: Any = getattr(server, "_state", None)
    calls = getattr(state, "rpc_states", None)
    if not isinstance(calls, set) or not hasattr(state, "lock"):
        return None
    with state.lock:  # which is held while interceptors work
        return not calls.issubset(others)


def aio_under_way(in_flight: InFlight, others: Iterable[asyncio.Task[Any]]) -> bool:
    """The same of the grpc.aio.servers in this loop; `others` are tasks."""
    tasks = asyncio.all_tasks().difference(others)
    return any(_kind(task) == in_flight.task_kind for task in tasks)


def _kind(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", "")


class Counted(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A generic handler whose calls are counted."""

    def __init__(self, inner: Any, in_flight: InFlight) -> None:
        self._inner = inner
        self._in_flight = in_flight
        self._made: dict[str, tuple[Any, Any]] = {}  # by method: the handler, and ours around it

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = self._inner.service(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        known = self._made.get(method)
        if known is None or known[0] is not handler:
            known = (handler, self._wrap(handler, method))
            if len(self._made) < 1000:  # a handler for any name must not fill the memory
                self._made[method] = known
        return known[1]

    def _wrap(self, handler: Any, method: str) -> Any:
        kind = _KINDS[2 * handler.request_streaming + handler.response_streaming]
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        behavior = _around(getattr(handler, kind), handler.request_streaming,
                           handler.response_streaming, functools.partial(self._in_flight.entered, method))
        return make(behavior, handler.request_deserializer, handler.response_serializer)


def _around(behavior: Callable[..., Any], reads: bool, streams: bool,
            entered: Callable[..., Any]) -> Any:
    if getattr(behavior, "experimental_non_blocking", False):
        return behavior  # it returns before its call ends

    if inspect.isasyncgenfunction(behavior):
        async def counted(request: Any, context: Any) -> Any:
            with entered(context):
                async with contextlib.aclosing(behavior(request, context)) as responses:
                    async for response in responses:
                        yield response
    elif inspect.iscoroutinefunction(behavior):
        async def counted(request: Any, context: Any) -> Any:  # type: ignore[misc]
            with entered(context) as call:
                coroutine = behavior(request, context)
                if not reads and not streams:
                    call.coroutine = coroutine
                return await coroutine
    elif streams:
        def counted(request: Any, context: Any) -> Any:
            with entered(context) as call:
                yield from _told(behavior(_requests(request, reads, call), context), call)
    else:
        def counted(request: Any, context: Any) -> Any:
            with entered(context) as call:
                return behavior(_requests(request, reads, call), context)
    return functools.wraps(behavior, assigned=())(counted)  # grpcio's own attributes, in __dict__


def _requests(request: Any, reads: bool, call: Call) -> Any:
    return Requests(request, call) if reads else request


def _told(responses: Iterable[Any], call: Call) -> Iterator[Any]:
    """The responses of a synchronous handler, whose call gets on with each."""
    try:
        for response in responses:
            call.leaves()
            yield response
            call.returns()
    finally:
        if close := getattr(responses, "close", None):
            close()
