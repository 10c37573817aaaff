"""The use-cases on all instances: totals, listing, resetting many."""

import asyncio
from collections.abc import Sequence

from msgspec import Struct, structs

from sekring.breaker import Breaker
from sekring.errors import Refused, StoreUnavailable
from sekring.listing import Listing, Page
from sekring.model import FleetTotals, Origin, State
from sekring.store.contract import PartitionTotals, Reading, SnapshotRequest, TotalsRequest
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads
from sekring.store.scripts import Scripts
from sekring.wire import ResetsAnswer

__all__ = ["Fleet", "Totals"]

#: Instances that are read or reset at once.
_INSTANCES_AT_ONCE = 500

#: Due instances, in all partitions, that totals are corrected for. The sweep leaves far fewer. More
#: are there only for seconds, after many connected or failed at once; then the sums say they lag.
_DUE_MAX = 4_000

#: How often totals are read again because something changed while they were being corrected.
_TOTALS_TRIES = 3

_NONE_RESET = ResetsAnswer(requested=0, reset=0, unchanged=0, banned=0)

_SUMS = FleetTotals.__struct_fields__


class Totals(Struct, frozen=True):
    """The sums over all instances."""

    sums: FleetTotals
    #: Time has changed more instances than could be corrected for: the sums lag by seconds.
    lagging: bool
    #: A part of the Redis could not be reached: its sums are the last known ones.
    degraded: bool


class Fleet:
    """Reads the indexes of all partitions; its cost grows with those, not with the instances."""

    def __init__(
        self, scripts: Scripts, reads: Reads, keyspace: Keyspace, breaker: Breaker
    ) -> None:
        """Use the store through `scripts` and `reads`, and `breaker` for resets."""
        self._scripts = scripts
        self._keyspace = keyspace
        self._breaker = breaker
        self._listing = Listing(scripts, reads, keyspace)
        self._last = [PartitionTotals() for _ in keyspace.all_partitions()]

    async def totals(self) -> Totals:
        """Return the sums over all instances, exact as of now unless they say otherwise."""
        request = self._totals_request()
        stored, degraded = await self._stored_parts(request)
        corrected: list[FleetTotals] = [part for part in stored if not part.due]
        behind = [number for number, part in enumerate(stored) if part.due]
        together = max(1, _INSTANCES_AT_ONCE // request.limit)
        for first in range(0, len(behind), together):
            some = behind[first : first + together]
            corrected += await asyncio.gather(
                *(self._corrected(number, stored[number], request) for number in some)
            )
        lagging = any(len(part.due) >= request.limit for part in stored)
        return Totals(FleetTotals.sum(corrected), lagging, degraded)

    async def stored_totals(self) -> Totals:
        """Return the sums as they are stored, at the cost of one script a partition.

        What time alone has changed since the last sweep is not in them.
        """
        request = self._totals_request()
        stored, degraded = await self._stored_parts(request)
        lagging = any(len(part.due) >= request.limit for part in stored)
        return Totals(FleetTotals.sum(stored), lagging, degraded)

    def _totals_request(self) -> TotalsRequest:
        return TotalsRequest(limit=max(1, _DUE_MAX // self._keyspace.partitions))

    async def _stored_parts(self, request: TotalsRequest) -> tuple[list[PartitionTotals], bool]:
        """Return what is stored of each partition; and whether some of that is the last known."""
        stored = await asyncio.gather(
            *(self._stored(number, request) for number in self._keyspace.all_partitions())
        )
        degraded = any(part is self._last[number] for number, part in enumerate(stored))
        self._last = [structs.replace(part, due=()) for part in stored]
        return stored, degraded

    async def page(
        self,
        state: State | None,
        cursor: str | None,
        limit: int,
        *,
        prefix: str = "",
        open_first: bool = False,
    ) -> Page:
        """Return a page of instances (see `Listing.page`)."""
        return await self._listing.page(state, cursor, limit, prefix=prefix, open_first=open_first)

    async def count(self, state: State | None, prefix: str = "") -> int:
        """Return how many instances there are (see `Listing.count`)."""
        return await self._listing.count(state, prefix)

    async def reset_named(self, instance_ids: Sequence[str], origin: Origin) -> ResetsAnswer:
        """Reset these instances; banned ones are left as they are."""
        counts = _NONE_RESET
        for first in range(0, len(instance_ids), _INSTANCES_AT_ONCE):
            some = instance_ids[first : first + _INSTANCES_AT_ONCE]
            counts = await self._reset(some, origin, None, counts)
        return counts

    async def reset_all(
        self, state: State | None, origin: Origin, *, prefix: str = ""
    ) -> ResetsAnswer:
        """Reset every known instance, or those in `state`, or those whose ids have `prefix`."""
        counts = _NONE_RESET
        async for ids in self._listing.ids(state, prefix):
            counts = await self._reset(ids, origin, state, counts)
        return counts

    async def _reset(
        self, ids: Sequence[str], origin: Origin, only_state: State | None, counts: ResetsAnswer
    ) -> ResetsAnswer:
        async def one(instance_id: str) -> str:
            try:
                done = await self._breaker.reset(instance_id, origin, only_state=only_state)
            except Refused:
                return "banned"
            return "reset" if done.done else "unchanged"

        fates = await asyncio.gather(*map(one, ids))
        return ResetsAnswer(
            requested=counts.requested + len(ids),
            reset=counts.reset + fates.count("reset"),
            unchanged=counts.unchanged + fates.count("unchanged"),
            banned=counts.banned + fates.count("banned"),
        )

    async def _readings(self, instance_ids: Sequence[str]) -> list[Reading]:
        return await asyncio.gather(
            *(self._scripts.snapshot(SnapshotRequest(instance_id=name)) for name in instance_ids)
        )

    async def _stored(self, partition: int, request: TotalsRequest) -> PartitionTotals:
        try:
            return await self._read(partition, request)
        except StoreUnavailable:
            return self._last[partition]

    async def _read(self, partition: int, request: TotalsRequest) -> PartitionTotals:
        # Without the time: two that are equal otherwise are equal.
        return structs.replace(await self._scripts.totals(partition, request), now_ms=0)

    async def _corrected(
        self, partition: int, stored: PartitionTotals, request: TotalsRequest
    ) -> FleetTotals:
        """Return a partition's sums, corrected for what time has changed since they were written.

        Reading writes nothing, so instances that are due are computed here. If the sums moved
        meanwhile (somebody wrote), the corrections may be in them already: then anew.
        """
        for _ in range(_TOTALS_TRIES):
            if not stored.due:
                break
            try:
                readings, again = await asyncio.gather(
                    self._readings(stored.due), self._read(partition, request)
                )
            except StoreUnavailable:
                break
            if again == stored:
                accounted = FleetTotals.sum([reading.accounted for reading in readings])
                effective = FleetTotals.sum([reading.effective for reading in readings])
                return _combine(FleetTotals.sum([stored]), effective, accounted)
            stored = again
        return FleetTotals.sum([stored])


def _combine(stored: FleetTotals, more: FleetTotals, less: FleetTotals) -> FleetTotals:
    return structs.replace(
        stored,
        **{
            name: getattr(stored, name) + getattr(more, name) - getattr(less, name)
            for name in _SUMS
        },
    )
