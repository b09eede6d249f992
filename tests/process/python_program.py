"""A Python program to test with, given as text, run as a real process.

    with Program('''
        with lastcall.Lifecycle() as life:
            say("ready")
            life.wait_for_termination()
    ''') as program:
        program.hear("ready")
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

# How late a planned instant may be noticed on a busy machine, and how long something may take that
# has nothing to wait for; seconds.
SLACK = 2.0
AT_ONCE = 3.0
PATIENCE = 60.0

# The number of its system call.
FUTEX = {"x86_64": "202", "aarch64": "98"}.get(os.uname().machine)

PRELUDE = """\
import asyncio, ctypes, json, os, select, signal, subprocess, sys, threading, time
import lastcall
from python_program import say
"""


def say(kind, /, **what):
    """Called by the program, in handlers of signals too: tells the test something."""
    # Not by sys.stdout, whose buffer a handler must not enter while it is being written.
    os.write(1, (json.dumps([kind, time.monotonic(), what]) + "\n").encode())


class Program:
    def __init__(self, text, env=None, stderr=None):
        self._file = tempfile.NamedTemporaryFile("w", prefix="program-", suffix=".py")
        self._file.write(PRELUDE + textwrap.dedent(text))
        self._file.flush()
        self._errors = tempfile.TemporaryFile()
        path = os.pathsep.join([os.environ["PYTHONPATH"], os.getcwd()])
        self._process = subprocess.Popen(
            [sys.executable, self._file.name], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._errors if stderr is None else stderr,
            env={**os.environ, "PYTHONPATH": path, **(env or {})})
        self.pid = self._process.pid
        self.asked = None  # when it was last sent a signal
        self.ended = None
        self._said = []
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            with self._changed:
                self._said.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()
        if error is not None:
            sys.stderr.write(self.errors())
        self._errors.close()
        self._file.close()

    def hear(self, kind):
        """The first of this kind that was not heard yet; "at": when it was said."""
        def found():
            return [each for each in self._said if each[0] == kind]

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, PATIENCE)
            assert found(), f"it does not say {kind}, but {self._said}: {self.errors()}"
            said = found()[0]
            self._said.remove(said)
        return {"at": said[1], **said[2]}

    def await_asleep(self, in_a_lock=False):
        """Until its main thread waits in the kernel, and not for the interpreter lock; or, for all
        that one can see, for any lock."""
        end = time.monotonic() + PATIENCE
        while self._state() != "S" or self._is_in_a_lock() not in (in_a_lock, None):
            assert time.monotonic() < end, "its main thread does not wait"
            time.sleep(0.001)

    def _state(self):
        with open(f"/proc/{self.pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0]

    def _is_in_a_lock(self):
        try:
            with open(f"/proc/{self.pid}/syscall", encoding="utf-8") as call:
                return call.read().split()[0] in ("running", FUTEX)
        except OSError:  # kept from us
            return None

    def signal_until_it_ends(self, number):
        """For a main thread that is blocked in something of Python's, which does not see a signal
        that comes after the interpreter looked for one and before the system call."""
        while True:
            self.signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.3)
                return

    def signal(self, number):
        self.asked = time.monotonic()
        os.kill(self.pid, number)

    def go_on(self):
        """Lets it have the line that it reads from stdin."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def wait(self):
        """The exit code; -N: signal N."""
        code = self._process.wait(PATIENCE)
        self.ended = time.monotonic()
        return code

    def took(self):
        """From the last signal to the end of the process."""
        return self.ended - self.asked

    def errors(self):
        # Not by seek: the offset is the program's too, which would write over what is there.
        return os.pread(self._errors.fileno(), 1 << 24, 0).decode()

    def forced_receipt(self):
        """The receipt that a process leaves on stderr which had to be ended by force."""
        lines = [line for line in self.errors().splitlines() if line.startswith('{"api_version"')]
        assert lines, self.errors()
        return json.loads(lines[-1])


def run(text, **kwargs):
    """Runs a program to its end; everything it said by kind, and its exit code as "code"."""
    with Program(text, **kwargs) as program:
        code = program.wait()
        program._reader.join()
        return {"code": code, "errors": program.errors(),
                **{kind: what for kind, _, what in program._said}}


def threads_of(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


__all__ = ["AT_ONCE", "PATIENCE", "SLACK", "Program", "run", "say", "signal", "threads_of"]
