"""What the errors mean that a node answers calls with, and what callers are told."""

from typing import Final

import structlog
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from sekring.errors import StoreUnavailable
from sekring.store.calls import Call
from sekring.store.connection import Dialogue
from sekring.store.library import LIBRARIES, Library

__all__ = ["BOUNCES", "give", "is_missing", "refused", "unreachable"]

#: Answers that say "not here" or "not now": the call was not run and may be repeated.
BOUNCES: Final = (AskError, TryAgainError, ClusterDownError, BusyLoadingError, ReadOnlyError)

_log = structlog.get_logger(__name__)


def unreachable(words: str) -> StoreUnavailable:
    """Return the error that says why Redis cannot be reached."""
    return StoreUnavailable(f"Redis cannot be reached: {words}.")


def refused(call: Call, error: Exception) -> StoreUnavailable:
    """Return the error that says what Redis said to a call; it is logged, for it is our fault."""
    if isinstance(error, ResponseError):
        name = call.script.name if call.script else str(call.command[0])
        _log.error("redis refused a call", call=name, error=str(error))
    return StoreUnavailable(f"Redis refused: {str(error).rstrip('.')}.")


def is_missing(answer: object) -> bool:
    """Tell whether the node lacks the script that it was to run."""
    return isinstance(answer, ResponseError) and str(answer) == "Function not found"


async def give(library: Library, dialogue: Dialogue, timeout_s: float) -> object:
    """Give a node the scripts; return how it has answered. That it has them by now is no harm.

    Raises:
        ConnectionLost: it cannot be reached.
    """
    given, listed = await dialogue.exchange(
        [
            ("FUNCTION", "LOAD", library.text),
            ("FUNCTION", "LIST", "LIBRARYNAME", LIBRARIES),
        ],
        timeout_s,
    )
    if isinstance(listed, list) and (outdated := library.superfluous(listed)):
        deletes = [("FUNCTION", "DELETE", name) for name in outdated]
        await dialogue.exchange(deletes, timeout_s)
    return given
