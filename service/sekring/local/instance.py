"""An instance's breaker: what the Lua scripts do, without Redis.

It is eager where the scripts are lazy: `advance` lets everything happen that time alone does, one
thing after the other. Time is passed in, and so is chance.
"""

import math

from sekring.local.memory import Remembered, first
from sekring.model import REFUSING, Admission, State, Verdict, Why
from sekring.policy import Policy
from sekring.requests import (
    Forced,
    OfferRequest,
    PermitRequest,
    ReportRequest,
    ResetDone,
    ResetRequest,
)
from sekring.taxonomy import Effect

__all__ = ["Instance"]


class Instance(Remembered):
    """One instance's breaker."""

    def permit(
        self, request: PermitRequest, clock: int, refused: tuple[str, int] | None
    ) -> Admission:
        """Ask for an attempt; `refused` tells why and until when its build is refused."""
        now = self.settle(clock)
        if refused and refused[1] > now and self.state is not State.DISABLED:
            return self._refusal(refused[0], refused[1] - now)
        if self.state in REFUSING:
            return self._refusal(self.cause, self._remaining(now), self.reason or None)
        if request.epoch is not None and request.epoch < self.epoch:
            return self._refusal("late", None)
        attempt_id = f"{self.epoch:x}-{request.token}"
        if self.state is State.HALF_OPEN and attempt_id not in self.slots.probing:
            in_flight = self.slots.in_flight(now)
            if len(in_flight) >= self.policy.probes:
                return self._refusal("probing", min(in_flight) - now)
            self.slots.probing[attempt_id] = now + self.policy.probe_ttl_ms
        backoff = self._backoff(request.random)
        if request.token != self.token:
            self.attempts += 1
            self.token = request.token
        at = now - request.age_ms
        if at >= self.connection_since:
            self._connect("connecting", at)
            self.attempt_until = at + self.policy.probe_ttl_ms
        self._touch(now)
        return Admission(
            instance_id=self.instance_id,
            permitted=True,
            attempt_id=attempt_id,
            epoch=self.epoch,
            state=self.state,
            failures=len(self.window),
            retry_after_ms=0,
            backoff_ms=backoff,
        )

    def report(self, request: ReportRequest, clock: int) -> Verdict:
        """Report how an attempt, or a live connection, ended."""
        now = self.settle(clock)
        at = now - request.age_ms
        before = len(self.history)
        why = self._take(request, at, now)
        opened = any(change.after == State.OPEN for change in self.history[before:])
        return Verdict(
            instance_id=self.instance_id,
            counted=why == "counted",
            why=why,
            state=self.state,
            failures=len(self.window),
            threshold=self.policy.failure_threshold,
            retry_attempts=max(0, self.attempts - 1),
            tripped=opened and request.outcome == "failure",
            retry_after_ms=self._remaining(now)
            if self.state in REFUSING
            else self._backoff(request.random),
            epoch=self.epoch,
        )

    def _take(self, request: ReportRequest, at: int, now: int) -> Why:
        seen = now < self.seen_until and request.id in self.seen
        if seen or request.id in self.window.kinds:
            return "duplicate"
        if self._is_late(request, at):
            return "late"
        self._touch(now)
        if request.outcome == "success":
            self._succeed(request, at, now)
            return "success"
        if self._is_present(request, at):
            self._end_connection()
        if request.outcome == "disconnected":
            self._release(request, now)
            return "disconnected"
        if at >= self.last_failure[0]:
            self.last_failure = (at, request.kind or "", request.detail or "")
        return self._fail(request, at, now)

    def _is_late(self, request: ReportRequest, at: int) -> bool:
        """Tell if it is of an older epoch. One above the present: our record was lost."""
        if request.epoch is not None:
            return request.epoch < self.epoch
        return request.age_ms > 0 and at < self.epoch

    def _is_present(self, request: ReportRequest, at: int) -> bool:
        """Tell if it is about the present connection: by its time, or by the attempt's name."""
        named = self.token and (request.attempt_id or "").endswith(f"-{self.token}")
        return at >= self.connection_since or bool(named)

    def _succeed(self, request: ReportRequest, at: int, now: int) -> None:
        if self.terminal:  # it was paired anew
            self.terminal = ""
            if self.state is State.OPEN and self.ban_until > now:
                self._open("ban", "temporary_ban", self.ban_until, now)
            elif self.state is State.OPEN:
                self._close("close", now)
        if self.state is State.HALF_OPEN:
            attempt_id = request.attempt_id or first(self.slots.probing) or request.id
            self.slots.probing.pop(attempt_id, None)
            if len(self.slots.uncredited(now)) < self.policy.probes:
                self.slots.proving.setdefault(attempt_id, at + self.policy.stable_after_ms)
        if self.connection != "connected" and self._is_present(request, at):
            self._connect("connected", max(at, self.connection_since))
        self.advance(now)

    def _fail(self, request: ReportRequest, at: int, now: int) -> Why:
        kind = request.kind or ""
        match request.effect:
            case Effect.COUNT:
                return self._count(request, kind, at, now)
            case Effect.TERMINAL:
                if self.terminal != "banned":
                    self.terminal = kind
                self._hold("permanent", request.id, kind, 0, now)
                return "permanent"
            case Effect.BAN:
                ban = request.ban_ms or 0
                until = math.floor(at + ban + min(600_000, 0.05 * ban) * request.random)
                if until > now:
                    self.ban_until = max(self.ban_until, until)
                    self._hold("ban", request.id, kind, until, now)
                return "ban"
            case Effect.CONFLICT:
                if self.state is not State.OPEN:
                    until = math.floor(now + 30_000 + 60_000 * request.random)
                    self._hold("conflict", request.id, kind, until, now)
                return "conflict"
            case Effect.BUILD:
                self._release(request, now)
                return "build"
            case _:
                self._release(request, now)
                return "ignored"

    def _count(self, request: ReportRequest, kind: str, at: int, now: int) -> Why:
        if self.state in REFUSING:
            self.suppressed += 1
            return "open"
        if self.policy.weights.get(kind) == 0:
            self._release(request, now)
            return "ignored"
        if at <= now - self.policy.window_ms:
            return "stale"
        self.window.kinds[request.id] = (at, kind)
        self.window.keep_newest(self.policy.failure_threshold)
        if self.state is State.HALF_OPEN:
            self._open_for_cooldown("reopen", "probe_failed", request, now)
        elif (
            self._quorum(request.gateway or "", at, now)
            and self.state is State.CLOSED
            and self.window.weight(self.policy) >= self.policy.failure_threshold
        ):
            self._open_for_cooldown("trip", "failures", request, now)
        return "counted"

    def _open_for_cooldown(self, action: str, cause: str, request: ReportRequest, now: int) -> None:
        """Open until the cooldown is over that runs from the failure, however late it came."""
        until = now - request.age_ms + self._cooldown(request.random, now)
        self._open(action, cause, until, now)
        if until <= now:
            self.settle(now)

    def _quorum(self, gateway: str, at: int, now: int) -> bool:
        if self.policy.min_reporters == 1:
            return True
        reporters = self.window.reporters
        reporters[gateway] = max(at, reporters.get(gateway, 0))
        start = now - self.policy.window_ms
        self.window.reporters = {name: last for name, last in reporters.items() if last > start}
        return len(self.window.reporters) >= self.policy.min_reporters

    def _hold(self, action: str, report_id: str, kind: str, until: int, now: int) -> None:
        """Open for a reason that is not the window's; a longer hold is not shortened."""
        self._remember([report_id], now)
        if self.state in {State.FORCED_OPEN, State.DISABLED}:
            return
        if self.state is State.OPEN:
            if self.until == 0:
                return
            until = until and max(until, self.until)
        self._open(action, kind, until, now)

    def reset(self, request: ResetRequest, clock: int) -> ResetDone:
        """Close at once and clear all counters."""
        now = self.settle(clock)
        was, known = self.state, self.known
        applies = known and request.only_state in {None, was}
        banned = applies and not request.force
        banned = banned and (self.terminal == "banned" or self.ban_until > now)
        if applies and not banned:
            self._clear_window(now)
            self.attempts = self.level = self.ban_until = 0
            self.terminal = ""
            self._bump_epoch(now)
            self._close("reset", now)
            self._touch(now)
        return ResetDone(
            instance_id=self.instance_id,
            known=known,
            was=was,
            state=self.state,
            epoch=self.epoch,
            done=applies and not banned,
            banned=banned,
            ban_remaining_ms=max(0, self.ban_until - now),
        )

    def trip(self, for_ms: int | None, reason: str, clock: int) -> Forced:
        """Force it open."""
        now = self.settle(clock)
        was = self.state
        self._remember_window(now)
        self.suppressed = 0
        self._bump_epoch(now)
        self.cause, self.reason, self.opened = "operator", reason, now
        return self._force(State.FORCED_OPEN, "force_open", was, for_ms, now)

    def offer(self, request: OfferRequest, clock: int) -> Forced:
        """Take over a trip that a replica decided while it was alone, unless the fleet went on."""
        now = self.settle(clock)
        was = self.state
        if was in {State.CLOSED, State.HALF_OPEN} and self.epoch <= request.epoch:
            self._touch(now)
            until = 0 if request.for_ms is None else now + request.for_ms
            self._open("trip", request.cause, until, now)
        return Forced(
            instance_id=self.instance_id,
            was=was,
            state=self.state,
            epoch=self.epoch,
            remaining_ms=self._remaining(now),
        )

    def disable(self, for_ms: int | None, reason: str, clock: int) -> Forced:
        """Permit everything."""
        now = self.settle(clock)
        self.cause, self.reason, self.opened = "operator", reason, 0
        return self._force(State.DISABLED, "disable", self.state, for_ms, now)

    def _force(self, state: State, action: str, was: State, for_ms: int | None, now: int) -> Forced:
        self.slots.clear()
        self._touch(now)
        self._enter(state, action, now, until=0 if for_ms is None else now + for_ms)
        return Forced(
            instance_id=self.instance_id,
            was=was,
            state=state,
            epoch=self.epoch,
            remaining_ms=for_ms,
        )

    def set_policy(self, policy: Policy, clock: int, *, own: bool) -> None:
        """Put another policy in force: the fleet's, or its own."""
        self.advance(clock)
        self.policy = policy
        now = self.advance(clock)
        if own:
            self.settle(now)
            self._enter(self.state, "policy", now, until=self.until)

    def _release(self, request: ReportRequest, now: int) -> None:
        """Give back a probe slot: the attempt's, else the oldest."""
        uncredited = self.slots.uncredited(now)
        name = request.attempt_id or first(self.slots.probing) or first(uncredited)
        self.slots.probing.pop(name or "", None)
        if name in uncredited:
            del self.slots.proving[name]

    def _backoff(self, chance: float) -> int:
        tries = max(self.attempts, len(self.window))
        if tries == 0:
            return 0
        pace = self.policy.backoff
        wait = float(pace.cap_ms)
        if self.last_failure[1] != "unknown":
            wait = min(wait, pace.base_ms * pace.factor ** min(tries - 1, 64))
        return math.floor(wait * (1 - pace.jitter * chance))

    def _cooldown(self, chance: float, now: int) -> int:
        """How long to stay open: longer after each trip, shorter again while healthy."""
        policy = self.policy
        if policy.cooldown_factor == 1:
            return policy.cooldown_ms
        if self.state is State.CLOSED and self.closed:
            healthy = (now - self.closed) // policy.cooldown_ms
            self.level = max(0, self.level - healthy)
        cooldown = min(
            policy.cooldown_max_ms, policy.cooldown_ms * policy.cooldown_factor**self.level
        )
        if self.level > 0:
            cooldown *= 1 - 0.1 * chance
        self.level = min(self.level + 1, 64)
        return math.floor(cooldown)

    def _refusal(self, cause: str, retry_after: int | None, reason: str | None = None) -> Admission:
        return Admission(
            instance_id=self.instance_id,
            permitted=False,
            epoch=self.epoch,
            state=self.state,
            failures=len(self.window),
            retry_after_ms=retry_after,
            backoff_ms=0,
            cause=cause,
            reason=reason,
        )
