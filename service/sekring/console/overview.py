"""What a fleet page shows, read from the use-cases: the sums, and one page of instances."""

import asyncio
import time

from msgspec import Struct, structs

from sekring.console.chart import Chart
from sekring.console.selection import Label, Selection
from sekring.errors import StoreUnavailable
from sekring.http.runtime import Runtime
from sekring.model import FleetTotals, GuardState, Snapshot, health_score
from sekring.wire import Minute

__all__ = ["PAGE_ROWS", "Listing", "Overview", "read_listing", "read_overview"]

#: Instances on a page.
PAGE_ROWS = 50

#: From this health score on a fleet is well, and below that one it is badly off.
_GOOD_SCORE = 90
_BAD_SCORE = 60


class Overview(Struct, frozen=True):
    """The whole fleet."""

    totals: FleetTotals
    guard: GuardState
    #: Redis, or a part of it, cannot be reached: these sums are the last known ones.
    degraded: bool
    #: Time has changed more than could be counted right away.
    lagging: bool
    #: Reports that wait for Redis, and those that had to be dropped, on this replica.
    queued: int
    dropped: int
    #: Failures in each of the last 60 minutes; empty where they cannot be read.
    minutes: tuple[Minute, ...]
    #: When it was read, by this replica's clock.
    read_ms: int

    @property
    def lasting(self) -> "Overview":
        """The same without the time and the chart: to see whether anything else is different."""
        return structs.replace(self, read_ms=0, minutes=())

    @property
    def chart(self) -> Chart | None:
        """The failures per minute as a drawing."""
        return Chart.of(self.minutes) if self.minutes else None

    @property
    def score(self) -> int:
        """The health score, 0 to 100."""
        return health_score(
            breakers_open=self.totals.open + self.totals.forced_open,
            retries=self.totals.retry_attempts,
            failures=self.totals.failures,
            instances=self.totals.known,
        )

    @property
    def tone(self) -> str:
        """How well that is: `good`, `warn` or `bad`."""
        if self.score >= _GOOD_SCORE:
            return "good"
        return "bad" if self.score < _BAD_SCORE else "warn"

    def count(self, label: Label) -> int:
        """Return how many instances are in a state, or in any."""
        sums = self.totals
        if label == "all":
            return sums.known
        if label == "closed":
            others = sums.open + sums.half_open + sums.forced_open + sums.disabled
            return max(0, sums.known - others)
        return int(getattr(sums, label))


class Listing(Struct, frozen=True):
    """One page of instances, and where the next begins (`None`: there is none)."""

    rows: tuple[Snapshot, ...] = ()
    cursor: str | None = None
    #: Redis cannot be reached: nothing is known of what would be here.
    unknown: bool = False

    @property
    def lasting(self) -> "Listing":
        """The same without what time alone changes: to see whether anything else has."""
        rows = (structs.replace(row, now_ms=0, remaining_ms=None) for row in self.rows)
        return structs.replace(self, rows=tuple(rows))


async def read_overview(runtime: Runtime) -> Overview:
    """Read the sums; where Redis is away they are the last known ones."""
    fleet, guard, minutes = await asyncio.gather(
        runtime.fleet.stored_totals(), runtime.guard.state(), _minutes(runtime)
    )
    return Overview(
        totals=fleet.sums,
        guard=guard,
        degraded=fleet.degraded or runtime.degraded.partitions > 0,
        lagging=fleet.lagging,
        queued=runtime.replay.waiting,
        dropped=runtime.replay.dropped,
        minutes=minutes,
        read_ms=round(time.time() * 1000),
    )


async def read_listing(runtime: Runtime, selection: Selection) -> Listing:
    """Read one page.

    Raises:
        InvalidInput: its cursor is not one that a page gave.
    """
    if selection.matches_nothing:
        return Listing()
    try:
        page = await runtime.fleet.page(
            selection.state,
            selection.cursor,
            PAGE_ROWS,
            prefix=selection.prefix,
            open_first=True,
        )
    except StoreUnavailable:
        return Listing(unknown=True)
    return Listing(tuple(page.instances), page.cursor)


async def _minutes(runtime: Runtime) -> tuple[Minute, ...]:
    try:
        return tuple((await runtime.trend.failures()).minutes)
    except StoreUnavailable:
        return ()
