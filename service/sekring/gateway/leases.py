"""The leases that a gateway holds, and what time means for them.

All times are this machine's CLOCK_MONOTONIC, in seconds: no lease depends on a clock that others
set. A lease lasts for its `ttl` from when the service took the claim or the renewal, which is no
earlier than when it was sent; ours therefore ends a margin before the sending + `ttl`.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from sekring.wire import HeldLease, PhaseBody

__all__ = ["Holding", "Terms", "excess"]

#: What a worker may take at most to end a connection whose lease is over, in seconds: a second
#: until it ends itself, half a second more until the kernel does, and a little. Leases that are too
#: short for that (below 3.5 s) trust that connections end when they are told to.
_WORKER_S: Final = 1.75

#: How long the service may take to answer a renewal at most, in seconds.
_WITHIN_S: Final = 5.0

#: How far above its share a gateway may stay: one session, or this part of the share.
_TOLERANCE: Final = 0.1


class Terms(Struct, frozen=True):
    """What follows from how long leases last."""

    ttl_s: float

    @property
    def margin_s(self) -> float:
        """How long before its end a lease counts as over here: all is ended by then."""
        return max(self.ttl_s / 5, min(_WORKER_S, self.ttl_s / 2))

    @property
    def renew_every_s(self) -> float:
        """From the sending of one renewal to that of the next: a third, if leases are long."""
        return min(self.ttl_s / 3, (self.ttl_s - self.margin_s) / 2.4)

    @property
    def retry_s(self) -> float:
        """From a renewal that failed to the next."""
        return self.ttl_s / 30

    @property
    def within_s(self) -> float:
        """How long to wait for the answer to a renewal: two may fail before it is too late."""
        return min(max(0.5, self.renew_every_s / 2), _WITHIN_S)

    def until_s(self, sent_s: float) -> float:
        """Return until when a lease lasts here that was asked for at `sent_s`."""
        return sent_s + self.ttl_s - self.margin_s


class Holding:
    """One lease, from its claim until nothing of its session is left."""

    __slots__ = ("connected", "ended", "ending", "instance_id", "lost", "token", "told", "until_s")

    def __init__(self, instance_id: str, token: int, until_s: float) -> None:
        """Hold it until `until_s`, unless it is renewed."""
        self.instance_id = instance_id
        self.token = token
        self.until_s = until_s
        #: Why its session is being ended; "": it is not.
        self.ending = ""
        #: It is another gateway's by now, or nobody's.
        self.lost = False
        #: Whether the session is logged in, as its session said last.
        self.connected = False
        #: The phase that the service was told of last.
        self.told: PhaseBody | None = None
        #: Set when nothing of the session is left.
        self.ended = asyncio.Event()

    @property
    def named(self) -> HeldLease:
        """The lease as the service is told of it."""
        return HeldLease(self.instance_id, self.token)

    def renew(self, until_s: float) -> None:
        """Let it last until then; never shorter than it did."""
        self.until_s = max(self.until_s, until_s)

    def is_over(self, now_s: float) -> bool:
        """Tell whether its session has to be ended, whatever else."""
        return self.lost or now_s >= self.until_s


def excess(holdings: Iterable[Holding], share: int) -> Holding | None:
    """Return the session to hand over to another gateway, if too many are held.

    One at a time, and one that is not connected if there is one. A gateway keeps a session more
    than its share, or a tenth more: sessions do not wander for the sake of evenness.
    """
    kept: Sequence[Holding] = [one for one in holdings if not one.ending]
    if len(kept) - share <= max(1.0, share * _TOLERANCE):
        return None
    return min(kept, key=lambda one: one.connected)
