"""liblastcall for Python. Stages are numbers, STAGES has them by name; durations are seconds, None:
not given. Everything but `until` raises LifecycleError in a forked child."""

from collections.abc import Callable
from types import TracebackType

STAGES: dict[str, int]
SIGNALS: list[int]  # that the lifecycle reads
__version__: str

class LifecycleError(RuntimeError):
    """Something cannot be done now, here, or by this process; the text says what to do instead."""

class Work:
    """Something in flight or open, until end() or its block ends."""

    def end(self) -> None:
        """Does nothing the second time."""
    def __enter__(self) -> Work: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None: ...

class LeaveTurns:
    """When the calls in flight are told to leave, as the plan has it at each moment."""

    def await_begin(self) -> None:
        """Blocks: until it is time to look who is there, without the interpreter lock."""
    def begin(self, count: int) -> None:
        """So many are there."""
    def await_next(self) -> None:
        """Blocks: until the next one's turn, without the interpreter lock."""

class Program:
    """Reads signals and moves through the stages, in a thread of its own, without Python."""

    def __init__(self, name: str, delay: float, grace: float, cancel: float,
                 stacks: Callable[[], dict[int, tuple[str, list[str]]]], dump: int) -> None:
        """`stacks` is asked when the process is ended by force: by thread, its name (empty: no
        process is kept alive by it) and its stack, the innermost first. What can be read from the
        descriptor `dump`, which does not block, belongs to a dump (SIGUSR1); -1: nothing."""
    def close(self) -> None:
        """Gives the signals back; the process may go on for as long as it likes. Blocks: until its
        thread has ended, without the interpreter lock."""
    def asked_by_signal(self) -> bool:
        """Whether one of the requests for the stop was a signal: then the process is ended by
        force at the plan's end, unless close() comes before."""
    def keep(self) -> None:
        """It is not collected, not even when the interpreter ends."""
    def check_process(self) -> None: ...
    def shutdown(self, reason: str, delay: float | None, grace: float | None,
                 cancel: float | None) -> None: ...
    def configure(self, delay: float | None, grace: float | None,
                  cancel: float | None) -> None: ...
    def enter(self, name: str, peer: str) -> Work: ...
    def open(self, name: str) -> Work: ...
    def hold(self, name: str) -> Work:
        """Keeps grace and cancel open and is no call."""
    def reached(self, stage: int) -> bool: ...
    def wait(self, stage: int, timeout: float | None) -> bool:
        """Blocks: without the interpreter lock; signal handlers do not run meanwhile."""
    def wait_and_tell(self, stage: int, timeout: float) -> tuple[bool, float]:
        """As wait(), and for how many seconds it waited for the interpreter lock afterwards."""
    def leave_turns(self) -> LeaveTurns:
        """At the beginning of grace."""
    def fileno(self, stage: int) -> int:
        """-1: no descriptor could be made."""
    def until(self, stage: int) -> float | None:
        """Seconds from now until the stage begins as planned; None: no such instant."""
    def receipt(self) -> str | None:
        """JSON; None until stopped."""

class Notifier:
    """sd_notify(3), where NOTIFY_SOCKET says so. Takes that out of the environment."""

    def ready(self, status: str) -> None: ...
    def stopping(self, status: str) -> None: ...
    def extend_timeout(self, seconds: float) -> None: ...

def reclaim_signals() -> list[int]:
    """Puts the lifecycle's handlers back on top of those that were installed since. Returns the
    signals for which there were some."""

def hear_signal(signalnum: int, code: int, pid: int, uid: int) -> None:
    """The lifecycle hears a signal that no handler meets, for the program has waited for it."""

def has_default_action(signalnum: int) -> bool:
    """Asks the kernel: signal.getsignal() knows nothing of handlers that C has installed."""
