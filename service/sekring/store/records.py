"""The failures of the last hour as Redis has recorded them, and how many each minute had."""

from typing import Final, cast

from msgspec import Struct

from sekring.store.contract import MinutesRequest, PartitionMinutes
from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts

__all__ = ["HOUR_MS", "MINUTE_MS", "Record", "Records"]

MINUTE_MS: Final = 60_000
#: How far back failures are recorded.
HOUR_MS: Final = 60 * MINUTE_MS


class Record(Struct, frozen=True, gc=False):  # many at once: their collection would hold up permits
    """One failure, or why those before it no longer count (`lua/shared/records.lua`)."""

    #: When it happened, by Redis' clock.
    at_ms: int
    instance_id: str
    kind: str
    #: Empty where the report did not name one.
    gateway: str
    #: Empty: it was counted. `disabled`: it was, while no policy could trip. Else why it was not:
    #: `open` (because of failures), `ignored` (its weight was 0), `stale`. `cleared`: no failure,
    #: but a reset, or a hold that ends with the counters at zero.
    why: str = ""
    #: Of one that was not counted: a repeated report has the same.
    report_id: str = ""

    @classmethod
    def parse(cls, line: str) -> "Record":
        """Read a line of the list."""
        at_ms, *rest = line.split(" ")
        return cls(int(at_ms), *rest)


class Records:
    """Typed reads of what is recorded, partition by partition."""

    def __init__(self, scripts: Scripts, link: RedisLink, keyspace: Keyspace) -> None:
        """Read the counts through `scripts`, and the rest through `link`."""
        self._scripts = scripts
        self._link = link
        self._keyspace = keyspace

    @property
    def partitions(self) -> int:
        """How many partitions there are."""
        return self._keyspace.partitions

    def partition_of(self, instance_id: str) -> int:
        """Return the partition that has the instance's failures."""
        return self._keyspace.partition_of(instance_id)

    async def lines(self, partition: int, limit: int) -> list[bytes]:
        """Return the last `limit` records of a partition for `Record.parse`, as they came.

        Some may be older than an hour.

        Raises:
            StoreUnavailable: the partition's server does not answer.
        """
        found = await self._link.read("LRANGE", self._keyspace.records(partition), -limit, -1)
        return cast("list[bytes]", found)

    async def minutes(self, partition: int) -> PartitionMinutes:
        """Return how many failures a partition has counted in each of the last minutes.

        Raises:
            StoreUnavailable: the partition's server does not answer.
        """
        return await self._scripts.minutes(partition, MinutesRequest())

    async def since_ms(self) -> int | None:
        """Return since when failures are recorded in this keyspace; `None`: nobody has begun.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        found = await self._link.read("HGET", self._keyspace.keyspace(), "recording_since_ms")
        return None if found is None else int(cast("bytes", found))
