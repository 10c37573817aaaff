"""The breaker once more, in plain Python: what the Lua scripts are compared with.

It is eager where the scripts are lazy: `advance` lets everything happen that time alone does, one
thing after the other. Time is passed in, chance is passed in, and there is no Redis.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields

from sekring.model import (
    Admission,
    Connection,
    Failure,
    FleetTotals,
    Snapshot,
    State,
    Verdict,
    Why,
)
from sekring.policy import DAY_MS, Policy
from sekring.store.scripts import Forced, PermitRequest, ReportRequest, ResetDone, ResetRequest
from sekring.taxonomy import COUNTED_KINDS, Effect

__all__ = ["Change", "Instance", "Slots"]

#: Report id, attempt id or gateway, and its time.
Times = dict[str, int]


@dataclass(frozen=True)
class Change:
    """One entry of the audit trail."""

    at_ms: int
    action: str
    before: str
    after: str
    epoch: int
    cause: str


@dataclass
class Window:
    """The failures that count: those of the last `window_ms`, and no more than the newest few."""

    kinds: dict[str, tuple[int, str]] = field(default_factory=dict)
    reporters: Times = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.kinds)

    def expire(self, start: int) -> None:
        self.kinds = {name: (at, kind) for name, (at, kind) in self.kinds.items() if at > start}

    def keep_newest(self, most: int) -> None:
        self.kinds = dict(self.ordered()[-most:])

    def ordered(self) -> list[tuple[str, tuple[int, str]]]:
        """Oldest first; failures of one millisecond in the order of kinds, then of ids."""

        def place(entry: tuple[str, tuple[int, str]]) -> tuple[int, int, str]:
            name, (at, kind) = entry
            return at, COUNTED_KINDS.index(kind), name

        return sorted(self.kinds.items(), key=place)

    def weight(self, policy: Policy) -> int:
        return sum(policy.weights.get(kind, 1) for _, kind in self.kinds.values())

    def clear(self) -> None:
        self.kinds.clear()
        self.reporters.clear()


@dataclass
class Slots:
    """Half-open: who probes until when, and whose success is credited when."""

    probing: Times = field(default_factory=dict)
    proving: Times = field(default_factory=dict)

    def credited(self, now: int) -> int:
        return sum(at <= now for at in self.proving.values())

    def uncredited(self, now: int) -> Times:
        return {name: at for name, at in self.proving.items() if at > now}

    def in_flight(self, now: int) -> list[int]:
        live = [deadline for deadline in self.probing.values() if deadline > now]
        return live + list(self.uncredited(now).values())

    def expire(self, now: int) -> None:
        self.probing = {name: until for name, until in self.probing.items() if until > now}

    def clear(self) -> None:
        self.probing.clear()
        self.proving.clear()


def first(times: Times) -> str | None:
    """The name with the earliest time; of several the first in the alphabet."""
    return min(times, key=lambda name: (times[name], name), default=None)


@dataclass
class Instance:
    """One instance's breaker."""

    instance_id: str
    policy: Policy = Policy()
    history: list[Change] = field(default_factory=list)

    known: bool = False
    touched: int = 0
    state: State = State.CLOSED
    epoch: int = 0
    until: int = 0  # when the state ends by itself; 0: never
    cause: str = ""
    reason: str = ""
    opened: int = 0
    closed: int = 0
    level: int = 0
    terminal: str = ""
    ban_until: int = 0
    suppressed: int = 0

    window: Window = field(default_factory=Window)
    seen: Times = field(default_factory=dict)
    seen_until: int = 0
    slots: Slots = field(default_factory=Slots)

    attempts: int = 0
    token: str = ""
    connection: Connection = ""
    connection_since: int = 0
    attempt_until: int = 0
    proven: bool = False
    last_failure: tuple[int, str, str] = (0, "", "")

    # ------------------------------------------------------------------ what time alone does

    def advance(self, clock: int) -> int:
        """Let everything happen that is due by `clock`; return the instance's own time."""
        now = max(clock, self.touched)
        while (due := min(self._due(now), key=lambda due: due[0]))[0] <= now:
            at, happen = max(due[0], self.touched), due[1]
            self._expire(at)
            happen(at)
        self._expire(now)
        return now

    def _expire(self, at: int) -> None:
        self.window.expire(at - self.policy.window_ms)
        self.slots.expire(at)

    def _due(self, now: int) -> Iterator[tuple[float, Callable[[int], None]]]:
        """Yield what happens next, and when."""
        yield math.inf, lambda _: None
        if self.connection == "connected" and not self.proven:
            yield self.connection_since + self.policy.stable_after_ms, self._prove
        if self.connection == "connecting":
            yield self.attempt_until, self._give_up
        if self.until:
            yield self.until, self._end_state
        if self.state is State.HALF_OPEN:
            credits = sorted(self.slots.proving.values())
            if self.policy.probes == 0:
                yield now, self._probed
            elif len(credits) >= self.policy.probes:
                yield credits[self.policy.probes - 1], self._probed
        if self.known and self.state in {State.CLOSED, State.HALF_OPEN}:
            yield self.touched + DAY_MS, self._forget

    def _prove(self, at: int) -> None:
        self.proven = True
        self.attempts = 0
        if self.policy.success_clears and self.state is State.CLOSED:
            self._clear_window(at)

    def _give_up(self, _: int) -> None:
        self._end_connection()

    def _end_state(self, at: int) -> None:
        if self.state is not State.OPEN and self.terminal:
            self._open("permanent", self.terminal, 0, at)
        elif self.state is not State.OPEN and self.ban_until > self.until:
            self._open("ban", "temporary_ban", self.ban_until, at)
        elif self.state is State.DISABLED:
            self._close("enable", at)
        else:
            self._recover(at)

    def _recover(self, at: int) -> None:
        self.window.clear()
        self.attempts = 0
        self._bump_epoch(at)
        self.touched = max(self.touched, at)
        if self.policy.probes == 0:
            self._close("recover", at)
        else:
            self._enter(State.HALF_OPEN, "half_open", at, until=0)

    def _probed(self, at: int) -> None:
        self._close("close", at)

    def _forget(self, _: int) -> None:
        fresh = Instance(self.instance_id, self.policy, self.history)
        for slot in fields(self):
            setattr(self, slot.name, getattr(fresh, slot.name))

    # ---------------------------------------------------------------------------- the verbs

    def permit(self, request: PermitRequest, clock: int, refused: tuple[str, int] | None) -> Admission:
        """Ask for an attempt; `refused` tells why and until when its build is refused."""
        now = self.advance(clock)
        if refused and refused[1] > now and self.state is not State.DISABLED:
            return self._refusal(refused[0], refused[1] - now)
        if self.state in {State.OPEN, State.FORCED_OPEN}:
            return self._refusal(self.cause, self._remaining(now), self.reason or None)
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
        self._connect("connecting", now)
        self.attempt_until = now + self.policy.probe_ttl_ms
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
        now = self.advance(clock)
        at = now - request.age_ms
        epoch = self.epoch
        why = self._take(request, at, now)
        opened = self.epoch > epoch and self.state is State.OPEN
        return Verdict(
            instance_id=self.instance_id,
            counted=why == "counted",
            why=why,
            state=self.state,
            failures=len(self.window),
            tripped=opened and request.outcome == "failure",
            retry_after_ms=self._remaining(now)
            if self.state in {State.OPEN, State.FORCED_OPEN}
            else self._backoff(request.random),
            epoch=self.epoch,
        )

    def _take(self, request: ReportRequest, at: int, now: int) -> Why:
        if now < self.seen_until and request.id in self.seen:
            return "duplicate"
        if request.id in self.window.kinds:
            return "duplicate"
        if request.epoch is not None and request.epoch < self.epoch:
            return "late"
        if request.epoch is None and request.age_ms > 0 and at < self.epoch:
            return "late"
        self._touch(now)
        if request.outcome == "success":
            self._succeed(request, at, now)
            return "success"
        # What happened before the present connection began says nothing about it.
        if at >= self.connection_since:
            self._end_connection()
        if request.outcome == "disconnected":
            self._release(request, now)
            return "disconnected"
        if at >= self.last_failure[0]:
            self.last_failure = (at, request.kind or "", request.detail or "")
        return self._fail(request, at, now)

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
        if self.connection != "connected" and at >= self.connection_since:
            self._connect("connected", at)
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
        if self.state in {State.OPEN, State.FORCED_OPEN}:
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
            self._open("reopen", "probe_failed", now + self._cooldown(request.random, now), now)
        elif (
            self._quorum(request.gateway or "", at, now)
            and self.state is State.CLOSED
            and self.window.weight(self.policy) >= self.policy.failure_threshold
        ):
            self._open("trip", "failures", now + self._cooldown(request.random, now), now)
        return "counted"

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
        now = self.advance(clock)
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
        now = self.advance(clock)
        was = self.state
        self._remember_window(now)
        self.suppressed = 0
        self._bump_epoch(now)
        self.cause, self.reason, self.opened = "operator", reason, now
        return self._force(State.FORCED_OPEN, "force_open", was, for_ms, now)

    def disable(self, for_ms: int | None, reason: str, clock: int) -> Forced:
        """Permit everything."""
        now = self.advance(clock)
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
            self._enter(self.state, "policy", now, until=self.until)

    # ----------------------------------------------------------------------------- the parts

    def _touch(self, now: int) -> None:
        self.known = True
        self.touched = now

    def _enter(self, state: State, action: str, at: int, *, until: int) -> None:
        before = self.state
        self.state = state
        self.until = until
        self.history.append(Change(at, action, before, state, self.epoch, self.cause))

    def _open(self, action: str, cause: str, until: int, at: int) -> None:
        self._remember_window(at)
        self.slots.clear()
        self.suppressed = 0
        self._bump_epoch(at)
        self.cause, self.reason, self.opened = cause, "", at
        self._enter(State.OPEN, action, at, until=until)

    def _close(self, action: str, at: int) -> None:
        self.slots.clear()
        self._enter(State.CLOSED, action, at, until=0)
        self.cause, self.reason, self.opened, self.suppressed = "", "", 0, 0
        self.closed = at

    def _bump_epoch(self, at: int) -> None:
        self.epoch = max(self.epoch + 1, at)

    def _connect(self, connection: Connection, since: int) -> None:
        self.connection, self.connection_since, self.proven = connection, since, False

    def _end_connection(self) -> None:
        self._connect("", 0)

    def _release(self, request: ReportRequest, now: int) -> None:
        """Give back a probe slot: the attempt's, else the oldest."""
        uncredited = self.slots.uncredited(now)
        name = request.attempt_id or first(self.slots.probing) or first(uncredited)
        self.slots.probing.pop(name or "", None)
        if name in uncredited:
            del self.slots.proving[name]

    def _clear_window(self, at: int) -> None:
        self._remember_window(at)
        self.window.clear()

    def _remember_window(self, at: int) -> None:
        self._remember(list(self.window.kinds), at)

    def _remember(self, ids: list[str], at: int) -> None:
        """Keep report ids as duplicates for a whole window from `at` on."""
        if not ids:
            return
        kept = {name: since for name, since in self.seen.items() if since > at - self.policy.window_ms}
        kept |= dict.fromkeys(ids, at)
        newest = sorted(kept, key=lambda name: (kept[name], name))
        self.seen = {name: kept[name] for name in newest[-4 * self.policy.failure_threshold :]}
        self.seen_until = max(self.seen_until, at + self.policy.window_ms)

    def _remaining(self, now: int) -> int | None:
        return self.until - now if self.until else None

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
        cooldown = min(policy.cooldown_max_ms, policy.cooldown_ms * policy.cooldown_factor**self.level)
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

    # ---------------------------------------------------------------------------- what is seen

    def moments(self) -> list[float]:
        """All points in time, past ones too, at which something is different from before."""
        times = [at for at, _ in self._due(0)]
        window = self.policy.window_ms
        times += [at + window for at, _ in self.window.kinds.values()]
        times += [at + window for at in self.window.reporters.values()]
        times += [*self.slots.probing.values(), *self.slots.proving.values()]
        return [*filter(math.isfinite, times), self.seen_until, self.ban_until]

    def snapshot(self, clock: int) -> Snapshot:
        """Return the instance as it stands; `advance` was called."""
        now = max(clock, self.touched)
        half_open = self.state is State.HALF_OPEN
        at, kind, detail = self.last_failure
        return Snapshot(
            instance_id=self.instance_id,
            known=self.known,
            state=self.state,
            epoch=self.epoch,
            failures=len(self.window),
            retry_attempts=max(0, self.attempts - 1),
            suppressed=self.suppressed,
            cause=self.cause or None,
            reason=self.reason or None,
            opened_at_ms=self.opened or None,
            resets_at_ms=self.until or None,
            remaining_ms=self._remaining(now),
            ban_until_ms=self.ban_until if self.ban_until > now else None,
            terminal=self.terminal or None,
            connection=self.connection,
            connection_since_ms=self.connection_since or None,
            probes_in_flight=len(self.slots.in_flight(now)) if half_open else 0,
            probe_successes=self.slots.credited(now) if half_open else 0,
            last_failure_at_ms=at or None,
            last_failure_kind=kind or None,
            last_failure_detail=detail or None,
            recent_failures=tuple(Failure(at, kind) for _, (at, kind) in self.window.ordered()),
            now_ms=now,
        )

    def totals(self) -> FleetTotals:
        """What it adds to the fleet's sums."""
        return FleetTotals(
            known=self.known,
            connected=self.connection == "connected",
            connecting=self.connection == "connecting",
            open=self.state is State.OPEN,
            half_open=self.state is State.HALF_OPEN,
            forced_open=self.state is State.FORCED_OPEN,
            disabled=self.state is State.DISABLED,
            retry_attempts=max(0, self.attempts - 1),
            failures=len(self.window),
        )
