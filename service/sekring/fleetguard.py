"""The fleet guard: a breaker above the instances, for when WhatsApp itself or the network is down.

Its state and its bucket are one record in Redis (`lua/guard.lua`, `lua/pace.lua`). Every replica's
sweep has it evaluated about twice a second, on the fleet's sums, and learns its state by that.
"""

import math
import time

import structlog

from sekring.errors import StoreUnavailable
from sekring.model import FleetTotals, GuardState, Origin, Pacing, State, Transition
from sekring.store.contract import (
    GuardChange,
    GuardRequest,
    PaceRequest,
    ResetGuardRequest,
    TripGuardRequest,
)
from sekring.store.reads import Reads
from sekring.store.scripts import Scripts

__all__ = ["Guard", "LocalBucket"]

#: Who is refused by a replica's own bucket returns this much later than it could, in ms: those are
#: few, and each comes at a time of its own.
_ALONE_RETURN_MS = 1_000

_log = structlog.get_logger(__name__)


class LocalBucket:
    """GCRA in this process: the fleet's bucket while Redis is away. Time is passed in."""

    def __init__(self, rate_per_s: float, burst: int) -> None:
        """Make a full bucket that gives `rate_per_s` permits, and `burst` at once after a pause."""
        self.rate_per_s = rate_per_s
        self._interval_ms = 1000 / rate_per_s
        self._ahead_ms = (burst - 1) * self._interval_ms
        self._full_at_ms = 0.0

    def take(self, now_ms: float) -> float:
        """Take a permit and return 0; if there is none, return in how many ms there will be."""
        full_at_ms = max(self._full_at_ms, now_ms)
        wait_ms = full_at_ms - now_ms - self._ahead_ms
        if wait_ms > 0:
            return wait_ms
        self._full_at_ms = full_at_ms + self._interval_ms
        return 0.0


class Guard:
    """Asks the fleet's bucket, has the guard evaluated, and takes an operator's word."""

    def __init__(self, scripts: Scripts, reads: Reads) -> None:
        """Use the store through `scripts` and `reads`."""
        self._scripts = scripts
        self._reads = reads
        self._known: GuardState | None = None
        self._alone: LocalBucket | None = None

    @property
    def known(self) -> GuardState | None:
        """The guard as this replica learnt of it last; `None` before the first evaluation."""
        return self._known

    def is_closed_hint(self) -> bool:
        """Say whether the guard was closed when this replica learnt of it last.

        A hint, which saves a permit the question: it lags by one sweep at most (about half a
        second), by as much permits go unpaced after a trip. False until the first evaluation: then
        Redis is asked.
        """
        return self._known is not None and self._known.state is State.CLOSED

    async def pace(self) -> Pacing:
        """Take one permit from the fleet's bucket; everything is granted while it is closed.

        Without Redis, and if the guard was not closed, a bucket of this replica's own keeps the
        first rate of the ramp: n replicas on their own pace n times as much at most.
        """
        try:
            return await self._scripts.pace(PaceRequest())
        except StoreUnavailable:
            return self.pace_alone()

    async def evaluate(self, sums: FleetTotals) -> GuardState:
        """Have the guard go by the fleet's sums; called by every sweep.

        Raises:
            StoreUnavailable: Redis does not answer; the guard stays as it is.
        """
        request = GuardRequest(failing=sums.failing, connected=sums.connected)
        change = await self._scripts.guard(request)
        # Of all replicas that evaluate, the one that made the transition logs it.
        if change.action is not None:
            _log_change(change, sums)
        return self._learn(change)

    async def state(self) -> GuardState:
        """Return the guard as it was evaluated last; without Redis, as this replica knows it."""
        try:
            return await self._reads.guard()
        except StoreUnavailable:
            return self._known or GuardState()

    async def history(self, limit: int) -> list[Transition]:
        """Return the guard's latest transitions, newest first, the last 100 at most."""
        return await self._reads.guard_history(limit)

    async def trip(self, for_ms: int | None, origin: Origin) -> GuardState:
        """Open the guard, for `for_ms` (then the ramp begins) or until a reset."""
        change = await self._scripts.trip_guard(TripGuardRequest(for_ms=for_ms, origin=origin))
        _log.warning("fleet guard opened", by=origin.actor, reason=origin.reason, for_ms=for_ms)
        return self._learn(change)

    async def reset(self, origin: Origin) -> GuardState:
        """Close the guard at once.

        The failures that are known now do not open it again: until few fail, or for a window.
        """
        change = await self._scripts.reset_guard(ResetGuardRequest(origin=origin))
        if change.action is not None:
            _log.info("fleet guard reset", was=change.was, by=origin.actor)
        return self._learn(change)

    def _learn(self, change: GuardChange) -> GuardState:
        guard = change.guard
        if guard.state is State.CLOSED:
            self._alone = None
        elif self._alone is None or (
            # In the ramp it stays with the first rate: the present one is for all replicas.
            guard.state is not State.HALF_OPEN and guard.rate_per_s != self._alone.rate_per_s
        ):
            self._alone = LocalBucket(guard.rate_per_s, math.ceil(guard.rate_per_s))
        self._known = guard
        return guard

    def pace_alone(self) -> Pacing:
        """Take a permit of this replica's own bucket: where Redis is known to be away."""
        if self._alone is None or self._known is None:
            return Pacing(granted=True, state=State.CLOSED, rate_per_s=0, retry_after_ms=0)
        wait_ms = self._alone.take(time.monotonic() * 1000)
        return Pacing(
            granted=wait_ms == 0,
            state=self._known.state,
            rate_per_s=self._alone.rate_per_s,
            retry_after_ms=math.ceil(wait_ms) + _ALONE_RETURN_MS if wait_ms else 0,
        )


def _log_change(change: GuardChange, sums: FleetTotals) -> None:
    level = _log.warning if change.action == "guard_trip" else _log.info
    words = {
        "guard_trip": "fleet guard opened",
        "guard_ramp": "fleet guard changed its rate",
        "guard_recover": "fleet guard closed",
    }
    level(
        words.get(change.action or "", "fleet guard changed"),
        was=change.was,
        state=change.guard.state,
        rate_per_s=change.guard.rate_per_s,
        failing=sums.failing,
        connected=sums.connected,
        instances=sums.known,
    )
