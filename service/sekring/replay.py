"""What was decided or taken while Redis was away, and Redis has yet to learn.

Reports wait here with their age, and so do attempts, trips and refused builds. What waits for one
partition is sent in the order in which it came, until Redis has answered: everything may safely be
said twice, because ids make it count once.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from itertools import islice

import structlog
from msgspec import Struct, structs

from sekring.errors import SekringError
from sekring.model import Verdict
from sekring.pledges import Again, offer_again, trip_again
from sekring.store.contract import (
    Forced,
    OfferRequest,
    PermitRequest,
    RefuseBuildRequest,
    ReportRequest,
)
from sekring.store.keys import Keyspace
from sekring.store.scripts import Scripts
from sekring.telemetry.spans import Span, background, current, under

__all__ = ["ReplayQueue"]

Said = PermitRequest | ReportRequest | OfferRequest | RefuseBuildRequest

#: Sent to one partition at once, at most.
_AT_ONCE = 200

#: How long to wait until what could not be sent is tried again, in seconds.
_PAUSE_S = 0.05

_log = structlog.get_logger(__name__)


class _Item(Struct, frozen=True):
    said: Said
    #: When it was said, by this process's monotonic clock.
    at_s: float
    #: On whose behalf it is said later.
    span: Span | None


class _Queue:
    __slots__ = ("items", "sender")

    def __init__(self) -> None:
        self.items: deque[_Item] = deque()
        self.sender: asyncio.Task[None] | None = None


class ReplayQueue:
    """One queue a partition, bounded in all."""

    def __init__(
        self,
        scripts: Scripts,
        keyspace: Keyspace,
        *,
        limit: int,
        available: Callable[[int], bool],
        sent_ms: Callable[[str], int | None],
        counted: Callable[[Verdict], None],
        pledge: Callable[[Again, float], None],
    ) -> None:
        """Hold `limit` entries at most; the oldest one goes when there are more.

        `available` tells whether a partition's Redis can be reached; `sent_ms` tells the
        time by an instance's Redis, `counted` is told what Redis says to a report, and `pledge`
        which trips no failover may undo.
        """
        self._scripts = scripts
        self._keyspace = keyspace
        self._limit = limit
        self._available = available
        self._sent_ms = sent_ms
        self._counted = counted
        self._pledge = pledge
        self._queues = [_Queue() for _ in keyspace.all_partitions()]
        self._size = 0
        self._open = False
        #: Entries that had to be dropped since the start.
        self.dropped = 0
        self._told = 0

    def open(self) -> None:
        """Begin to send: Redis was found to hold this keyspace."""
        self._open = True
        for number in self._keyspace.all_partitions():
            self._wake(number)

    @property
    def waiting(self) -> int:
        """How much waits."""
        return self._size

    def behind(self, number: int) -> bool:
        """Tell whether Redis has yet to learn what was decided in the partition without it."""
        return bool(self._queues[number].items)

    def keep(self, said: PermitRequest | ReportRequest | OfferRequest) -> None:
        """Keep what was decided without Redis."""
        self._put(self._keyspace.partition_of(said.instance_id), said)

    def keep_build(self, said: RefuseBuildRequest) -> None:
        """Keep the refusal of a gateway's build, which concerns every partition."""
        self._put(0, said)

    async def close(self, patience_s: float) -> None:
        """Send what waits; what cannot be sent within `patience_s` is lost, and said to be."""
        try:
            async with asyncio.timeout(patience_s):
                while senders := [queue.sender for queue in self._queues if queue.sender]:
                    await asyncio.wait(senders)
        except TimeoutError:
            for queue in self._queues:
                if queue.sender:
                    queue.sender.cancel()
        if self._size:
            _log.error("stopped before Redis came back: entries are lost", lost=self._size)

    def _put(self, number: int, said: Said) -> None:
        queue = self._queues[number]
        queue.items.append(_Item(said, time.monotonic(), current()))
        self._size += 1
        if self._size > self._limit:
            self._drop_oldest()
        self._wake(number)

    def _drop_oldest(self) -> None:
        oldest = min(
            (queue for queue in self._queues if queue.items), key=lambda queue: queue.items[0].at_s
        )
        oldest.items.popleft()
        self._size -= 1
        if self.dropped == self._told:
            _log.error(
                "the replay queue is full: the oldest entries are dropped", limit=self._limit
            )
        self.dropped += 1

    def _wake(self, number: int) -> None:
        queue = self._queues[number]
        if queue.items and queue.sender is None and self._open:
            queue.sender = background(self._send_all(number, queue))

    async def _send_all(self, number: int, queue: _Queue) -> None:
        try:
            while queue.items:
                if not self._available(number) or not await self._send_some(queue):
                    await asyncio.sleep(_PAUSE_S)
        finally:
            queue.sender = None
        if self._size == 0 and self.dropped > self._told:
            _log.warning(
                "redis has learnt what was kept; the rest is lost", lost=self.dropped - self._told
            )
            self._told = self.dropped

    async def _send_some(self, queue: _Queue) -> bool:
        """Send the first few; keep them from the first on that was not answered."""
        some = list(islice(queue.items, _AT_ONCE))
        answers = await asyncio.gather(*map(self._say, some), return_exceptions=True)
        for item, answer in zip(some, answers, strict=True):
            if isinstance(answer, SekringError):
                return False
            if isinstance(answer, BaseException):
                # A fault of ours: said again it would fail again, and hold up all the others.
                _log.error("an entry of the replay queue failed", entry=item.said, error=answer)
            # Unless it was dropped meanwhile, to make room.
            if queue.items and queue.items[0] is item:
                queue.items.popleft()
                self._size -= 1
            with under(item.span):
                self._learn(item.said, answer)
        return True

    def _learn(self, said: Said, answer: object) -> None:
        again = None
        if isinstance(said, ReportRequest) and isinstance(answer, Verdict):
            self._counted(answer)
            again = trip_again(said, answer)
        elif isinstance(said, OfferRequest) and isinstance(answer, Forced):
            again = offer_again(said, answer)
        if again:
            self._pledge(again, time.monotonic())

    async def _say(self, item: _Item) -> object:
        with under(item.span):
            return await self._say_aged(item)

    async def _say_aged(self, item: _Item) -> object:
        said = item.said
        age_ms = round((time.monotonic() - item.at_s) * 1000)
        match said:
            case PermitRequest():
                aged = structs.replace(said, age_ms=said.age_ms + age_ms)
                return await self._scripts.permit(aged)
            case ReportRequest():
                aged_report = structs.replace(
                    said,
                    age_ms=said.age_ms + age_ms,
                    sent_ms=self._sent_ms(said.instance_id),
                )
                return await self._scripts.report(aged_report)
            case OfferRequest():
                left_ms = max(1, (said.for_ms or 0) - age_ms)
                return await self._scripts.offer(structs.replace(said, for_ms=left_ms))
            case RefuseBuildRequest():
                left_ms = max(1, (said.for_ms or 0) - age_ms)
                return await self._scripts.refuse_build(structs.replace(said, for_ms=left_ms))
