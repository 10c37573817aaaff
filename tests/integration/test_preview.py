"""A preview says what the scripts do with the same failures, by either policy."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekring.errors import InvalidInput
from sekring.model import Origin
from sekring.policies import Policies
from sekring.policy import PolicyPatch
from sekring.preview import Preview
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads
from sekring.store.records import HOUR_MS, MINUTE_MS
from sekring.store.redis import RedisLink
from sekring.taxonomy import Kind
from sekring.wire import PreviewAnswer, PreviewSide
from tests.recorder import Recorder
from tests.servers import RedisServer

EXAMPLES: Final = int(os.environ.get("SEKRING_TEST_EXAMPLES", "2000")) // 10
IDS: Final = ("62811", "62812", "62813")


class Fleet:
    """A keyspace of one partition, what fails in it, and previews of that."""

    def __init__(self, link: RedisLink, prefix: str = "sekring") -> None:
        keyspace = Keyspace(prefix, partitions=1)
        self.recorder = Recorder(link, keyspace)
        reads = Reads(link, keyspace)
        self.policies = Policies(self.recorder.scripts, reads, keyspace)
        self.preview = Preview(self.recorder.records, reads, self.policies)


# --------------------------------------------------------------------------- random histories


@dataclass(frozen=True)
class Failure:
    instance: int
    kind: Kind
    gateway: str | None


@dataclass(frozen=True)
class Reset:
    instance: int


@dataclass(frozen=True)
class Wait:
    ms: int


@dataclass(frozen=True)
class History:
    in_force: PolicyPatch
    proposed: PolicyPatch
    steps: Sequence[Failure | Reset | Wait]


#: Under these few failures make a trip, and short times make a difference. Each is a whole policy,
#: so that the one in force does not shine through where the proposed one is silent.
policies = st.builds(
    PolicyPatch,
    failure_threshold=st.integers(1, 5),
    window_ms=st.sampled_from([1_000, 2_000, 10_000, HOUR_MS]),
    cooldown_ms=st.sampled_from([1, 1_000, 5_000]),
    cooldown_factor=st.sampled_from([1.0, 2.0]),
    cooldown_max_ms=st.sampled_from([6_000, 20_000]),
    weights=st.fixed_dictionaries({kind: st.integers(0, 3) for kind in (Kind.DNS, Kind.TLS)}),
    min_reporters=st.sampled_from([1, 1, 2]),
)
instances = st.sampled_from([0, 0, 0, 0, 1, 2])
failures = st.builds(
    Failure,
    instances,
    st.sampled_from([Kind.DNS, Kind.TLS, Kind.TIMEOUT]),
    st.sampled_from([None, "gw-1", "gw-2"]),
)
waits = st.builds(Wait, st.sampled_from([1, 400, 999, 1_000, 1_001, 4_999, 5_000]))
# Drawn by a choice of its own: what is there several times is drawn several times more often.
steps = st.sampled_from([failures] * 8 + [waits] * 3 + [st.builds(Reset, instances)]).flatmap(
    lambda chosen: chosen
)
histories = st.builds(History, policies, policies, st.lists(steps, min_size=8, max_size=60))


async def live_through(fleet: Fleet, policy: PolicyPatch, history: History) -> PreviewSide:
    """Have the scripts do it all by `policy`; return what tripped."""
    await fleet.recorder.set_policy(policy)
    trips: dict[str, int] = {}
    at = await fleet.recorder.begin(ago_ms=HOUR_MS - 2 * MINUTE_MS)
    for step in history.steps:
        match step:
            case Failure(number, kind, gateway):
                verdict = await fleet.recorder.fail(IDS[number], at, kind, gateway=gateway)
                if verdict.tripped:
                    trips[IDS[number]] = trips.get(IDS[number], 0) + 1
            case Reset(number):
                await fleet.recorder.reset(IDS[number], at)
            case Wait(ms):
                at += ms
    return PreviewSide(instances=len(trips), trips=sum(trips.values()))


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def shared_link(redis_server: RedisServer, runner: asyncio.Runner) -> Iterator[RedisLink]:
    link = RedisLink(redis_server.url, timeout_ms=20_000)
    yield link
    runner.run(link.close())


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories)
def test_both_sides_are_what_the_scripts_do(
    runner: asyncio.Runner, shared_link: RedisLink, redis_server: RedisServer, history: History
) -> None:
    async def compare() -> None:
        with redis_server.client() as client:
            client.flushdb()
        real, other = Fleet(shared_link), Fleet(shared_link, prefix="sekring:other")
        happened = await live_through(real, history.in_force, history)
        would_have = await live_through(other, history.proposed, history)

        previewed = await real.preview.fleet(history.proposed)

        assert previewed.in_force == happened
        assert previewed.proposed == would_have

    runner.run(compare())


# -------------------------------------------------------------------------------- by example


@pytest.fixture
def fleet(link: RedisLink) -> Fleet:
    return Fleet(link)


async def fail(fleet: Fleet, instance_id: str, times: int, *, kind: Kind = Kind.DNS) -> None:
    at = await fleet.recorder.begin(ago_ms=10 * MINUTE_MS)
    for number in range(times):
        await fleet.recorder.fail(instance_id, at + number, kind)


def trips(answer: PreviewAnswer) -> tuple[int, int]:
    return answer.in_force.instances, answer.proposed.instances


async def test_it_names_who_is_gained_and_who_is_lost(fleet: Fleet) -> None:
    for number in range(12):
        await fail(fleet, f"many-{number:02}", 15)
    await fail(fleet, "tls-only", 14, kind=Kind.TLS)

    answer = await fleet.preview.fleet(PolicyPatch(weights={"dns": 0, "tls": 2}))

    assert (answer.failures, answer.instances) == (12 * 15 + 14, 13)
    assert trips(answer) == (12, 1)
    assert (answer.gained.count, answer.gained.instances) == (1, ["tls-only"])
    assert answer.lost.count == 12
    assert answer.lost.instances == [f"many-{number:02}" for number in range(10)]


async def test_instances_keep_their_own_policy_on_top(fleet: Fleet) -> None:
    await fleet.policies.change_instance("own", PolicyPatch(failure_threshold=20), Origin())
    for name in ("own", "other"):
        await fail(fleet, name, 15)

    assert trips(await fleet.preview.fleet(PolicyPatch(failure_threshold=10))) == (1, 1)
    assert trips(await fleet.preview.fleet(PolicyPatch(failure_threshold=16))) == (1, 0)


async def test_of_one_instance_only_that_is_played_through(fleet: Fleet) -> None:
    for name in ("one", "other"):
        await fail(fleet, name, 15)

    answer = await fleet.preview.instance("one", PolicyPatch(failure_threshold=16))

    assert (answer.failures, answer.instances) == (15, 1)
    assert trips(answer) == (1, 0)
    assert answer.lost.instances == ["one"]
    assert trips(await fleet.preview.instance("never seen", PolicyPatch())) == (0, 0)


async def test_nothing_is_changed_by_it(fleet: Fleet, redis_server: RedisServer) -> None:
    await fail(fleet, "one", 15)
    with redis_server.client() as client:
        before = {key: client.dump(key) for key in client.scan_iter()}
        await fleet.preview.fleet(PolicyPatch(failure_threshold=1))
        await fleet.preview.instance("one", PolicyPatch(failure_threshold=1))
        assert {key: client.dump(key) for key in client.scan_iter()} == before


async def test_a_policy_that_would_be_refused_is(fleet: Fleet) -> None:
    with pytest.raises(InvalidInput, match="cooldown_max_ms is 1000, below cooldown_ms"):
        await fleet.preview.fleet(PolicyPatch(cooldown_max_ms=1_000))
    with pytest.raises(InvalidInput, match="no failure of that kind is ever counted"):
        await fleet.preview.instance("one", PolicyPatch(weights={"banned": 1}))


async def test_it_says_what_the_record_cannot_tell(fleet: Fleet) -> None:
    patch = PolicyPatch(probes=2, failure_threshold=10)
    assert (await fleet.preview.fleet(patch)).not_considered == ["probes"]

    await fleet.policies.change_fleet(PolicyPatch(success_clears=True), Origin())
    assert (await fleet.preview.fleet(patch)).not_considered == ["probes", "success_clears"]


async def test_a_failure_that_follows_a_trip_which_is_not_on_record_counts_for_nobody(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    await fail(fleet, "one", 15 + 3)
    key = fleet.recorder.records._keyspace.records(0)
    with redis_server.client() as client:
        client.ltrim(key, 15, -1)

    answer = await fleet.preview.fleet(PolicyPatch(failure_threshold=1))

    assert (answer.failures, trips(answer)) == (0, (0, 0))


# ------------------------------------------------------------------------ is the record whole?


async def record_since(fleet: Fleet, redis_server: RedisServer, since_ms: int) -> None:
    """Say that recording began at that time: a replica does when it starts for the first time."""
    with redis_server.client() as client:
        client.hset(fleet.recorder.records._keyspace.keyspace(), "recording_since_ms", since_ms)


async def test_an_old_record_that_lost_nothing_is_whole(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    now = await fleet.recorder.begin(ago_ms=0)
    await record_since(fleet, redis_server, now - 2 * HOUR_MS)
    await fail(fleet, "one", 20)

    answer = await fleet.preview.fleet(PolicyPatch())

    assert (answer.complete, answer.missing) == (True, None)
    assert now - HOUR_MS <= answer.since_ms <= answer.now_ms - HOUR_MS


async def test_a_record_younger_than_an_hour_says_so(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    began = await fleet.recorder.begin(ago_ms=20 * MINUTE_MS)
    await record_since(fleet, redis_server, began)

    answer = await fleet.preview.fleet(PolicyPatch())

    assert (answer.complete, answer.missing, answer.since_ms) == (False, "young", began)


async def test_a_record_that_was_cut_says_from_when_on_it_is_whole(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    now = await fleet.recorder.begin(ago_ms=0)
    await record_since(fleet, redis_server, now - 2 * HOUR_MS)
    for ago in (30, 20, 20, 10):
        await fleet.recorder.fail(f"ago-{ago}", now - ago * MINUTE_MS)
    key = fleet.recorder.records._keyspace.records(0)
    with redis_server.client() as client:
        client.lpop(key, 2)

    answer = await fleet.preview.fleet(PolicyPatch())

    assert answer.failures == 2
    assert (answer.complete, answer.missing) == (False, "capped")
    assert answer.since_ms == (now // MINUTE_MS - 20 + 1) * MINUTE_MS
