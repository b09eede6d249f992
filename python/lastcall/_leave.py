"""Tells calls to leave: spread over the first half of grace, so that clients do not all come back
to the successor in one moment."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

from lastcall import _log, _native
from lastcall._context import is_async, is_context, on_end

Callback = Callable[[], Any]


class Leaving:
    """Threads: any, for add; spread belongs to the lifecycle's own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[object, Callback] = {}  # in the order in which they came
        self._began = False

    def add(self, context: Any, callback: Callback) -> None:
        if not is_context(context):
            raise TypeError("leaving() takes the context of a call, as its handler gets it, not "
                            f"{context!r}")
        if not callable(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError(f"leaving() takes a function to call, not {callback!r}: in asyncio, "
                            "one that sets an asyncio.Event, say")
        tell = _way_to(context, callback)
        key = object()
        with self._lock:
            late = self._began
            if not late:
                self._waiting[key] = tell
        if late:
            _try(tell)
        else:
            on_end(context, lambda: self._waiting.pop(key, None))

    def spread(self, turns: _native.LeaveTurns) -> None:
        """Blocks: until all are told. Calls that come once that has begun are told immediately."""
        turns.await_begin()
        with self._lock:
            self._began = True
            keys = list(self._waiting)
        turns.begin(len(keys))
        for key in keys:
            turns.await_next()
            tell = self._waiting.pop(key, None)
            if tell is not None:  # the call has not ended
                _try(tell)


def _try(tell: Callback) -> None:
    try:
        tell()
    except Exception:  # a callback's own fault, and nobody else's
        _log.exception("a callback of leaving() failed")


def _way_to(context: Any, callback: Callback) -> Callback:
    """How to call `callback` from any thread."""
    if not is_async(context):
        return callback
    loop = asyncio.get_running_loop()

    def tell() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(callback)

    return tell
