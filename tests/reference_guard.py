"""The fleet guard once more, in plain Python: what `guard.lua` and `pace.lua` are compared with.

Time is passed in, chance is passed in, and there is no Redis.
"""

import math
from dataclasses import dataclass, field

from sekring.model import GuardState, Pacing, State
from sekring.policy import Policy
from sekring.store.contract import GuardChange

__all__ = ["FleetGuard", "GuardEntry"]


@dataclass(frozen=True)
class GuardEntry:
    """One entry of the guard's history."""

    at_ms: int
    action: str
    before: str
    after: str
    epoch: int
    cause: str
    rate_per_s: float | None


@dataclass
class Bucket:
    """GCRA: a bucket that is full again at `full_at`."""

    rate: float = 0.0
    full_at: float = 0.0

    def wait_ms(self, burst: int, now: int) -> float:
        """How long until the next permit; not positive: there is one now."""
        ahead = max(self.full_at, now) - now
        return ahead - (burst - 1) * (1000 / self.rate)

    def take(self, now: int) -> None:
        self.full_at = max(self.full_at, now) + 1000 / self.rate

    def reprice(self, rate: float, now: int) -> None:
        """What was given stays given: as many permits, at the new rate's price."""
        if rate == 0 or self.rate == 0:
            self.full_at = 0.0
        else:
            self.full_at = now + max(0, self.full_at - now) * self.rate / rate
        self.rate = rate


@dataclass
class Step:
    """The present step of the ramp."""

    began: int = 0
    granted: int = 0
    refused: int = 0
    connected: int = 0
    failing: int = 0


@dataclass
class FleetGuard:
    """The breaker above the instances."""

    policy: Policy = field(default_factory=Policy)
    state: State = State.CLOSED
    cause: str = ""
    reason: str = ""
    epoch: int = 0
    since: int = 0
    until: int = 0
    bucket: Bucket = field(default_factory=Bucket)
    step: Step = field(default_factory=Step)
    reached: int = 0
    calm_since: int | None = None
    history: list[GuardEntry] = field(default_factory=list)

    def evaluate(self, failing: int, connected: int, clock: int) -> GuardChange:
        """Go by the sums that a replica has read."""
        now = self._time(clock)
        was, entries = self.state, len(self.history)
        guard = self.policy.fleet_guard
        if self.state is State.CLOSED:
            if guard.enabled:
                self._watch(failing, connected, now)
        elif self.state is not State.FORCED_OPEN and not guard.enabled:
            self.cause = "policy"
            self._close("guard_recover", now)
        elif self.state is State.FORCED_OPEN and 0 < self.until <= now:
            self.until = 0
            self._change("guard_ramp", State.HALF_OPEN, guard.rate_per_s, now)
            self.step = Step(now, connected=connected, failing=failing)
        elif now >= self.step.began + guard.ramp_step_ms:
            self._judge(failing, connected, now)
            if self.bucket.rate > 0:  # it was not closed
                self.step = Step(now, connected=connected, failing=failing)
        return self._answer(was, entries)

    def pace(self, chance: float, clock: int) -> Pacing:
        """Ask for a permit."""
        if self.state is State.CLOSED:
            return Pacing(granted=True, state=self.state, rate_per_s=0, retry_after_ms=0)
        now = max(clock, self.step.began)
        wait = self.bucket.wait_ms(self.policy.fleet_guard.burst, now)
        retry_after = 0
        if wait > 0:
            self.step.refused += 1
            waiting = max(self.step.failing, self.step.refused - 1)
            back_in = min(max(1000 * waiting / (4 * self.bucket.rate), 1_000), 60_000)
            retry_after = math.ceil(wait) + math.floor(back_in * (1 + chance) / 2)
        else:
            self.step.granted += 1
            self.bucket.take(now)
        return Pacing(
            granted=wait <= 0,
            state=self.state,
            rate_per_s=self.bucket.rate,
            retry_after_ms=retry_after,
        )

    def trip(self, for_ms: int | None, reason: str, clock: int) -> GuardChange:
        """Open it as an operator."""
        now = self._time(clock)
        was, entries = self.state, len(self.history)
        self.cause, self.reason = "operator", reason
        self.until = 0 if for_ms is None else now + for_ms
        rate = self.policy.fleet_guard.rate_per_s
        self._change("guard_force_open", State.FORCED_OPEN, rate, now)
        self.step = Step(now, connected=self.step.connected, failing=self.step.failing)
        return self._answer(was, entries)

    def reset(self, clock: int) -> GuardChange:
        """Close it as an operator."""
        now = self._time(clock)
        was, entries = self.state, len(self.history)
        if self.state is not State.CLOSED:
            self._close("guard_reset", now)
            self.until = now + self.policy.window_ms
        return self._answer(was, entries)

    def shown(self) -> GuardState:
        """Return what can be seen of it."""
        return GuardState(
            state=self.state,
            cause=self.cause,
            reason=self.reason,
            epoch=self.epoch,
            since_ms=self.since,
            until_ms=self.until,
            rate_per_s=self.bucket.rate,
            step_ms=self.step.began,
            granted=self.step.granted,
            refused=self.step.refused,
            connected=self.step.connected,
            failing=self.step.failing,
        )

    def _time(self, clock: int) -> int:
        return max(clock, self.since, self.step.began)

    def _is_recovered(self, failing: int, connected: int) -> bool:
        few = 0.8 * self.policy.fleet_guard.share * (failing + connected)
        return failing == 0 or failing < few

    def _watch(self, failing: int, connected: int, now: int) -> None:
        guard = self.policy.fleet_guard
        if self._is_recovered(failing, connected) or now >= self.until:
            self.until = 0
        enough = failing + connected >= guard.min_instances
        many = failing > 0 and failing >= guard.share * (failing + connected)
        if self.until == 0 and enough and many:
            self.cause = "failures"
            self._change("guard_trip", State.OPEN, guard.rate_per_s, now)
            self.step = Step(now, connected=connected, failing=failing)

    def _judge(self, failing: int, connected: int, now: int) -> None:
        """Look at what the permits of the step have led to."""
        guard, step = self.policy.fleet_guard, self.step
        gained = connected - step.connected
        demand = step.refused > 0
        if not demand and self._is_recovered(failing, connected):
            self.calm_since = step.began if self.calm_since is None else self.calm_since
        else:
            self.calm_since = None
        if self.state is State.FORCED_OPEN:
            self.bucket.reprice(guard.rate_per_s, now)
            return
        ramping = self.state is State.HALF_OPEN
        rate = max(self.bucket.rate, guard.rate_per_s) if ramping else guard.rate_per_s
        if self.calm_since is not None and (
            ramping or now >= self.calm_since + self.policy.window_ms
        ):
            self._close("guard_recover", now)
            return
        match self._verdict(gained):
            case "helps" if demand:
                self.reached = gained
                self._change("guard_ramp", State.HALF_OPEN, rate * guard.ramp_factor, now)
            case "helps" if not ramping:
                self.reached = gained
                self._change("guard_ramp", State.HALF_OPEN, rate, now)
            case "fails" if ramping and demand and (gained <= 0 or rate == guard.rate_per_s):
                self.cause, self.reason, self.reached = "failures", "", 0
                self._change("guard_trip", State.OPEN, guard.rate_per_s, now)
            case "fails" if ramping and demand:
                slower = max(guard.rate_per_s, rate / guard.ramp_factor)
                self._change("guard_ramp", State.HALF_OPEN, slower, now)
            case _ if rate != self.bucket.rate:
                self.bucket.reprice(rate, now)

    def _verdict(self, gained: int) -> str:
        granted = self.step.granted
        if granted == 0:
            return "silent"
        if gained >= 0.75 * granted:
            return "helps"
        if gained < 0.25 * granted:
            return "fails"
        return "helps" if gained >= 1.5 * self.reached else "holds"

    def _change(self, action: str, after: State, rate: float, now: int) -> None:
        before, self.state = self.state, after
        if after is not before:
            self.since = now
        self.bucket.reprice(rate, now)
        self.epoch = max(self.epoch + 1, now)
        self.history.append(
            GuardEntry(now, action, before, after, self.epoch, self.cause, rate or None)
        )

    def _close(self, action: str, now: int) -> None:
        self._change(action, State.CLOSED, 0, now)
        self.cause = self.reason = ""
        self.until = self.reached = 0
        self.calm_since = None
        self.step = Step(now)

    def _answer(self, was: State, entries: int) -> GuardChange:
        new = self.history[entries:]
        return GuardChange(was=was, action=new[-1].action if new else None, guard=self.shown())
