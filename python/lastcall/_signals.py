"""Python's own side of signals, while a lifecycle lives.

The lifecycle's handlers are installed beneath Python's and call on to them. Two things are
Python's alone: the KeyboardInterrupt of a program that has no handler for SIGINT, which would tear
a graceful stop apart; and signal.signal(), which puts Python's handler in place of ours without a
word.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import fcntl
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from lastcall import _native

_signal = signal.signal

# What the stacks of all threads may take up, in bytes, until the lifecycle has read them.
_DUMP_SIZE = 1 << 20


def _interrupts(handler: Any) -> bool:
    """Whether the handler only makes a KeyboardInterrupt: Python's own, or asyncio.run()'s."""
    owner = getattr(getattr(handler, "func", None), "__self__", None)
    runner = getattr(asyncio, "Runner", None)  # since Python 3.11
    return handler is signal.default_int_handler or (runner is not None and
                                                     isinstance(owner, runner))


class Handlers:
    """Order: install before the program reads signals, remove after it has stopped reading them."""

    def __init__(self) -> None:
        self._interrupt: Any = None  # the handler that was taken away
        self.dump = -1  # SIGUSR1 shows the stacks: there they can be read
        self._dump_end = -1
        self._wrapper: Callable[..., Any] | None = None

    def install(self) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if _in_main_thread() and _interrupts(handler):
            _signal(signal.SIGINT, signal.SIG_DFL)
            self._interrupt = handler
        if _native.has_default_action(signal.SIGUSR1):
            # The lifecycle says what is in flight, and calls on to this: where every thread is.
            with contextlib.suppress(AttributeError, OSError, RuntimeError, ValueError):
                # Not to stderr: a handler that waits for whoever reads that has the interpreter
                # lock meanwhile.
                self.dump, self._dump_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
                with contextlib.suppress(OSError):  # a user may have so much of pipes and no more
                    fcntl.fcntl(self._dump_end, fcntl.F_SETPIPE_SZ, _DUMP_SIZE)
                faulthandler.register(signal.SIGUSR1, file=self._dump_end, all_threads=True,
                                      chain=False)
        global _installed
        _installed = self

        def wrapper(signalnum: int, handler: Any) -> Any:
            if _installed is not self:  # somebody has kept this function
                return _signal(signalnum, handler)
            if signalnum == signal.SIGINT and _interrupts(handler):
                handler = signal.SIG_DFL
            before = _signal(signalnum, handler)
            _native.reclaim_signals()  # ours on top again, and this one called by it
            return before

        wrapper.__doc__ = _signal.__doc__
        self._wrapper = signal.signal = wrapper

    def remove(self) -> None:
        global _installed
        _installed = None
        if signal.signal is self._wrapper:
            signal.signal = _signal
        if self.dump >= 0:
            faulthandler.unregister(signal.SIGUSR1)
            os.close(self.dump)
            os.close(self._dump_end)
            self.dump = self._dump_end = -1
        if (self._interrupt is not None and _in_main_thread() and
                signal.getsignal(signal.SIGINT) is signal.SIG_DFL):
            _signal(signal.SIGINT, self._interrupt)


_installed: Handlers | None = None


def _remove_in_child() -> None:
    if _installed is not None:
        _installed.remove()


os.register_at_fork(after_in_child=_remove_in_child)  # its signals do what they did before


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
