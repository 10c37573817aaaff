"""Outcomes on their way to the service: kept, with their age, while it does not take them."""

import asyncio
import random
import secrets
import time
from collections import Counter, deque
from http import HTTPStatus
from typing import Final

import structlog
from msgspec import Struct, structs

from sekring.client import AsyncClient
from sekring.errors import InvalidInput, NotFound, Refused, SekringError
from sekring.gateway.telemetry.calls import traceparent
from sekring.model import Verdict
from sekring.wire import BatchItem, OutcomeBody

__all__ = ["KEPT_MAX", "Reports"]

#: Reports that are kept at most; the oldest goes first. A session that fails as fast as it may
#: reports 15 failures until its breaker opens: of 600 sessions, nothing is lost.
KEPT_MAX: Final = 10_000

#: Reports that are sent at once when the service is back.
_AT_ONCE: Final = 500

#: How often the service is tried while reports are kept, in seconds.
_TRY_EVERY_S: Final = 1.0

#: The greatest age that the service takes, in ms: a week. It counts nothing of nearly that age.
_OLDEST_MS: Final = 604_800_000

#: Answers after which sending it again would not help.
_HOPELESS = (InvalidInput, NotFound, Refused)

_log = structlog.get_logger(__name__)


class _Kept(Struct, frozen=True):
    """A report and when it happened (CLOCK_MONOTONIC, s)."""

    instance_id: str
    body: OutcomeBody
    at_s: float
    #: The trace that it belongs to: one that is sent later is sent outside of it.
    traceparent: str | None

    def aged(self) -> OutcomeBody:
        """Return it as it is to be sent now."""
        age_ms = round((time.monotonic() - self.at_s) * 1000)
        return structs.replace(self.body, age_ms=min(max(0, age_ms), _OLDEST_MS))

    def item(self) -> BatchItem:
        """Return it as it is to be sent now, among others."""
        fields = structs.asdict(self.aged())
        return BatchItem(instance_id=self.instance_id, traceparent=self.traceparent, **fields)


class Reports:
    """Sends outcomes; those of one instance arrive in their order, each counts once.

    Each has an id, so that one whose answer was lost may be sent again.
    """

    def __init__(self, client: AsyncClient, *, kept_max: int = KEPT_MAX) -> None:
        """Keep up to `kept_max` while the service is away."""
        self._client = client
        self._kept_max = kept_max
        self._kept: deque[_Kept] = deque()
        self._kept_of: Counter[str] = Counter()
        self._news = asyncio.Event()
        #: How many were given up because too many were kept, or refused.
        self.dropped = 0

    @property
    def kept(self) -> int:
        """How many wait for the service."""
        return self._kept_of.total()

    async def send(
        self,
        instance_id: str,
        body: OutcomeBody,
        *,
        at_s: float | None = None,
        within_s: float | None = None,
    ) -> Verdict | None:
        """Report what has happened; `None`: it is kept, and told later, or was refused.

        `at_s` is when (CLOCK_MONOTONIC, s), just now if it is not given.

        A report is kept as well if the caller is cancelled while it is on its way.
        """
        if body.id is None and body.attempt_id is None:
            body = structs.replace(body, id=secrets.token_urlsafe(9))
        now_s = time.monotonic()
        at_s = now_s if at_s is None else min(at_s, now_s)
        report = _Kept(instance_id, body, at_s, traceparent())
        if self._kept_of[instance_id]:
            self._keep(report)
            return None
        try:
            return await self._client.report(instance_id, report.aged(), within_s=within_s)
        except _HOPELESS as error:
            self._drop(report, str(error))
        except SekringError:
            self._keep(report)
        except asyncio.CancelledError:
            self._keep(report)
            raise
        return None

    async def run(self) -> None:
        """Send what is kept, as soon as the service takes it, until cancelled."""
        while True:
            await self._news.wait()
            await asyncio.sleep(_TRY_EVERY_S * random.uniform(0.5, 1.5))  # noqa: S311
            await self.flush()

    async def flush(self) -> None:
        """Send what is kept, if the service takes it."""
        while self._kept:
            batch = [self._kept.popleft() for _ in range(min(_AT_ONCE, len(self._kept)))]
            left = batch
            try:
                left = await self._send_batch(batch)
            except SekringError as error:
                _log.debug("reports are kept", count=self.kept, error=str(error))
            finally:
                self._kept.extendleft(reversed(left))
                self._kept_of -= Counter(report.instance_id for report in batch)
                self._kept_of += Counter(report.instance_id for report in left)
            if left:
                return
        self._news.clear()

    async def _send_batch(self, batch: list[_Kept]) -> list[_Kept]:
        """Send a batch; return those that the service could not take now."""
        try:
            results = await self._client.report_many([report.item() for report in batch])
        except _HOPELESS as error:
            # The batch as a whole is refused: no single one is at fault, so none can be left out.
            for report in batch:
                self._drop(report, str(error))
            return []
        left = []
        for report, result in zip(batch, results, strict=True):
            if not result.error:
                continue
            if result.error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                left.append(report)
            else:
                self._drop(report, result.error.detail)
        return left

    def _keep(self, report: _Kept) -> None:
        while self.kept >= self._kept_max and self._kept:
            oldest = self._kept.popleft()
            self._kept_of -= Counter([oldest.instance_id])
            self._drop(oldest, "too many are kept")
        self._kept.append(report)
        self._kept_of[report.instance_id] += 1
        self._news.set()

    def _drop(self, report: _Kept, why: str) -> None:
        self.dropped += 1
        _log.error(
            "report dropped",
            instance_id=report.instance_id,
            outcome=report.body.outcome,
            why=why,
            dropped=self.dropped,
        )
