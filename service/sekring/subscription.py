"""One reader of the feed: everything since a cursor, then everything new, each transition once."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

import structlog
from msgspec import Struct, structs

from sekring.cursor import Cursor
from sekring.errors import StoreUnavailable
from sekring.feed import Batch, Feed, Gap, Proof
from sekring.model import Filter
from sekring.store.streams import Event, Page

__all__ = ["Message", "Subscription"]

#: Transitions that may wait for a reader, at most. One that is slower is cut off, and resumes.
_WAITING_MAX = 5_000

#: Transitions read in one go while it catches up, of all partitions together.
_CATCH_UP_PAGE = 2_000

#: How long to wait until Redis is tried again while it catches up, in seconds.
_RETRY_S = 0.25

_log = structlog.get_logger(__name__)


class Message(Struct, frozen=True):
    """Something to tell the reader, and the cursor with which he goes on behind it."""

    content: Event | Gap | None
    cursor: str


class Subscription:
    """Hands out transitions while it is `open`.

    It ends by itself (`ended`) when the replica stops, or when its reader falls behind too far.
    """

    def __init__(self, feed: Feed, wanted: Filter, cursor: Cursor | None) -> None:
        """Begin behind `cursor`, or from now on."""
        self._feed = feed
        self._wanted = wanted
        self._cursor = cursor
        self._partitions = sorted(
            {feed.streams.partition_of(name) for name in wanted.instances}
            or range(feed.streams.partitions)
        )
        #: News that wait until the reader has caught up, or until he takes them.
        self._news: deque[Batch] = deque()
        self._waiting = 0
        self._news_bell = asyncio.Event()
        self._live = False
        #: What the reader takes next. Short: whoever fills it waits for him.
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(maxsize=16)
        self._putting = False
        self.ended = asyncio.Event()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hand out for as long as the block lasts."""
        pump = asyncio.create_task(self._pump())
        pump.add_done_callback(self._pumped)
        try:
            yield
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def next(self, patience_s: float) -> Message | None:
        """Return what comes next; `None` if nothing does within `patience_s`, or if it ends."""
        try:
            async with asyncio.timeout(patience_s):
                return await self._messages.get()
        except TimeoutError:
            return None

    def cursor(self) -> str | None:
        """Return the cursor behind everything that was taken; `None` while it is not known."""
        if self._cursor is None or self._putting or not self._messages.empty():
            return None
        if self._live and not self._news:
            self._cursor.rebase(self._feed.base_ms())
        return self._cursor.encode()

    def proof(self) -> Proof | None:
        """Return up to when the reader knows everything; `None` where that is not known now."""
        if not self._live or self._news or self._putting or not self._messages.empty():
            return None
        return self._feed.proof()

    # ---------------------------------------------------------------- what the feed calls

    def take(self, batch: Batch) -> None:
        """Keep news for the reader; if he does not follow, end his stream."""
        if self.ended.is_set():
            return
        if self._cursor is not None:
            # A reader that has just begun goes some seconds back; that does not count here.
            place = self._cursor[batch.partition]
            batch = structs.replace(batch, events=[e for e in batch.events if e.place > place])
        if not (batch.events or batch.gap):
            return
        self._waiting += len(batch.events)
        if self._waiting > _WAITING_MAX:
            _log.warning("event stream ended: its reader is too slow", waiting=self._waiting)
            self.close()
            return
        self._news.append(batch)
        self._news_bell.set()

    def begin(self) -> None:
        """Learn from when on the feed reads: that is "now" for who has no cursor."""
        self._cursor = self._cursor or self._feed.cursor()
        self._news_bell.set()

    def close(self) -> None:
        """End it; nothing more is handed out."""
        self.ended.set()
        with contextlib.suppress(asyncio.QueueFull):
            self._messages.put_nowait(None)

    # ---------------------------------------------------------------------- the pump

    async def _pump(self) -> None:
        resumed = self._cursor
        if resumed:
            # Without listening yet: however much there is, nothing piles up meanwhile.
            await self._catch_up(resumed)
        with self._feed.listening(self):
            while self._feed.cursor() is None:
                await self._news_bell.wait()
                self._news_bell.clear()
            if resumed:
                # What happened before it listened, and after it had caught up.
                await self._catch_up(resumed)
            self._cursor = self._cursor or self._feed.cursor()
            assert self._cursor is not None  # noqa: S101 - the feed has begun
            self._live = True
            await self._put(Message(None, self._cursor.encode()))
            while True:
                await self._hand_out_news(self._cursor)

    async def _put(self, message: Message) -> None:
        self._putting = True
        await self._messages.put(message)
        self._putting = False

    def _pumped(self, pump: "asyncio.Task[None]") -> None:
        if not pump.cancelled() and (error := pump.exception()):
            _log.error("event stream failed", exc_info=error)
        self.close()

    async def _hand_out_news(self, cursor: Cursor) -> None:
        while not self._news:
            self._news_bell.clear()
            await self._news_bell.wait()
        batch = self._news[0]
        # What it has caught up with may be news again.
        if batch.gap and batch.gap.until.before() > cursor[batch.partition]:
            await self._hand_out_gap(cursor, batch.gap)
        for event in batch.events:
            await self._hand_out(cursor, event)
        self._news.popleft()
        self._waiting -= len(batch.events)
        cursor.rebase(batch.base_ms)

    async def _hand_out(self, cursor: Cursor, event: Event) -> None:
        if event.place <= cursor[event.partition]:
            return
        cursor.advance(event.partition, event.place)
        if self._wanted.passes(event.transition):
            await self._put(Message(event, cursor.encode()))

    async def _hand_out_gap(self, cursor: Cursor, gap: Gap) -> None:
        cursor.advance(gap.partition, gap.until.before())
        await self._put(Message(gap, cursor.encode()))

    async def _catch_up(self, cursor: Cursor) -> None:
        """Hand out everything behind the cursor, in the order of time as far as it is known."""
        behind = self._partitions
        while behind:
            limit = max(10, _CATCH_UP_PAGE // len(behind))
            pages = await self._pages(cursor, behind, limit)
            for page in pages:
                place = cursor[page.partition]
                if page.first is not None and page.lost_after(place):
                    await self._hand_out_gap(cursor, Gap(page.partition, place, page.first, None))
            for event in sorted((e for page in pages for e in page.events), key=_by_place):
                await self._hand_out(cursor, event)
            complete = {page.partition for page in pages if page.complete}
            behind = [number for number in behind if number not in complete]

    async def _pages(self, cursor: Cursor, partitions: list[int], limit: int) -> list[Page]:
        """Return the next page of each of the partitions whose server answers."""
        while True:
            pages = await asyncio.gather(
                *(self._feed.streams.page(n, cursor[n], limit) for n in partitions),
                return_exceptions=True,
            )
            for failure in pages:
                if isinstance(failure, BaseException) and not isinstance(failure, StoreUnavailable):
                    raise failure
            if any(isinstance(page, StoreUnavailable) for page in pages):
                await asyncio.sleep(_RETRY_S)
            if found := [page for page in pages if isinstance(page, Page)]:
                return found


def _by_place(event: Event) -> tuple[int, int]:
    return event.place
