"""Delivers one webhook, for as long as this replica holds the lease on it."""

import asyncio
import random
import time

import structlog
from msgspec import Struct, structs

from sekring.errors import StoreUnavailable
from sekring.feed import Feed, Watch
from sekring.model import Filter
from sekring.store.hooks import Claim, Hooks, Mark
from sekring.store.streams import Page
from sekring.telemetry.tally import Tally
from sekring.webhooks.outbox import Item, Outbox
from sekring.webhooks.post import Poster, Reply, body_of

__all__ = ["Courier", "Pace"]

#: Attempts under way at once, of different instances, while the receiver is well.
_AT_ONCE = 16

#: How long delivered events may wait to be written down, in seconds. So much is sent twice if the
#: replica is killed.
_SAVE_S = 0.05

#: How long to wait until Redis is tried again, in seconds.
_REDIS_RETRY_S = 0.25

#: How long attempts under way may still take when the replica stops, in seconds.
_LAST_ATTEMPTS_S = 1.0

_log = structlog.get_logger(__name__)


class Pace(Struct, frozen=True):
    """How fast, and how patiently."""

    #: How long a lease lasts without being renewed: as much later another replica takes over.
    lease_ms: int
    #: The wait after the first attempt that failed; it doubles up to the longest.
    retry_ms: int
    retry_max_ms: int

    def wait_s(self, attempts: int) -> float:
        """Return the wait after as many attempts that failed, in seconds."""
        wait_ms = min(self.retry_max_ms, self.retry_ms << min(attempts - 1, 40))
        return wait_ms / 1000 * random.uniform(0.5, 1)  # noqa: S311


class Courier:
    """Made for a claim; `run` ends when the claim does."""

    def __init__(
        self,
        claim: Claim,
        owner: str,
        *,
        hooks: Hooks,
        feed: Feed,
        poster: Poster,
        pace: Pace,
        attempts: Tally,
    ) -> None:
        """Go on where the claim's progress ends; count in `attempts` how each attempt ends."""
        self._attempts = attempts
        self._claim = claim
        self._owner = owner
        self._hooks = hooks
        self._feed = feed
        self._poster = poster
        self._pace = pace
        self._held_until = time.monotonic() + pace.lease_ms / 1000
        self._stopping = False
        #: What `run` waits for while it has nothing to do.
        self._bell: asyncio.Event | None = None
        webhook, self._progress = claim.webhook, claim.progress
        self._wanted = Filter(frozenset(webhook.instances), frozenset(webhook.states))
        self._outbox = Outbox(self._progress.marks, feed.streams.partitions)
        #: What is not written down yet.
        self._unsaved: dict[int, Mark] = {}
        self._news_to_save = False
        self._succeeded = False
        self._error: str | None = None
        self._saved_at = 0.0
        self._redis_from = 0.0
        self._posts: set[asyncio.Task[None]] = set()
        #: Partitions to look into whether there is room or not: what waits may have been trimmed.
        self._checks: set[int] = set()
        #: Attempts that failed in a row, when the last of them began, and when to go on.
        self._failures = 0
        self._failed_at = 0.0
        self._not_before = 0.0
        self._log = _log.bind(webhook=webhook.id)

    async def run(self) -> None:
        """Deliver until the lease is lost, the webhook is gone, or `stop` says so."""
        with self._feed.watching() as watch:
            self._bell = watch.bell
            renewing = asyncio.create_task(self._renew(watch))
            try:
                while not self._stopping:
                    watch.bell.clear()
                    await self._load(watch)
                    self._start_posts(watch)
                    await self._save()
                    await self._rest(watch)
                if self._posts:
                    await asyncio.wait(self._posts, timeout=_LAST_ATTEMPTS_S)
                self._saved_at = self._redis_from = 0.0
                await self._save()
            finally:
                for task in (renewing, *self._posts):
                    task.cancel()
                await asyncio.gather(renewing, *self._posts, return_exceptions=True)

    def stop(self) -> None:
        """Begin nothing more; `run` ends soon."""
        self._stopping = True
        if self._bell:
            self._bell.set()

    # ----------------------------------------------------------------------------- the lease

    async def _renew(self, watch: Watch) -> None:
        while not self._stopping:
            await asyncio.sleep(self._pace.lease_ms / 3000)
            asked = time.monotonic()
            try:
                claim = await self._hooks.claim(
                    self._claim.webhook.id, self._owner, self._pace.lease_ms
                )
            except StoreUnavailable:
                continue
            if claim is None or claim.token != self._claim.token or claim.webhook.disabled:
                self._log.info("webhook is delivered elsewhere, or no more")
                self._stopping = True
            self._held_until = asked + self._pace.lease_ms / 1000
            watch.bell.set()

    # --------------------------------------------------------------------------- the streams

    async def _load(self, watch: Watch) -> None:
        """Load what is new, where there is room."""
        now = time.monotonic()
        if now < self._redis_from:
            return
        looked = {n for n in watch.news if self._outbox.room(n)} | self._checks
        watch.news -= looked
        self._checks.clear()
        pages = await asyncio.gather(
            *(
                self._feed.streams.page(n, self._outbox.tail(n), self._outbox.room(n))
                for n in looked
            ),
            return_exceptions=True,
        )
        for partition, page in zip(looked, pages, strict=True):
            if isinstance(page, Page):
                self._outbox.load(page, self._wanted)
                if not page.complete:
                    watch.news.add(partition)
            elif isinstance(page, StoreUnavailable):
                self._checks.add(partition)
                self._redis_from = now + _REDIS_RETRY_S
            else:
                raise page
        if self._outbox.lost:
            self._log.warning("events were trimmed before delivery", lost=self._outbox.lost)
            self._note(lost=self._progress.lost + self._outbox.lost)
            self._outbox.lost = 0

    async def _save(self) -> None:
        """Write down what was done, unless that was just done."""
        now = time.monotonic()
        self._unsaved |= self._outbox.moved()
        not_yet = now < max(self._saved_at + _SAVE_S, self._redis_from)
        if not_yet or not (self._unsaved or self._news_to_save):
            return
        succeeded, error = self._succeeded, self._error
        try:
            held = await self._hooks.advance(
                self._claim,
                structs.replace(self._progress, marks=self._unsaved, attempts=self._failures),
                succeeded=succeeded,
                error=error,
                retry_in_ms=self._retry_in_ms(now),
            )
        except StoreUnavailable:
            self._redis_from = now + _REDIS_RETRY_S
            return
        if not held:
            self._stopping = True
        self._saved_at = now
        self._unsaved = {}
        self._news_to_save = self._succeeded = False
        self._error = None

    def _retry_in_ms(self, now: float) -> int | None:
        return max(0, round((self._not_before - now) * 1000)) if self._failures else None

    def _note(self, **changes: int) -> None:
        self._progress = structs.replace(self._progress, **changes)
        self._news_to_save = True

    # ---------------------------------------------------------------------------- the posts

    def _start_posts(self, watch: Watch) -> None:
        now = time.monotonic()
        if now < self._not_before or now >= self._held_until:
            return
        # A receiver that is not well is asked by one attempt at a time; the next one sends another
        # instance's event, in case it is one event alone that it does not take.
        at_once = 1 if self._failures else _AT_ONCE
        while len(self._posts) < at_once and (item := self._outbox.take(now)):
            post = asyncio.create_task(self._post(item))
            self._posts.add(post)
            post.add_done_callback(self._posts.discard)
            post.add_done_callback(lambda _: watch.bell.set())

    async def _post(self, item: Item) -> None:
        assert item.event  # noqa: S101 - taken from the outbox
        began = time.monotonic()
        transition = item.event.transition
        try:
            body = body_of("transition", transition)
            reply = await self._poster.send(self._claim.webhook, transition.id, body)
        except Exception:  # noqa: BLE001 - nobody else would see it, nor try again
            self._log.exception("webhook attempt failed")
            reply = Reply(error="an error of the service itself; it is in its log")
        self._attempts["delivered" if reply.error is None else "failed",] += 1
        if reply.error is None:
            self._outbox.delivered(item)
            if self._failures:
                self._log.info("webhook is delivered again")
            self._failures = 0
            self._not_before = 0.0
            self._succeeded = True
            self._note(delivered=self._progress.delivered + 1)
            return
        item.attempts += 1
        self._outbox.failed(item, time.monotonic() + self._pace.wait_s(item.attempts))
        self._fail(reply.error, began)
        if reply.gone:
            await self._disable()

    def _fail(self, error: str, began: float) -> None:
        self._error = error
        self._news_to_save = True
        self._checks.update(self._outbox.waiting())
        if began < self._failed_at:
            return  # under way together with one that has failed already
        if not self._failures:
            self._log.warning("webhook is not delivered now", error=error)
        self._failures += 1
        self._failed_at = time.monotonic()
        self._not_before = self._failed_at + self._pace.wait_s(self._failures)

    async def _disable(self) -> None:
        self._log.error("webhook disabled: its receiver answered 410 Gone")
        self._stopping = True
        try:
            await self._hooks.disable(self._claim, "The receiver answered 410 Gone.")
        except StoreUnavailable:
            return  # whoever delivers it next is told again

    async def _rest(self, watch: Watch) -> None:
        """Wait until there is something to do."""
        due: list[float] = []
        full = len(self._posts) >= (1 if self._failures else _AT_ONCE)
        if not full and (ready := self._outbox.next_due()) is not None:
            due.append(max(ready, self._not_before))
        if self._unsaved or self._news_to_save:
            due.append(max(self._saved_at + _SAVE_S, self._redis_from))
        if self._checks or any(self._outbox.room(n) for n in watch.news):
            due.append(self._redis_from)
        wait_s = max(0.0, min(due) - time.monotonic()) if due else None
        if time.monotonic() >= self._held_until:
            wait_s = None  # until the lease is renewed
        try:
            async with asyncio.timeout(wait_s):
                await watch.bell.wait()
        except TimeoutError:
            return
