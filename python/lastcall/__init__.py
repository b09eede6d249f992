"""The end of a program, in stages: serving, delay, grace, cancel, stopped.

    with lastcall.Lifecycle(delay=0, grace=20, cancel=5) as life:
        life.attach(server, "[::]:50051")      # a grpc.server or a grpc.aio.server
        life.wait_for_termination()            # in any thread; SIGTERM ends it
    sys.exit(life.exit_code)

Durations are seconds. Nothing in here holds the interpreter lock while it waits.
"""

from lastcall._event import Event
from lastcall._lifecycle import Lifecycle
from lastcall._native import LifecycleError, Work, __version__
from lastcall._offload import Offload
from lastcall._offload_threads import OffloadCounts, StopToken, stop_token
from lastcall._status import StatusError

__all__ = ["Event", "Lifecycle", "LifecycleError", "Offload", "OffloadCounts", "StatusError",
           "StopToken", "Work", "__version__", "stop_token"]
