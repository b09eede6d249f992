"""StatusError: how offloaded work ended, as what its client is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import grpc


class StatusError(Exception):
    """A status: `code` is the name of a grpc.StatusCode, as "NOT_FOUND", `details` a text for the
    client. Work may raise one, and that is its answer; see Offload for those that others raise.
    """

    def __init__(self, code: str | grpc.StatusCode, details: str = "") -> None:
        self.code: str = code if isinstance(code, str) else code.name
        self.details = details
        super().__init__(self.code, details)

    def __str__(self) -> str:
        return f"{self.code}: {self.details}"


def abort(context: Any, error: StatusError) -> NoReturn:
    """Ends the call of a synchronous handler with this status."""
    context.abort(_code(error), error.details)
    raise error  # to synchronous handlers of grpc.aio it returns


async def abort_async(context: Any, error: StatusError) -> NoReturn:
    await context.abort(_code(error), error.details)
    raise error


def _code(error: StatusError) -> Any:
    import grpc  # is there where calls are

    code = getattr(grpc.StatusCode, error.code, None)
    return grpc.StatusCode.UNKNOWN if code in (None, grpc.StatusCode.OK) else code
