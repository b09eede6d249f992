"""The context of a call, as the handlers of grpc.server and of grpc.aio.server get it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def is_context(context: Any) -> bool:
    return hasattr(context, "add_callback") or hasattr(context, "add_done_callback")


def is_async(context: Any) -> bool:
    return not hasattr(context, "add_callback")


def on_end(context: Any, ended: Callable[[], Any]) -> bool:
    """Calls `ended` once when the call is over for its client, or now where it is. False: it
    never will, for grpc.aio tells synchronous handlers nothing."""
    if is_async(context):
        context.add_done_callback(lambda *_: ended())
        return True
    will_call = context.add_callback(ended)
    if will_call is False:
        ended()
    return will_call is not None
