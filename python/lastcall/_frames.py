"""Where threads and coroutines are, for reports: the frames of a handler alone, without what calls it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import FrameType
from typing import Any, NamedTuple

_MOST = 50
_TOP = 4  # frames that tell one place from another
_CALLS = os.path.join(os.path.dirname(__file__), "_calls.py")
_ASYNCIO = os.sep + "asyncio" + os.sep


class Place(NamedTuple):
    """Where a function is."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.function} ({self.file}:{self.line})"


def of_thread(frame: FrameType) -> list[Place]:
    """Innermost first, as far as to the handler or the callback of the loop."""
    places: list[Place] = []
    each: FrameType | None = frame
    while each is not None and not _calls_handlers(each) and len(places) < _MOST:
        places.append(_place(each))
        each = each.f_back
    return places


def of_coroutine(coroutine: Any) -> list[Place]:
    """Of one that is suspended, through all that it awaits; innermost first."""
    places: list[Place] = []
    awaited = ""
    while coroutine is not None and len(places) < _MOST:
        frame = _first(coroutine, ("cr_frame", "gi_frame", "ag_frame"))
        if frame is None:
            awaited = type(coroutine).__qualname__.removesuffix("Iter")  # of a Future
            break
        places.append(_place(frame))
        coroutine = _first(coroutine, ("cr_await", "gi_yieldfrom", "ag_await"))
    if awaited:
        places.append(Place("waits for a " + awaited, "", 0))
    return places[::-1]


def lines(places: Iterable[Place]) -> str:
    """To be put behind a line: one more for each."""
    return "".join(f"\n  {each if each.file else each.function}" for each in places)


def kind(places: list[Place]) -> str:
    """The same for what is in the same functions."""
    return " ".join(f"{each.file}:{each.function}" for each in places[:_TOP])


def waits_in_loop(frame: FrameType) -> bool:
    """Whether it is an event loop's own code, where there is nothing to run."""
    file = frame.f_code.co_filename
    return os.path.basename(file) == "selectors.py" or _ASYNCIO in file


def _calls_handlers(frame: FrameType) -> bool:
    code = frame.f_code
    return code.co_filename == _CALLS or (
        code.co_name == "_run" and code.co_filename.endswith(_ASYNCIO + "events.py"))


def _place(frame: FrameType) -> Place:
    code = frame.f_code
    return Place(getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno)


def _first(thing: Any, names: Iterable[str]) -> Any:
    return next((found for name in names if (found := getattr(thing, name, None)) is not None), None)
