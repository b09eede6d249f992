"""Tells calls to leave: spread over the first half of grace, so that clients do not all come back
to the successor in one moment."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from lastcall._context import is_async, is_context, on_end
from lastcall._event import Event

_LOG = logging.getLogger("lastcall")

# The spread where grace has no end, in seconds.
_LONGEST_SPREAD = 30.0

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
        tell = _way_to(context, callback)
        key = object()
        with self._lock:
            late = self._began
            if not late:
                self._waiting[key] = tell
        if late:
            tell()
        else:
            on_end(context, lambda: self._waiting.pop(key, None))

    def spread(self, cancel: Event, grace_length: float | None) -> None:
        """Blocks: until everybody is told, or the cancel stage begins (then at once)."""
        with self._lock:
            self._began = True  # who comes from now on is told at once
            turns = list(self._waiting)
        began = time.monotonic()
        span = _LONGEST_SPREAD if grace_length is None else grace_length / 2
        for number, key in enumerate(turns):
            cancel.wait(max(0.0, began + span * number / len(turns) - time.monotonic()))
            self._tell(key)

    def _tell(self, key: object) -> None:
        tell = self._waiting.pop(key, None)  # None: the call has ended
        if tell is None:
            return
        try:
            tell()
        except Exception:  # a callback's own fault, and nobody else's
            _LOG.exception("a callback of leaving() failed")


def _way_to(context: Any, callback: Callback) -> Callback:
    """How to call `callback` from any thread."""
    if not is_async(context):
        return callback
    loop = asyncio.get_running_loop()

    def tell() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(callback)

    return tell
