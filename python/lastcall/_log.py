"""What the package itself has to say, to logging, from a thread of its own: a handler of the program's
may block, and neither a stage nor a call waits for it."""

from __future__ import annotations

import atexit
import collections
import logging
import os
import sys
import threading
from typing import Any

_LOG = logging.getLogger("lastcall")

# More records than these do not wait; they are counted, and that is said later.
_MOST = 1000

# How long the end of the interpreter waits for a handler, in seconds.
_PATIENCE = 0.1


class _Queue:
    """Threads: any. Does not block but in flush()."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # of an RLock: a signal's handler may log, too
        self._records: collections.deque[logging.LogRecord] = collections.deque()
        self._dropped = 0
        self._busy = False  # a handler has a record
        self._thread: threading.Thread | None = None

    def put(self, record: logging.LogRecord) -> None:
        with self._changed:
            if len(self._records) >= _MOST or not self._start():
                self._dropped += 1
                return
            self._records.append(record)
            self._changed.notify_all()

    def flush(self, patience: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._records and not self._busy, patience)

    def _start(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="lastcall-log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # there is no thread left
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._records)
                record = self._records.popleft()
                dropped, self._dropped = self._dropped, 0
                self._busy = True
            _LOG.handle(record)
            if dropped:
                _LOG.warning("%d log records were dropped because the log was not read", dropped)


_queue = _Queue()


def warning(text: str) -> None:
    _say(logging.WARNING, text, None)


def exception(text: str) -> None:
    """With the exception that is being handled."""
    _say(logging.ERROR, text, sys.exc_info())


def _say(level: int, text: str, error: Any) -> None:
    if _LOG.isEnabledFor(level):
        file, line, function, _ = _LOG.findCaller(stacklevel=3)
        _queue.put(_LOG.makeRecord(_LOG.name, level, file, line, text, (), error, function))


def _flush() -> None:
    _queue.flush(_PATIENCE)


def _forget() -> None:
    global _queue
    _queue = _Queue()


atexit.register(_flush)
os.register_at_fork(after_in_child=_forget)  # the thread is the parent's
