"""What claiming and renewing leases have in common."""

import asyncio

from msgspec import Struct

__all__ = ["Member", "rest"]


class Member(Struct, frozen=True):
    """A gateway as the service knows it."""

    gateway: str
    #: Sessions that it owns at most.
    capacity: int
    #: Names the store of its devices; `None` where it has none.
    devices: str | None


async def rest(until: asyncio.Event, seconds: float) -> None:
    """Wait for `seconds`, or until the event is set."""
    try:
        async with asyncio.timeout(seconds):
            await until.wait()
    except TimeoutError:
        pass
