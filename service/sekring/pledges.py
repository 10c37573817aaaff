"""Trips and resets that were acknowledged, and that a failover of Redis must not undo.

Redis answers a write before its replicas have it, so each trip and reset is confirmed: they have
it, or it is remembered here and said again, wherever its instance is by then, until they do. It
carries the epoch that it brought about the first time: where Redis has that, or something later,
saying it again changes nothing, and several of our replicas may say theirs again in any order.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import islice

import structlog
from msgspec import Struct, structs

from sekring.errors import SekringError
from sekring.model import State, Verdict
from sekring.store.contract import (
    DisableRequest,
    Forced,
    OfferRequest,
    ReportRequest,
    ResetRequest,
    TripRequest,
)
from sekring.store.scripts import Scripts
from sekring.telemetry.spans import Span, background, current, under

__all__ = ["Again", "Pledges", "offer_again", "trip_again"]

#: What is said again; its `made_epoch` is set.
Again = OfferRequest | ResetRequest | TripRequest | DisableRequest

#: Tells whether replicas of Redis have what was written about an instance since a time, in s.
Confirm = Callable[[str, float], Awaitable[bool]]

#: How long to wait before something is said again: at first, and at most, in seconds.
_PAUSE_S = 0.1
_PAUSE_MAX_S = 30.0

#: Said again at once, at most.
_AT_ONCE = 200

#: Kept at most; the oldest one goes when there are more.
_KEPT_MAX = 10_000

_log = structlog.get_logger(__name__)


class _Pledge(Struct):
    again: Again
    made_s: float
    due_s: float
    #: On whose behalf it is said again.
    span: Span | None
    pause_s: float = _PAUSE_S


class Pledges:
    """What was acknowledged and is not confirmed, the last word on each instance."""

    def __init__(self, scripts: Scripts, confirm: Confirm | None) -> None:
        """Have writes confirmed by `confirm`; without it Redis has no replicas to lose them."""
        self._scripts = scripts
        self._confirm = confirm
        self._kept: dict[str, _Pledge] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many changes are not confirmed."""
        return len(self._kept)

    async def make(self, again: Again, since_s: float) -> None:
        """Confirm what was written since `since_s` (`time.monotonic()`), or keep it."""
        if self._confirm and not await self._confirm(again.instance_id, since_s):
            _log.info("not confirmed by redis' replicas yet", instance_id=again.instance_id)
            self.keep(again, since_s)

    def keep(self, again: Again, since_s: float) -> None:
        """Say what was said at `since_s` again until it is confirmed."""
        known = self._kept.get(again.instance_id)
        if self._confirm is None or (known and _epoch(known.again) > _epoch(again)):
            return
        self._kept.pop(again.instance_id, None)
        if len(self._kept) >= _KEPT_MAX:
            dropped = next(iter(self._kept))
            del self._kept[dropped]
            _log.error("too many changes wait for redis' replicas", given_up=dropped)
        now_s = time.monotonic()
        self._kept[again.instance_id] = _Pledge(again, since_s, now_s + _PAUSE_S, current())
        if self._task is None:
            self._task = background(self._run())

    def hurry(self) -> None:
        """Say everything again soon: the nodes of Redis have changed."""
        for pledge in self._kept.values():
            pledge.due_s, pledge.pause_s = 0.0, _PAUSE_S

    async def close(self, patience_s: float) -> None:
        """Wait up to `patience_s` for what is not confirmed, and tell what is left."""
        self.hurry()
        if self._task:
            await asyncio.wait([self._task], timeout=patience_s)
        if self._task:
            self._task.cancel()
        if self._kept:
            _log.error("stopped before redis' replicas had all changes", left=len(self._kept))

    async def _run(self) -> None:
        try:
            while self._kept:
                await asyncio.sleep(_PAUSE_S)
                now_s = time.monotonic()
                due = (pledge for pledge in self._kept.values() if pledge.due_s <= now_s)
                await asyncio.gather(*map(self._repeat, list(islice(due, _AT_ONCE))))
        finally:
            self._task = None

    async def _repeat(self, pledge: _Pledge) -> None:
        pledge.due_s = time.monotonic() + pledge.pause_s
        pledge.pause_s = min(2 * pledge.pause_s, _PAUSE_MAX_S)
        name = pledge.again.instance_id
        with under(pledge.span):
            secured = await self._secured(pledge)
        if secured and self._kept.get(name) is pledge:
            del self._kept[name]

    async def _secured(self, pledge: _Pledge) -> bool:
        since_s = time.monotonic()
        again = pledge.again
        if not isinstance(again, ResetRequest) and again.for_ms is not None:
            left_ms = again.for_ms - round((since_s - pledge.made_s) * 1000)
            if left_ms <= 0:
                return True  # it is over by now
            again = structs.replace(again, for_ms=left_ms)
        try:
            match again:
                case OfferRequest():
                    await self._scripts.offer(again)
                case TripRequest():
                    await self._scripts.trip(again)
                case DisableRequest():
                    await self._scripts.disable(again)
                case ResetRequest():
                    await self._scripts.reset(again)
        except SekringError:
            return False
        return self._confirm is None or await self._confirm(again.instance_id, since_s)


def trip_again(request: ReportRequest, verdict: Verdict) -> OfferRequest | None:
    """Return what says again that a report has opened the breaker; `None` where it is not open."""
    if not verdict.tripped or verdict.state is not State.OPEN:
        return None
    return OfferRequest(
        instance_id=verdict.instance_id,
        epoch=verdict.epoch - 1,
        cause="failures" if verdict.why == "counted" else request.kind or "failures",
        for_ms=verdict.retry_after_ms,
        made_epoch=verdict.epoch,
        origin=request.origin,
    )


def offer_again(offer: OfferRequest, done: Forced) -> OfferRequest | None:
    """Return what says an offered trip again; `None` where there is none by now."""
    if done.state is not State.OPEN:
        return None
    return structs.replace(
        offer, epoch=done.epoch - 1, for_ms=done.remaining_ms, made_epoch=done.epoch
    )


def _epoch(again: Again) -> int:
    return again.made_epoch or 0
