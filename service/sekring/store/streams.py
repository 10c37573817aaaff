"""The streams of transitions, read partition by partition."""

import asyncio
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from sekring.cursor import Place
from sekring.model import Transition
from sekring.store.contract import Tail, TailRequest
from sekring.store.keys import Keyspace
from sekring.store.scripts import Scripts

__all__ = ["Event", "Page", "Streams"]


class Event(Struct, frozen=True):
    """A transition, and where it is written down."""

    partition: int
    place: Place
    #: Its `id` is unique in the whole fleet: `PP-ms-sequence`.
    transition: Transition

    @classmethod
    def of(cls, partition: int, entry: tuple[str, Sequence[str]]) -> "Event":
        """Make one of a stream's entry."""
        entry_id, flat = entry
        fields: dict[str, object] = dict(zip(flat[::2], flat[1::2], strict=True))
        fields["id"] = f"{partition:02d}-{entry_id}"
        transition = msgspec.convert(fields, Transition, strict=False)
        return cls(partition, Place.parse(entry_id), transition)


class Page(Struct, frozen=True, kw_only=True):
    """What a partition's stream holds behind a place, and how far the stream reaches."""

    partition: int
    events: list[Event]
    #: Whether these are all that there are; else there may be more.
    complete: bool
    #: Entries that were ever added, and those of them that were trimmed: the oldest.
    added: int
    trimmed: int
    #: The oldest entry that is still there, and the last that was ever added.
    first: Place | None
    last: Place
    #: The clock of the partition's server when this was read.
    now_ms: int

    def lost_after(self, place: Place) -> bool:
        """Tell whether entries behind `place` may have been trimmed before they were read."""
        return self.trimmed > 0 and self.first is not None and place < self.first.before()


class Streams:
    """Typed reads of the partitions' streams."""

    def __init__(self, scripts: Scripts, keyspace: Keyspace) -> None:
        """Read through `scripts`."""
        self._scripts = scripts
        self._keyspace = keyspace

    @property
    def partitions(self) -> int:
        """How many streams there are."""
        return self._keyspace.partitions

    def partition_of(self, instance_id: str) -> int:
        """Return the stream that an instance's transitions are in; partition 0 has the fleet's."""
        return 0 if instance_id == "*" else self._keyspace.partition_of(instance_id)

    async def page(self, partition: int, after: Place, limit: int) -> Page:
        """Return up to `limit` transitions of a partition, in their order.

        Raises:
            StoreUnavailable: the partition's server does not answer.
        """
        tail = await self._scripts.tail(partition, TailRequest(after=str(after), limit=limit))
        return _page(partition, tail, limit)

    async def ends(self) -> list[Page]:
        """Return for each partition, in their order, how far its stream reaches; no transitions.

        Raises:
            StoreUnavailable: one of them cannot be read.
        """
        nothing = Place(0, 0)
        return await asyncio.gather(
            *(self.page(number, nothing, 0) for number in self._keyspace.all_partitions())
        )


def _page(partition: int, tail: Tail, limit: int) -> Page:
    return Page(
        partition=partition,
        events=[Event.of(partition, entry) for entry in tail.entries],
        complete=len(tail.entries) < limit,
        added=tail.added,
        trimmed=tail.added - tail.kept,
        first=Place.parse(tail.first) if tail.first else None,
        last=Place.parse(tail.last),
        now_ms=tail.now_ms,
    )
