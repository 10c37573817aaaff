"""What is asked of several partitions at once, each of which may be on a Redis that is away."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from sekring.errors import StoreUnavailable

__all__ = ["Confirm", "answers", "unconfirmed"]

#: Tells whether Redis' replicas have what was written in a partition since a time (monotonic, s).
Confirm = Callable[[int, float], Awaitable[bool]]

Answer = TypeVar("Answer")


def answers(results: Iterable[Answer | BaseException]) -> list[Answer]:
    """Return what there is of `gather(…, return_exceptions=True)`.

    Raises:
        StoreUnavailable: there is nothing but that.
    """
    found: list[Answer] = []
    away: StoreUnavailable | None = None
    for result in results:
        if isinstance(result, StoreUnavailable):
            away = result
        elif isinstance(result, BaseException):
            raise result
        else:
            found.append(result)
    if away and not found:
        raise away
    return found


def unconfirmed() -> StoreUnavailable:
    """Return the error for what Redis took, and a failover could undo."""
    return StoreUnavailable("Redis' replicas have not confirmed it in time; send it again.")
