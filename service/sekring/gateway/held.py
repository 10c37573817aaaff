"""What a gateway holds: each lease with the session under it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

import structlog

from sekring.gateway.leases import Holding
from sekring.wire import Phase, RenewedLease

__all__ = ["Held", "KeptSession"]

_log = structlog.get_logger(__name__)


class KeptSession(Protocol):
    """What a lease is held for."""

    async def run(self) -> None:
        """Keep the session connected until cancelled; then nothing of it is left."""
        ...

    def extend(self, until_s: float) -> None:
        """Take note that the lease lasts until then (CLOCK_MONOTONIC, s)."""
        ...


S = TypeVar("S", bound=KeptSession)


class _Kept(NamedTuple, Generic[S]):
    holding: Holding
    session: S
    running: asyncio.Task[None]


class Held(Generic[S]):
    """The leases by instance. Ending a session cancels it; it is gone only when that is through."""

    def __init__(self, lost: Callable[[str], None]) -> None:
        """Begin with none; `lost` is told why a lease was lost: `expired`, `taken`, `abandoned`."""
        self._kept: dict[str, _Kept[S]] = {}
        self._tell_lost = lost

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Holding]:
        return iter([kept.holding for kept in self._kept.values()])

    @property
    def sessions(self) -> list[S]:
        """The sessions that are kept now."""
        return [kept.session for kept in self._kept.values()]

    @property
    def phases(self) -> Counter[Phase]:
        """How many sessions stand where, by what the service was told last."""
        told = (holding.told for holding in self)
        return Counter(body.phase if body else Phase.WAITING for body in told)

    def holding(self, instance_id: str) -> Holding | None:
        """Return the lease of an instance, if it is held."""
        kept = self._kept.get(instance_id)
        return kept.holding if kept else None

    def session(self, instance_id: str) -> S | None:
        """Return the instance's session, if it is kept here and not being ended."""
        kept = self._kept.get(instance_id)
        return None if kept is None or kept.holding.ending else kept.session

    def add(self, holding: Holding, session: S, running: asyncio.Task[None]) -> None:
        """Hold a lease from now on."""
        self._kept[holding.instance_id] = _Kept(holding, session, running)

    def remove(self, holding: Holding) -> None:
        """Take note that nothing of its session is left."""
        del self._kept[holding.instance_id]

    def end(self, holding: Holding, why: str) -> None:
        """End the session of a lease; a second time changes nothing."""
        if holding.ending:
            return
        holding.ending = why
        _log.info("session is ended", instance_id=holding.instance_id, why=why)
        if kept := self._kept.get(holding.instance_id):
            kept.running.cancel()

    def expire(self, holding: Holding) -> None:
        """End a session whose lease is over by our own clock."""
        self._tell_lost("expired")
        self.end(holding, "its lease is over")

    def lose(self, holding: Holding) -> None:
        """End a session whose lease is another gateway's by now, or nobody's."""
        if not holding.lost:
            self._tell_lost("taken")
        holding.lost = True
        self.end(holding, "another gateway owns it")

    def abandon(self, holding: Holding) -> None:
        """Take note that nothing is known of its connection: the lease runs out."""
        holding.lost = True
        self._tell_lost("abandoned")

    def renewed(self, holding: Holding, answer: RenewedLease, until_s: float) -> None:
        """Take the answer to a renewal; the lease lasts until then if it is still ours."""
        kept = self._kept.get(holding.instance_id)
        if kept is None or kept.holding is not holding:
            return  # it has ended meanwhile
        if not answer.held:
            self.lose(holding)
            return
        holding.renew(until_s)
        if not answer.wanted:
            self.end(holding, "it is not to be connected any more")
        if not holding.ending:
            kept.session.extend(holding.until_s)
