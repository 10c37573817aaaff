"""What an instance remembers, and what time alone does to it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields

from sekring.model import Connection, Failure, FleetTotals, Snapshot, State
from sekring.policy import DAY_MS, Policy
from sekring.taxonomy import COUNTED_KINDS

__all__ = ["Change", "Partition", "Remembered", "first"]

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
class Partition:
    """What instances share: the highest epoch among them."""

    epoch: int = 0


@dataclass
class Window:
    """The failures that count: those of the last `window_ms`, and no more than the newest few."""

    kinds: dict[str, tuple[int, str]] = field(default_factory=dict)
    reporters: Times = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.kinds)

    def expire(self, start: int) -> None:
        if any(at <= start for at, _ in self.kinds.values()):
            self.kinds = {name: (at, kind) for name, (at, kind) in self.kinds.items() if at > start}

    def keep_newest(self, most: int) -> None:
        if len(self.kinds) > most:
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
    """Return the name with the earliest time; of several the first in the alphabet."""
    return min(times, key=lambda name: (times[name], name), default=None)


@dataclass
class Remembered:
    """One instance as it is remembered; `sekring.local.instance` adds the verbs."""

    instance_id: str
    policy: Policy = field(default_factory=Policy)
    history: list[Change] = field(default_factory=list)
    partition: Partition = field(default_factory=Partition)

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

    by_clock: bool = False  # whether what happens now is time's doing alone

    # ------------------------------------------------------------------ what time alone does

    def settle(self, clock: int) -> int:
        """Do as `advance`, and tell the partition: what merely reads an instance does not."""
        now = self.advance(clock)
        self.partition.epoch = max(self.partition.epoch, self.epoch)
        return now

    def advance(self, clock: int) -> int:
        """Let everything happen that is due by `clock`; return the instance's own time."""
        now = max(clock, self.touched)
        self.by_clock = True
        while (due := min(self._due(now), key=lambda due: due[0]))[0] <= now:
            at, happen = max(int(due[0]), self.touched), due[1]
            self._expire(at)
            happen(at)
        self.by_clock = False
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
            credited = sorted(self.slots.proving.values())
            if self.policy.probes == 0:
                yield now, self._probed
            elif len(credited) >= self.policy.probes:
                yield credited[self.policy.probes - 1], self._probed
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
        fresh = type(self)(self.instance_id, self.policy, self.history, self.partition)
        fresh.by_clock = self.by_clock
        for slot in fields(self):
            setattr(self, slot.name, getattr(fresh, slot.name))

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
        if not self.by_clock:
            self.epoch = max(self.epoch, self.partition.epoch + 1)
            self.partition.epoch = self.epoch

    def _connect(self, connection: Connection, since: int) -> None:
        self.connection, self.connection_since, self.proven = connection, since, False

    def _end_connection(self) -> None:
        self._connect("", 0)

    def _clear_window(self, at: int) -> None:
        self._remember_window(at)
        self.window.clear()

    def _remember_window(self, at: int) -> None:
        self._remember(list(self.window.kinds), at)

    def _remember(self, ids: list[str], at: int) -> None:
        """Keep report ids as duplicates for a whole window from `at` on."""
        if not ids:
            return
        kept = {
            name: since for name, since in self.seen.items() if since > at - self.policy.window_ms
        }
        kept |= dict.fromkeys(ids, at)
        newest = sorted(kept, key=lambda name: (kept[name], name))
        self.seen = {name: kept[name] for name in newest[-4 * self.policy.failure_threshold :]}
        self.seen_until = max(self.seen_until, at + self.policy.window_ms)

    def _remaining(self, now: int) -> int | None:
        return self.until - now if self.until else None

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
            failure_threshold=self.policy.failure_threshold,
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
        """Return what it adds to the fleet's sums."""
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
            failing=self.connection != "connected"
            and (len(self.window) > 0 or self.cause in {"failures", "probe_failed"}),
        )
