"""Random sequences of everything that can be done: the Lua scripts against the reference."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Final

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from sekring.local.instance import Instance
from sekring.local.memory import Change, Partition
from sekring.model import FleetTotals, Origin, State, Verdict
from sekring.policy import Policy, PolicyPatch, merge
from sekring.store.calls import Call
from sekring.store.contract import (
    DisableRequest,
    Facts,
    MinutesRequest,
    OfferRequest,
    OverrideRequest,
    PartitionTotals,
    PermitRequest,
    PolicyRequest,
    RefuseBuildRequest,
    ReportRequest,
    ResetRequest,
    SettleRequest,
    SnapshotRequest,
    TotalsRequest,
    TripRequest,
    ViewRequest,
)
from sekring.store.keys import Keyspace
from sekring.store.library import Library, Script
from sekring.store.reads import Reads, StoredPolicy
from sekring.store.records import HOUR_MS, MINUTE_MS
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.taxonomy import EFFECTS, Effect, Kind
from tests.servers import RedisServer

EXAMPLES: Final = int(os.environ.get("SEKRING_TEST_EXAMPLES", "2000"))
START: Final = 1_700_000_000_000
DAY: Final = 86_400_000
BUILD: Final = "0.1-old"

# -------------------------------------------------------------------------------- what is done


@dataclass(frozen=True)
class Permit:
    instance: int
    token: str | None  # None: a fresh one
    build: str | None
    epoch: int | None  # added to the current one: registers what a view has permitted
    age_ms: int
    random: float


@dataclass(frozen=True)
class Report:
    instance: int
    outcome: str
    kind: Kind
    id: str | None  # None: a fresh one
    attempt: str | None  # first, last: of the instance's attempts; else that very id
    epoch: int | None  # added to the current one
    age_ms: int
    ban_ms: int
    gateway: str | None
    random: float


@dataclass(frozen=True)
class Reset:
    instance: int
    only_state: State | None
    force: bool


@dataclass(frozen=True)
class Trip:
    instance: int
    for_ms: int | None
    reason: str


@dataclass(frozen=True)
class Disable:
    instance: int
    for_ms: int | None
    reason: str


@dataclass(frozen=True)
class Offer:
    instance: int
    epoch: int  # added to the current one
    for_ms: int


@dataclass(frozen=True)
class Settle:
    instance: int


@dataclass(frozen=True)
class Override:
    instance: int
    patch: PolicyPatch | None


@dataclass(frozen=True)
class FleetPolicy:
    patch: PolicyPatch


@dataclass(frozen=True)
class RefuseBuild:
    kind: str | None
    for_ms: int


@dataclass(frozen=True)
class Wait:
    ms: int


@dataclass(frozen=True)
class WaitForNext:
    """Until just before, at, or after the next moment at which time changes the instance."""

    instance: int
    offset: int


@dataclass(frozen=True)
class ClockBack:
    ms: int


Step = (
    Permit
    | Report
    | Reset
    | Trip
    | Disable
    | Offer
    | Settle
    | Override
    | FleetPolicy
    | RefuseBuild
    | Wait
    | WaitForNext
    | ClockBack
)

# ------------------------------------------------------------------------------- how it is drawn

#: Mostly one instance, so that much happens to it; the others show that nothing leaks over.
instances = st.sampled_from([0, 0, 0, 0, 0, 1, 2])
chances = st.sampled_from([0.0, 0.25, 0.9])
spans = st.sampled_from([None, 1_000, 5_000, 60_000])
COUNTED: Final = [kind for kind in Kind if EFFECTS[kind] is Effect.COUNT]
# Bans above all: what is terminal stays so for long, and little happens then.
HELD: Final = [
    *(kind for kind in Kind if EFFECTS[kind] is not Effect.COUNT),
    *[Kind.TEMPORARY_BAN] * 6,
]


def subset(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def weighted(draw: st.DrawFn, choices: Sequence[st.SearchStrategy[Step]]) -> Step:
    """One of `choices`. Unlike `one_of` it takes what is there several times more often."""
    return draw(draw(st.sampled_from(choices)))


def patch(
    always: dict[str, st.SearchStrategy[Any]], maybe: dict[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[PolicyPatch]:
    fields = st.fixed_dictionaries(
        always, optional={name: values for name, values in maybe.items() if name not in always}
    )
    return fields.map(lambda drawn: msgspec.convert(drawn, PolicyPatch))


#: Small figures, so that little is needed for much to happen.
FIELDS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "failure_threshold": st.integers(1, 6),
    "window_ms": st.sampled_from([1_000, 2_000, 10_000, DAY]),
    "cooldown_ms": st.sampled_from([1, 1_000, 5_000]),
    "cooldown_factor": st.sampled_from([1.0, 1.5, 2.0]),
    "cooldown_max_ms": st.sampled_from([6_000, 20_000]),
    "probes": st.integers(0, 3),
    "probe_ttl_ms": st.sampled_from([1_000, 3_000]),
    "backoff": subset(
        {
            "base_ms": st.sampled_from([0, 100]),
            "factor": st.sampled_from([1.0, 2.5]),
            "cap_ms": st.sampled_from([100, 1_000]),
            "jitter": st.sampled_from([0.0, 0.5, 1.0]),
        }
    ),
    "stable_after_ms": st.sampled_from([0, 1, 1_000, 5_000]),
    "success_clears": st.booleans(),
    "weights": st.dictionaries(st.sampled_from(COUNTED[:4]), st.integers(0, 3), max_size=3),
    "min_reporters": st.integers(1, 3),
}
patches = patch({}, FIELDS)

permits = st.builds(
    Permit,
    instances,
    st.sampled_from([None, None, None, "t0"]),
    st.sampled_from([None, None, BUILD]),
    st.sampled_from([None, None, None, 0, 1, -1]),
    st.sampled_from([0, 0, 0, 500, 2_000]),
    chances,
)
offers = st.builds(Offer, instances, st.sampled_from([0, 0, 1, -1]), st.sampled_from([1, 5_000]))


def reports(outcomes: list[str], kinds: list[Kind], *, ages: list[int]) -> st.SearchStrategy[Step]:
    return st.builds(
        Report,
        instances,
        st.sampled_from(outcomes),
        st.sampled_from(kinds),
        st.sampled_from([None, None, "r0", "r1", "r2"]),
        st.sampled_from([None, "first", "last", "last", "unknown"]),
        st.sampled_from([None, 0, 0, 0, 0, -1, 1]),
        st.sampled_from(ages),
        st.sampled_from([1, 1_000, 30_000, 2 * DAY]),
        st.sampled_from([None, "gw-1", "gw-2", "gw-3"]),
        chances,
    )


AGES: Final = [0, 0, 0, 1, 500, 999, 1_000, 1_001, 2_000, 5_000, 10_000, 2 * DAY]
failures = reports(["failure"], COUNTED, ages=[0])
aged_failures = reports(["failure"], COUNTED[:5], ages=AGES)
holds = reports(["failure"], HELD, ages=[0, 0, 500])
successes = reports(["success"], COUNTED[:1], ages=[0, 0, 0, 500, 2_000])
endings = reports(["disconnected"], COUNTED[:1], ages=[0, 0, 0, 500])
waits = st.builds(Wait, st.sampled_from([1, 10, 500, 999, 1_000, 3_000]))
moments = st.builds(WaitForNext, instances, st.sampled_from([-1, 0, 0, 0, 1]))
resets = st.builds(
    Reset, instances, st.sampled_from([None, None, State.OPEN, State.DISABLED]), st.booleans()
)
trips = st.builds(Trip, instances, spans, st.sampled_from(["", "maintenance"]))
disables = st.builds(Disable, instances, spans, st.sampled_from(["", "noisy"]))
overrides = st.builds(Override, instances, st.none() | patches)
fleet_policies = st.builds(FleetPolicy, patches)
refusals = st.builds(
    RefuseBuild,
    st.sampled_from([None, "client_outdated", "client_outdated"]),
    st.sampled_from([1_000, 30_000]),
)
rarities = weighted(
    [
        resets,
        trips,
        disables,
        holds,
        offers,
        overrides,
        fleet_policies,
        st.builds(Wait, st.sampled_from([20_000, DAY - 1, DAY, DAY + 1, 40 * DAY])),
        st.builds(ClockBack, st.sampled_from([1, 1_500, 20_000])),
        refusals,
    ]
)


@dataclass(frozen=True)
class Example:
    policy: PolicyPatch
    steps: list[Step]


def theme(
    fields: dict[str, st.SearchStrategy[Any]], *steps: st.SearchStrategy[Any]
) -> st.SearchStrategy[Example]:
    """Examples that dwell on something: with `fields` in the policy, and mostly these steps."""
    # The first step is what a shrinking example falls back to: it does nothing.
    drawn = weighted([st.builds(Settle, instances), *steps, moments, waits, rarities])
    return st.builds(Example, patch(fields, FIELDS), st.lists(drawn, min_size=12, max_size=50))


SOON: Final = {"failure_threshold": st.integers(1, 2), "cooldown_ms": st.just(1_000)}
LONG_WINDOW: Final = {"window_ms": st.sampled_from([10_000, 60_000])}

THEMES: Final = {
    "counting": theme(
        {"failure_threshold": st.integers(2, 5), **LONG_WINDOW, "cooldown_ms": st.just(1_000)},
        *[failures] * 4,
        *[aged_failures] * 3,
        permits,
        successes,
        endings,
    ),
    "trip after trip": theme(
        {**SOON, **LONG_WINDOW, "cooldown_factor": st.sampled_from([1.5, 2.0])},
        *[failures] * 6,
        *[moments] * 4,
        st.builds(Wait, st.sampled_from([1_000, 3_000])),
    ),
    "half-open": theme(
        {
            **SOON,
            "probes": st.integers(1, 3),
            "min_reporters": st.just(1),
            "stable_after_ms": st.sampled_from([1_000, 5_000]),
        },
        st.just(Trip(0, 1, "to half-open")),
        failures,
        *[permits] * 5,
        *[successes] * 3,
        *[endings] * 2,
        *[moments] * 3,
    ),
    "held open, or let through": theme(
        {**SOON, **LONG_WINDOW},
        *[holds] * 5,
        *[trips, disables, resets, permits] * 2,
        *[failures, successes, moments] * 2,
        refusals,
    ),
    "stable connections": theme(
        {
            "failure_threshold": st.just(4),
            **LONG_WINDOW,
            "success_clears": st.just(value=True),
            "stable_after_ms": st.sampled_from([1, 1_000]),
        },
        *[failures, aged_failures] * 2,
        permits,
        *[successes] * 2,
        *[moments] * 3,
    ),
    "changing policies": theme(
        {**SOON, **LONG_WINDOW},
        *[overrides, fleet_policies] * 2,
        *[failures] * 4,
        *[permits, successes, moments] * 2,
    ),
}


@st.composite
def examples(draw: st.DrawFn) -> Example:
    return draw(THEMES[draw(st.sampled_from(list(THEMES)))])


# ---------------------------------------------------------------------------- how it is compared


def pairs(flat: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names and values in turn, as Redis gives a hash."""
    return zip(flat[::2], flat[1::2], strict=True)


@dataclass
class Asked:
    """What Redis is asked, and what the reference says to it."""

    after: str
    ask: Callable[[], Coroutine[Any, Any, Any]]
    expected: Any


class OneRoundTrip:
    """Runs all scripts that were asked for at once in one round trip, in their order."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self._waiting: list[Call] = []

    def know(self, library: Library) -> None:
        self.client.function_load(library.text, replace=True)

    def start(self, script: Script, keys: Sequence[str], request: bytes) -> Call:
        call = Call((script.function, len(keys), *keys, request), script, slot=0)
        self._waiting.append(call)
        return call

    async def gather(self, asks: list[Callable[[], Coroutine[Any, Any, Any]]]) -> list[Any]:
        tasks = [asyncio.create_task(ask()) for ask in asks]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)  # every one comes as far as its call
            self._send()
        return [task.result() for task in tasks]

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        with self.client.pipeline(transaction=False) as pipeline:
            for call in waiting:
                pipeline.execute_command("FCALL", *call.command)  # type: ignore[no-untyped-call]
            for call, reply in zip(waiting, pipeline.execute(), strict=True):
                call.answer.set_result(reply)


class Comparison:
    """One example: everything is done twice, on Redis and on the reference."""

    def __init__(self, one_trip: OneRoundTrip, link: RedisLink) -> None:
        keyspace = Keyspace(partitions=1)
        self.redis = one_trip
        self.scripts = Scripts(one_trip, keyspace)
        self.reads = Reads(link, keyspace)
        self.clock = START
        partition = Partition()
        self.instances = [Instance(f"62811{n}", partition=partition) for n in range(3)]
        self.fleet = StoredPolicy()
        self.own = [StoredPolicy() for _ in self.instances]
        self.attempts: list[list[str]] = [[] for _ in self.instances]
        self.refused: tuple[str, int] | None = None
        self.fresh = (f"fresh-{number}" for number in count())
        #: Failures counted in each minute of the last hour, and the latest time of any instance.
        self.counted: Counter[int] = Counter()
        self.latest = START
        self.calls: list[Asked] = []
        self.after = "the beginning"

    async def flush(self) -> None:
        """Send what has gathered, in one go, and compare the answers."""
        calls, self.calls = self.calls, []
        answers = await self.redis.gather([call.ask for call in calls])
        for call, answer in zip(calls, answers, strict=True):
            assert answer == call.expected, f"after {call.after}"

    def ask(
        self, method: Callable[..., Coroutine[Any, Any, Any]], request: Any, expected: Any
    ) -> None:
        self.calls.append(Asked(self.after, partial(method, request), expected))

    def compare(self, *numbers: int) -> None:
        """Read instances: everything that can be seen of them is the same."""
        for number in numbers:
            instance = self.instances[number]
            instance.advance(self.clock)
            self.calls.append(
                Asked(
                    f"{self.after}, reading instance {number}",
                    partial(self._seen, instance.instance_id, self.clock),
                    (instance.snapshot(self.clock), instance.policy, instance.totals()),
                )
            )

    async def _seen(self, instance_id: str, clock: int) -> object:
        reading = await self.scripts.snapshot(
            SnapshotRequest(instance_id=instance_id, with_failures=True, now_ms=clock)
        )
        return reading.snapshot, reading.policy, reading.effective

    def settle(self, *numbers: int) -> None:
        for number in numbers:
            request = SettleRequest(
                instance_id=self.instances[number].instance_id, now_ms=self.clock
            )
            self.instances[number].settle(self.clock)
            self.ask(self.scripts.settle, request, None)

    async def do(self, step: Step) -> None:
        """Do one step on both sides, and look at what has become of it."""
        self.after = repr(step)
        match step:
            case FleetPolicy():
                await self._fleet_policy(step.patch)
            case RefuseBuild():
                await self._refuse_build(step)
            case Wait() | WaitForNext() | ClockBack():
                self._move_clock(step)
            case _:
                self._do_to_one(step)
                self.compare(step.instance)
                return
        self.compare(*range(3))

    def _do_to_one(
        self, step: Permit | Report | Reset | Trip | Disable | Offer | Settle | Override
    ) -> None:
        instance = self.instances[step.instance]
        match step:
            case Permit():
                self._permit(step)
            case Report():
                self._report(step)
            case Override():
                self._override(step)
            case Settle():
                self.compare(step.instance)
                self.settle(step.instance)
            case Offer(_, epoch, for_ms):
                instance.advance(self.clock)
                offer = OfferRequest(
                    instance_id=instance.instance_id,
                    epoch=max(0, instance.epoch + epoch),
                    cause="failures",
                    for_ms=for_ms,
                    now_ms=self.clock,
                )
                self.ask(self.scripts.offer, offer, instance.offer(offer, self.clock))
            case Reset(_, only_state, force):
                reset = ResetRequest(
                    instance_id=instance.instance_id,
                    only_state=only_state,
                    force=force,
                    now_ms=self.clock,
                )
                self.ask(self.scripts.reset, reset, instance.reset(reset, self.clock))
            case Trip(_, for_ms, reason):
                trip = TripRequest(
                    instance_id=instance.instance_id,
                    for_ms=for_ms,
                    origin=Origin(reason=reason),
                    now_ms=self.clock,
                )
                self.ask(self.scripts.trip, trip, instance.trip(for_ms, reason, self.clock))
            case Disable(_, for_ms, reason):
                disable = DisableRequest(
                    instance_id=instance.instance_id,
                    for_ms=for_ms,
                    origin=Origin(reason=reason),
                    now_ms=self.clock,
                )
                self.ask(
                    self.scripts.disable, disable, instance.disable(for_ms, reason, self.clock)
                )

    def _permit(self, step: Permit) -> None:
        instance = self.instances[step.instance]
        instance.advance(self.clock)
        request = PermitRequest(
            instance_id=instance.instance_id,
            token=step.token or next(self.fresh),
            build=step.build,
            epoch=None if step.epoch is None else max(0, instance.epoch + step.epoch),
            age_ms=step.age_ms,
            random=step.random,
            now_ms=self.clock,
        )
        refused = self.refused if step.build else None
        admission = instance.permit(request, self.clock, refused)
        if admission.attempt_id:
            self.attempts[step.instance].append(admission.attempt_id)
        self.ask(self.scripts.permit, request, admission)

    def _report(self, step: Report) -> None:
        instance = self.instances[step.instance]
        instance.advance(self.clock)
        attempts = [*self.attempts[step.instance]] or ["none-yet"]
        known = {None: None, "first": attempts[0], "last": attempts[-1]}
        request = ReportRequest(
            instance_id=instance.instance_id,
            id=step.id or next(self.fresh),
            outcome=step.outcome,
            attempt_id=known.get(step.attempt, step.attempt),
            epoch=None if step.epoch is None else max(0, instance.epoch + step.epoch),
            age_ms=step.age_ms,
            gateway=step.gateway,
            random=step.random,
            now_ms=self.clock,
        )
        if step.outcome == "failure":
            effect = EFFECTS[step.kind]
            request = structs.replace(
                request,
                kind=step.kind,
                effect=effect,
                detail=f"{step.kind} happened",
                ban_ms=step.ban_ms if effect is Effect.BAN else None,
            )
        verdict = instance.report(request, self.clock)
        self._count(instance, verdict, step.age_ms)
        self.ask(self.scripts.report, request, verdict)

    def _count(self, instance: Instance, verdict: Verdict, age_ms: int) -> None:
        now = max(self.clock, instance.touched)
        self.latest = max(self.latest, now)
        if verdict.counted and age_ms < HOUR_MS:
            self.counted[(now - age_ms) // MINUTE_MS] += 1

    def _override(self, step: Override) -> None:
        instance, before = self.instances[step.instance], self.own[step.instance]
        stored = StoredPolicy(before.version + 1, step.patch) if step.patch else StoredPolicy()
        self.own[step.instance] = stored
        instance.set_policy(self._policy(step.instance), self.clock, own=True)
        request = OverrideRequest(
            instance_id=instance.instance_id,
            policy=msgspec.json.encode(stored).decode() if step.patch else None,
            version=before.version,
            now_ms=self.clock,
        )
        self.ask(self.scripts.set_override, request, expected=True)

    async def _fleet_policy(self, patch: PolicyPatch) -> None:
        """Each instance takes the fleet's policy when it is settled next: here at once."""
        self.settle(*range(3))
        self.fleet = StoredPolicy(self.fleet.version + 1, patch)
        for number, instance in enumerate(self.instances):
            instance.set_policy(self._policy(number), self.clock, own=False)
        request = PolicyRequest(
            policy=msgspec.json.encode(self.fleet).decode(),
            version=self.fleet.version,
            now_ms=self.clock,
        )
        self.ask(partial(self.scripts.set_policy, 0), request, expected=True)
        # A sweep settles what is due: that has to be every instance.
        await self.flush()
        (totals,) = await self.redis.gather([self._totals()])
        assert sorted(totals.due) == list(self._listed("all")), f"due after {self.after}"
        self.settle(*range(3))

    def _policy(self, number: int) -> Policy:
        # Not `apply`: it refuses contradictions, which a later change of the fleet's may make.
        return msgspec.convert(merge(self.fleet.patch, self.own[number].patch), Policy)

    async def _refuse_build(self, step: RefuseBuild) -> None:
        lasts = self.refused is not None and self.refused[1] > self.clock
        if step.kind and not lasts:
            self.refused = (step.kind, self.clock + step.for_ms)
        elif not step.kind:
            self.refused = None
        # It goes to all partitions at once, so nothing may share its round trip.
        await self.flush()
        request = RefuseBuildRequest(
            build=BUILD, kind=step.kind, for_ms=step.for_ms, now_ms=self.clock
        )
        self.ask(self.scripts.refuse_build, request, lasts != bool(step.kind))
        await self.flush()

    def _move_clock(self, step: Wait | WaitForNext | ClockBack) -> None:
        match step:
            case Wait(ms):
                self.clock += ms
            case WaitForNext(number, offset):
                ahead = [at for at in self.instances[number].moments() if at > self.clock]
                self.clock = int(max(self.clock, min(ahead, default=self.clock) + offset))
            case ClockBack(ms):
                # What was due before has happened, whether anybody looked or not.
                self.settle(*range(3))
                self.clock -= ms
        for instance in self.instances:
            instance.advance(self.clock)

    async def compare_fleet(self) -> None:
        """Totals, index and history: before and after everything due is written down."""
        self.after = "the end"
        await self.flush()
        expected = self._sum([instance.totals() for instance in self.instances])
        (stored,) = await self.redis.gather([self._totals()])
        readings = await self.redis.gather(
            [
                partial(self.scripts.snapshot, SnapshotRequest(instance_id=name, now_ms=self.clock))
                for name in stored.due
            ]
        )
        corrected = self._sum(
            [stored, *(reading.effective for reading in readings)],
            [reading.accounted for reading in readings],
        )
        assert corrected == expected, "totals, corrected for what is due"
        self.settle(*range(3))
        await self.flush()
        (stored,) = await self.redis.gather([self._totals()])
        assert self._sum([stored]) == expected, "totals, after settling"
        assert stored.due == ()
        (view,) = await self.redis.gather([partial(self.scripts.view, 0, ViewRequest())])
        shown = {
            name: msgspec.json.decode(facts, type=Facts) for name, facts in pairs(view.instances)
        }
        assert shown == {
            instance.instance_id: facts
            for instance in self.instances
            if (facts := self._facts(instance))
        }
        assert view.epoch >= max(instance.epoch for instance in self.instances)
        await self._compare_minutes()
        labels = ["all", "open", "half_open", "forced_open", "disabled"]
        listed = await asyncio.gather(*(self.reads.page(0, label, None, 10) for label in labels))
        for label, page in zip(labels, listed, strict=True):
            assert page == list(self._listed(label)), f"index of {label}"
        histories = await asyncio.gather(
            *(self.reads.history(instance.instance_id, 100) for instance in self.instances)
        )
        for instance, found in zip(self.instances, histories, strict=True):
            changes = [
                Change(
                    entry.at_ms, entry.action, entry.before, entry.after, entry.epoch, entry.cause
                )
                for entry in reversed(found)
            ]
            assert changes == instance.history[-100:]

    async def _compare_minutes(self) -> None:
        (minutes,) = await self.redis.gather([partial(self.scripts.minutes, 0, MinutesRequest())])
        first = (self.latest - HOUR_MS) // MINUTE_MS  # what is older may be dropped already
        found = {int(minute): int(number) for minute, number in pairs(minutes.counts)}
        assert {minute: number for minute, number in found.items() if minute >= first} == {
            minute: number for minute, number in self.counted.items() if minute >= first
        }

    @staticmethod
    def _facts(instance: Instance) -> Facts | None:
        """What a replica may see of the instance."""
        if instance.state is State.CLOSED:
            plain = not instance.window.kinds and instance.attempts == 0
            return None if plain else Facts(state=State.CLOSED)
        facts = Facts(
            state=instance.state,
            epoch=instance.epoch,
            cause=instance.cause,
            reason=instance.reason,
            until_ms=instance.until,
        )
        if instance.state not in {State.OPEN, State.FORCED_OPEN} or not instance.window.kinds:
            return facts
        oldest = min(at for at, _ in instance.window.kinds.values())
        return structs.replace(
            facts,
            failures=len(instance.window),
            oldest_leaves_ms=oldest + instance.policy.window_ms,
        )

    def _totals(self) -> Callable[[], Coroutine[Any, Any, PartitionTotals]]:
        return partial(self.scripts.totals, 0, TotalsRequest(limit=100, now_ms=self.clock))

    def _listed(self, label: str) -> Iterator[str]:
        for instance in self.instances:
            if instance.known and label in {"all", instance.state}:
                yield instance.instance_id

    @staticmethod
    def _sum(plus: list[Any], minus: list[FleetTotals] | None = None) -> FleetTotals:
        return FleetTotals(
            **{
                name: sum(getattr(part, name) for part in plus)
                - sum(getattr(part, name) for part in minus or [])
                for name in FleetTotals.__struct_fields__
            }
        )


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all examples."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def shared_link(redis_server: RedisServer, runner: asyncio.Runner) -> Iterator[RedisLink]:
    link = RedisLink(redis_server.url, timeout_ms=20_000)
    yield link
    runner.run(link.close())


@pytest.fixture
def one_trip(redis_server: RedisServer) -> Iterator[OneRoundTrip]:
    with redis_server.client() as client:
        yield OneRoundTrip(client)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(example=examples())
def test_the_scripts_do_what_the_reference_does(
    runner: asyncio.Runner,
    shared_link: RedisLink,
    one_trip: OneRoundTrip,
    example: Example,
) -> None:
    async def compare() -> None:
        one_trip.client.flushdb()
        comparison = Comparison(one_trip, shared_link)
        await comparison.do(FleetPolicy(example.policy))
        for step in example.steps:
            await comparison.do(step)
        await comparison.compare_fleet()

    runner.run(compare())
