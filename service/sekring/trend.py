"""The use-case on how many failures there were: minute by minute, over the last hour."""

import asyncio
import contextlib
from collections import Counter

from sekring.errors import StoreUnavailable
from sekring.store.contract import PartitionMinutes
from sekring.store.records import MINUTE_MS, Records
from sekring.wire import FailuresAnswer, Minute

__all__ = ["Trend"]

_MINUTES = 60


class Trend:
    """Reads one small hash a partition: the cost does not grow with instances or failures."""

    def __init__(self, records: Records) -> None:
        """Read from `records`; nothing is read yet."""
        self._records = records
        self._last: list[PartitionMinutes | None] = [None] * records.partitions
        self._since_ms: int | None = None

    async def failures(self) -> FailuresAnswer:
        """Return how many failures were counted in each of the last 60 minutes, in all partitions.

        A failure is in the minute in which it happened, also where its report came late.

        Raises:
            StoreUnavailable: no partition can be read; of those that cannot while others can, the
                last known counts are in the answer, and it says so.
        """
        numbers = range(len(self._last))
        read, since_ms = await asyncio.gather(
            asyncio.gather(*map(self._read, numbers)), self._since()
        )
        answered = [part for part in read if part is not None]
        if not answered:
            raise StoreUnavailable("Redis cannot be reached.")
        self._last = [part or last for part, last in zip(read, self._last, strict=True)]
        now_ms = max(part.now_ms for part in answered)
        counts = Counter[int]()
        for known in filter(None, self._last):
            for minute, count in zip(known.counts[::2], known.counts[1::2], strict=True):
                counts[int(minute)] += int(count)
        last = now_ms // MINUTE_MS
        minutes = [
            Minute(minute * MINUTE_MS, counts[minute])
            for minute in range(last - _MINUTES + 1, last + 1)
        ]
        return FailuresAnswer(
            minutes=minutes,
            now_ms=now_ms,
            since_ms=max(minutes[0].start_ms, now_ms if since_ms is None else since_ms),
            degraded=len(answered) < len(read),
        )

    async def _read(self, partition: int) -> PartitionMinutes | None:
        try:
            return await self._records.minutes(partition)
        except StoreUnavailable:
            return None

    async def _since(self) -> int | None:
        with contextlib.suppress(StoreUnavailable):  # else the last known one
            self._since_ms = await self._records.since_ms()
        return self._since_ms
