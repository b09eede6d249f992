"""Python's own side of signals, while a lifecycle lives.

The lifecycle's handlers are installed beneath Python's and call on to them. Two things are
Python's alone: the KeyboardInterrupt of a program that has no handler for SIGINT, which would tear
a graceful stop apart; and handlers that are installed later, in place of ours without a word. Those
of Python pass through few functions, which are wrapped; for all others, C's among them, everything
that the program asks of the lifecycle looks: a few system calls, and no waiting in between.
"""

from __future__ import annotations

import _signal  # type: ignore[import]  # what signal.py itself is made of
import asyncio
import atexit
import contextlib
import faulthandler
import fcntl
import functools
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from lastcall import _log, _native

# Where every signal.signal() ends, also one that was kept under another name: that is a function in
# Python, and looks for this one each time.
_set_handler = _signal.signal

# Those of Python that put a handler in place: module and name.
_INSTALLERS: tuple[tuple[Any, str], ...] = (
    (_signal, "signal"), (faulthandler, "register"), (faulthandler, "unregister"))

# Those that take a signal before any handler meets it.
_WAITS: tuple[tuple[Any, str], ...] = (
    (_signal, "sigwait"), (signal, "sigwaitinfo"), (signal, "sigtimedwait"))

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
        self._wrapped: list[tuple[Any, str, Any, Any]] = []  # module, name, wrapper, what it was
        self._warned = False

    def install(self) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if _in_main_thread() and _interrupts(handler):
            _set_handler(signal.SIGINT, _signal.SIG_DFL)
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
        for places, after in ((_INSTALLERS, _reclaim), (_WAITS, _hear)):
            for module, name in places:
                original = getattr(module, name)
                wrapper = self._around(original, after)
                self._wrapped.append((module, name, wrapper, original))
                setattr(module, name, wrapper)

    def remove(self) -> None:
        global _installed
        _installed = None
        for module, name, wrapper, original in self._wrapped:
            if getattr(module, name) is wrapper:
                setattr(module, name, original)
        self._wrapped.clear()
        if self.dump >= 0:
            faulthandler.unregister(signal.SIGUSR1)
            os.close(self.dump)
            os.close(self._dump_end)
            self.dump = self._dump_end = -1
        if (self._interrupt is not None and _in_main_thread() and
                signal.getsignal(signal.SIGINT) is signal.SIG_DFL):
            _set_handler(signal.SIGINT, self._interrupt)

    def look(self) -> None:
        """Takes the signals back from handlers that came past Python, and calls those from then on.
        Threads: any."""
        numbers = _native.reclaim_signals()
        if numbers and not self._warned:
            self._warned = True
            names = " and ".join(signal.Signals(each).name for each in numbers)
            _log.warning(f"{names} was given a handler beneath Python, in the lifecycle's place: "
                         "both are called from now on, but a signal that came in between went to "
                         "that one alone; install it before the lifecycle's block or by "
                         "signal.signal(), or call the lifecycle's ready() immediately after it")

    def outlive(self) -> None:
        """The interpreter's end gives each signal that has a handler in Python its default action,
        before the program's last objects go. Those handlers are not called any more then, nor have
        they to be taken away. In the main thread."""
        for number in _native.SIGNALS:
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)  # it is wrapped still: ours stays on top

    def _around(self, original: Callable[..., Any],
                after: Callable[[Any], None]) -> Callable[..., Any]:
        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if _installed is not self:  # this function has been kept
                return original(*args, **kwargs)
            if original is _set_handler and args[:1] == (signal.SIGINT,) and _interrupts(args[-1]):
                args = (args[0], _signal.SIG_DFL)
            result = original(*args, **kwargs)
            after(result)
            return result

        return wrapper


def _reclaim(result: Any) -> None:
    _native.reclaim_signals()  # ours on top again, and the new one called by it


def _hear(result: Any) -> None:
    if isinstance(result, signal.struct_siginfo):
        _native.hear_signal(result.si_signo, result.si_code, result.si_pid, result.si_uid)
    elif result is not None:  # None: the time was over
        _native.hear_signal(result, 0, 0, 0)  # nobody says who it was


_installed: Handlers | None = None


def look() -> None:
    """Where the program asks something of the lifecycle."""
    if _installed is not None:
        _installed.look()


def _remove_in_child() -> None:
    if _installed is not None:
        _installed.remove()


def _outlive() -> None:
    if _installed is not None and _in_main_thread():
        _installed.outlive()


atexit.register(_outlive)  # last of all that were registered after this package was imported
os.register_at_fork(after_in_child=_remove_in_child)  # its signals do what they did before


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
