"""The feed: every transition, of all partitions, to whoever listens on this replica.

One reader follows the streams of all partitions while somebody listens, and hands what is new to
every `Subscription` (`sekring.subscription`) and every `Watch`. It looks at once where it is told
that there is news (`wake`), and anyway several times a second. Partitions are read independently:
one whose server is away holds up no other, and goes on where it was.
"""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Iterator
from typing import Protocol

import structlog
from msgspec import Struct

from sekring.cursor import Cursor, Place
from sekring.errors import StoreUnavailable
from sekring.store.streams import Event, Page, Streams

__all__ = ["Batch", "Feed", "Gap", "Listener", "Proof", "Watch"]

#: How often each partition is looked at without being told that there is news, in seconds.
_POLL_S = 1.0

#: Transitions read from one partition in one go.
_PAGE = 500

#: How much older than "read up to now" a cursor's base is, in ms. Within it a server's clock may be
#: set back, or another server with a clock behind may take over, and nothing is missed.
_SLACK_MS = 10_000

_log = structlog.get_logger(__name__)


class Gap(Struct, frozen=True):
    """Transitions of a partition that were trimmed before they were read."""

    partition: int
    #: What was read last, and the oldest that is still there.
    after: Place
    until: Place
    #: How many, where that is known.
    lost: int | None


class Batch(Struct, frozen=True):
    """News of one partition."""

    partition: int
    gap: Gap | None
    events: list[Event]
    #: With these, everything up to the end of this time was handed out, of every partition.
    base_ms: int


class Proof(Struct, frozen=True):
    """Up to when everything that happened was handed out, of every partition."""

    #: By this process's monotonic clock, in seconds, and by Redis' (the one most behind), in ms.
    at_s: float
    redis_ms: int


class Listener(Protocol):
    """Takes what is new; neither waits nor fails."""

    def take(self, batch: Batch) -> None:
        """Take the news of one partition."""
        ...

    def begin(self) -> None:
        """Take note that the reader begins, from now on: what came before it does not hand out."""
        ...

    def close(self) -> None:
        """Take note that the replica stops."""
        ...


class Watch:
    """Tells in which partitions there is news, for a listener who reads it himself."""

    def __init__(self, partitions: int) -> None:
        """Begin with news everywhere."""
        self._partitions = partitions
        self.news = set(range(partitions))
        #: Set whenever there is any.
        self.bell = asyncio.Event()

    def take(self, batch: Batch) -> None:
        """Note the partition."""
        self.news.add(batch.partition)
        self.bell.set()

    def begin(self) -> None:
        """Note all partitions."""
        self.news.update(range(self._partitions))
        self.bell.set()

    def close(self) -> None:
        """Do nothing: who watches is stopped otherwise."""


class _Lane:
    """How far one partition was read."""

    def __init__(self, place: Place, read_ms: int) -> None:
        self.place = place
        #: Entries of the stream up to that place, where they were counted.
        self.ordinal: int | None = None
        #: The server's clock when everything was read for the last time.
        self.read_ms = read_ms
        #: When that reading was asked for, by this process's monotonic clock.
        self.asked_s = -math.inf
        self.task: asyncio.Task[None] | None = None
        self.again = False


class Feed:
    """The reader of one replica; `run` runs it, and it reads while anybody listens."""

    def __init__(self, streams: Streams) -> None:
        """Read `streams`; nothing is read yet."""
        self.streams = streams
        self._listeners: set[Listener] = set()
        self._lanes: list[_Lane] = []
        self._woken: set[int] = set()
        self._bell = asyncio.Event()
        #: When the reader began, by the clock of one of the servers.
        self._begun_ms = 0
        #: Partitions that cannot be read now.
        self._away: set[int] = set()
        self.closing = False

    def wake(self, partition: int) -> None:
        """Look into this partition at once: something changed there."""
        if self._listeners:
            self._woken.add(partition)
            self._bell.set()

    @contextlib.contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Hand everything new to `listener`."""
        self._listeners.add(listener)
        self._bell.set()
        if self.closing:
            listener.close()
        try:
            yield
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._forget()

    @contextlib.contextmanager
    def watching(self) -> Iterator[Watch]:
        """Tell of news in a `Watch`."""
        watch = Watch(self.streams.partitions)
        with self.listening(watch):
            yield watch

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def close(self) -> None:
        """End the subscriptions: the replica stops."""
        self.closing = True
        for listener in list(self._listeners):
            listener.close()

    def cursor(self) -> Cursor | None:
        """Return up to where everything was handed out; `None` before the reader has begun."""
        if not self._lanes:
            return None
        places = {number: lane.place for number, lane in enumerate(self._lanes)}
        return Cursor(max(self._begun_ms, self.base_ms()), places)

    def base_ms(self) -> int:
        """Return a time up to whose end everything was handed out, of every partition."""
        return min((lane.read_ms for lane in self._lanes), default=0) - _SLACK_MS

    def proof(self) -> Proof | None:
        """Return up to when everything was handed out; `None`: not every partition was read yet."""
        at_s = min((lane.asked_s for lane in self._lanes), default=-math.inf)
        if math.isinf(at_s):
            return None
        return Proof(at_s, min(lane.read_ms for lane in self._lanes))

    async def run(self) -> None:
        """Read until cancelled; an unreachable Redis is tried again."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._bell.clear()
                if not self._listeners:
                    await self._bell.wait()
                    continue
                polled = loop.time()
                if not self._lanes:
                    await self._begin()
                for partition in range(len(self._lanes)):
                    self._look(partition)
                await self._follow(polled + _POLL_S)
        finally:
            self._forget()

    async def _follow(self, until: float) -> None:
        """Look where there is news, until it is time to look everywhere."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while True:
                    await self._bell.wait()
                    self._bell.clear()
                    woken, self._woken = self._woken, set()
                    for partition in woken:
                        if partition < len(self._lanes):
                            self._look(partition)

    async def _begin(self) -> None:
        """Begin from now on, by the clock of whichever partition answers."""
        partition = random.randrange(self.streams.partitions)  # noqa: S311
        try:
            page = await self.streams.page(partition, Place(0, 0), 0)
        except StoreUnavailable as error:
            self._note_away(partition, error)
            return
        except Exception:  # noqa: BLE001 - nobody else would see it
            _log.exception("events could not be read", partition=partition)
            return
        if not self._listeners:
            return
        self._begun_ms = page.now_ms
        # Other servers' clocks may be behind; who wants less, passes over what came before.
        start = Place.end_of(page.now_ms - _SLACK_MS)
        self._lanes = [_Lane(start, page.now_ms) for _ in range(self.streams.partitions)]
        for listener in self._listeners:
            listener.begin()

    def _forget(self) -> None:
        for lane in self._lanes:
            if lane.task:
                lane.task.cancel()
        self._lanes = []
        self._woken.clear()

    def _look(self, partition: int) -> None:
        lane = self._lanes[partition]
        if lane.task is None:
            lane.task = asyncio.create_task(self._read(partition, lane))
        else:
            lane.again = True

    async def _read(self, partition: int, lane: _Lane) -> None:
        try:
            while True:
                lane.again = False
                asked_s = time.monotonic()
                page = await self.streams.page(partition, lane.place, _PAGE)
                self._take(lane, page)
                if page.complete:
                    lane.asked_s = asked_s
                if page.complete and not lane.again:
                    break
            self._away.discard(partition)
        except StoreUnavailable as error:
            self._note_away(partition, error)
        except Exception:  # noqa: BLE001 - nobody else would see it
            _log.exception("events could not be read", partition=partition)
        finally:
            lane.task = None

    def _take(self, lane: _Lane, page: Page) -> None:
        gap = _gap(lane, page)
        if page.events:
            lane.place = page.events[-1].place
        if page.complete:
            lane.ordinal = page.added
            lane.read_ms = page.now_ms
        elif lane.ordinal is not None:
            lane.ordinal = max(lane.ordinal, page.trimmed) + len(page.events)
        if page.events:
            batch = Batch(page.partition, gap, page.events, self.base_ms())
            for listener in list(self._listeners):
                listener.take(batch)

    def _note_away(self, partition: int, error: StoreUnavailable) -> None:
        if not self._away:
            _log.warning("events cannot be read now", partition=partition, error=str(error))
        self._away.add(partition)


def _gap(lane: _Lane, page: Page) -> Gap | None:
    """Return what the reader itself has missed, because Redis was out of its reach for long."""
    if page.first is None or not page.lost_after(lane.place):
        return None
    lost = None if lane.ordinal is None else page.trimmed - lane.ordinal
    if lost is not None and lost <= 0:
        return None
    return Gap(page.partition, lane.place, page.first, lost)
