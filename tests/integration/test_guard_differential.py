"""Random lives of a fleet: the guard's scripts against the reference."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekring.model import GuardState, Origin, Pacing
from sekring.policy import Policy
from sekring.store.contract import (
    GuardChange,
    GuardRequest,
    PaceRequest,
    Request,
    ResetGuardRequest,
    TripGuardRequest,
)
from sekring.store.keys import Keyspace
from sekring.store.library import Library
from tests.reference_guard import FleetGuard, GuardEntry
from tests.servers import RedisServer

EXAMPLES: Final = int(os.environ.get("SEKRING_TEST_EXAMPLES", "2000")) // 4
START: Final = 1_700_000_000_000
KEYS: Final = Keyspace().guard()

# -------------------------------------------------------------------------------- what is done


@dataclass(frozen=True)
class Evaluate:
    failing: int
    connected: int


@dataclass(frozen=True)
class Gain:
    """As many more are connected, in parts of the permits of the present step, and evaluate."""

    part: float
    failing: int


@dataclass(frozen=True)
class Pace:
    times: int
    chance: float


@dataclass(frozen=True)
class RampStep:
    """A whole step: so many ask, it ends, and some of what was granted is connected."""

    asks: int
    ms: int
    gain: Gain


@dataclass(frozen=True)
class Trip:
    for_ms: int | None
    reason: str


@dataclass(frozen=True)
class Reset:
    pass


@dataclass(frozen=True)
class Wait:
    ms: int


@dataclass(frozen=True)
class ChangePolicy:
    patch: dict[str, Any]


Step = Evaluate | Gain | Pace | RampStep | Trip | Reset | Wait | ChangePolicy

#: Small figures, so that little is needed for much to happen.
guards = st.fixed_dictionaries(
    {"min_instances": st.sampled_from([1, 10, 10])},
    optional={
        "enabled": st.sampled_from([True, True, True, False]),
        "share": st.sampled_from([0.2, 0.5, 1.0]),
        "rate_per_s": st.sampled_from([1, 3, 7.5, 20]),
        "burst": st.sampled_from([2, 4, 20]),
        "ramp_step_ms": st.sampled_from([1_000, 5_000]),
        "ramp_factor": st.sampled_from([1.5, 2, 3]),
    },
)
policies = st.fixed_dictionaries(
    {"fleet_guard": guards}, optional={"window_ms": st.sampled_from([2_000, 10_000])}
)
evaluations = st.builds(Evaluate, st.integers(0, 30), st.integers(0, 30))
outages = st.builds(Evaluate, st.integers(20, 30), st.integers(0, 3))
gains = st.builds(
    Gain,
    st.sampled_from([-1, 0, 0.2, 0.25, 0.5, 0.7, 0.75, 1, 1, 1, 2, 3]),
    st.sampled_from([0, 0, 3, 10, 30]),
)
paces = st.builds(Pace, st.integers(1, 12), st.sampled_from([0.0, 0.37, 0.999]))
waits = st.builds(Wait, st.sampled_from([-2_000, 1, 49, 333, 999, 1_000, 1_000, 2_500, 5_000]))
ramp_steps = st.builds(
    RampStep, st.sampled_from([0, 1, 4, 12, 30]), st.sampled_from([1_000, 5_000, 5_000]), gains
)
trips = st.builds(Trip, st.sampled_from([None, 1, 1_000, 6_000]), st.sampled_from(["", "known"]))
lives = st.lists(
    st.sampled_from(
        [
            *[evaluations, outages],
            *[gains, paces, waits] * 2,
            *[ramp_steps] * 14,
            trips,
            st.builds(Reset),
            st.builds(ChangePolicy, policies),
        ]
    ).flatmap(lambda chosen: chosen),
    min_size=10,
    max_size=40,
)


# ---------------------------------------------------------------------------- how it is compared


class Comparison:
    """One life: everything is done on Redis and on the reference."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        library = Library.build()
        client.function_load(library.text, replace=True)
        self.scripts = library.scripts
        self.begin({})

    def begin(self, policy: dict[str, Any]) -> None:
        self.client.flushdb()
        self.reference = FleetGuard()
        self.clock = START
        self.set_policy(policy)

    def set_policy(self, patch: dict[str, Any]) -> None:
        self.reference.policy = msgspec.convert(patch, Policy)
        self.client.hset(KEYS[1], "*", msgspec.json.encode({"version": 1, "patch": patch}))

    def run(self, name: str, request: Request) -> Any:
        keys = KEYS[:2] if name == "pace" else KEYS
        answer = self.client.fcall(
            self.scripts[name].function, len(keys), *keys, msgspec.msgpack.encode(request)
        )
        reply = Pacing if name == "pace" else GuardChange
        return msgspec.msgpack.decode(answer, type=reply)

    def do(self, step: Step) -> None:
        match step:
            case Wait(ms):
                self.clock += ms
            case ChangePolicy(patch):
                self.set_policy(patch)
            case Pace(times, chance):
                self.pace(times, chance)
            case RampStep(asks, ms, gain):
                self.pace(asks, 0.5)
                self.clock += ms
                self.do(gain)
            case Trip(for_ms, reason):
                trip = TripGuardRequest(
                    for_ms=for_ms, origin=Origin(reason=reason), now_ms=self.clock
                )
                expected = self.reference.trip(for_ms, reason, self.clock)
                assert self.run("trip_guard", trip) == expected
            case Reset():
                reset = ResetGuardRequest(now_ms=self.clock)
                assert self.run("reset_guard", reset) == self.reference.reset(self.clock)
            case Gain(part, failing):
                shown = self.reference.step
                gained = round(part * shown.granted)
                self.evaluate(failing, max(0, shown.connected + gained))
            case Evaluate(failing, connected):
                self.evaluate(failing, connected)

    def pace(self, times: int, chance: float) -> None:
        for _ in range(times):
            request = PaceRequest(random=chance, now_ms=self.clock)
            assert self.run("pace", request) == self.reference.pace(chance, self.clock)

    def evaluate(self, failing: int, connected: int) -> None:
        # Whoever comes a second time within a step changes nothing.
        for _ in range(2):
            request = GuardRequest(failing=failing, connected=connected, now_ms=self.clock)
            expected = self.reference.evaluate(failing, connected, self.clock)
            assert self.run("guard", request) == expected

    def compare_history(self) -> None:
        stored: Any = self.client.hgetall(KEYS[0])
        assert msgspec.convert(_named(stored), GuardState, strict=False) == self.reference.shown()
        for stream, most in ((KEYS[2], 5_000), (KEYS[3], 100)):
            found: Any = self.client.xrange(stream)
            entries = [_entry(fields) for _, fields in found]
            assert entries == self.reference.history[-most:]


def _named(fields: dict[bytes, bytes]) -> dict[str, Any]:
    return {name.decode(): value.decode() for name, value in fields.items()}


def _entry(fields: dict[bytes, bytes]) -> GuardEntry:
    named = {"cause": "", "rate_per_s": None, **_named(fields)}
    assert named.pop("instance_id") == "*"
    named.pop("reason", None)
    return msgspec.convert(named, GuardEntry, strict=False)


@pytest.fixture
def comparison(redis_server: RedisServer) -> Iterator[Comparison]:
    with redis_server.client() as client:
        yield Comparison(client)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(policy=policies, life=lives)
def test_the_guards_scripts_do_what_the_reference_does(
    comparison: Comparison, policy: dict[str, Any], life: list[Step]
) -> None:
    comparison.begin(policy)
    # It opens early: what happens to a closed guard is soon told.
    for step in (Evaluate(20, 0), *life):
        comparison.do(step)
    comparison.compare_history()
