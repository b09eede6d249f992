"""Durations as programs give them: seconds."""

from __future__ import annotations

import math
from typing import overload


@overload
def seconds(name: str, value: float) -> float: ...
@overload
def seconds(name: str, value: None) -> None: ...
@overload
def seconds(name: str, value: float | None, negative: bool = ...) -> float | None: ...


def seconds(name: str, value: float | None, negative: bool = False) -> float | None:
    """None stays None. `negative`: what is below 0 is 0, as a time-out that is over."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    try:
        value = float(value)
    except OverflowError:  # an integer without end
        value = math.inf if value > 0 else -math.inf
    if math.isnan(value) or (value < 0 and not negative):
        raise ValueError(f"{name} must be 0 or more seconds, not {value!r}; "
                         'for no limit say float("inf")')
    return max(0.0, value)


def length(name: str, value: float) -> float:
    """One that must be given."""
    if value is None:
        raise TypeError(f"{name} is a number of seconds: say 0 for none, "
                        'or float("inf") for no limit')
    return seconds(name, value)
