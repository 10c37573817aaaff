"""What of the failures is recorded, and for how long."""

from typing import Final

import pytest

from sekring.policy import PolicyPatch
from sekring.store.contract import DisableRequest, TripRequest
from sekring.store.keys import Keyspace
from sekring.store.records import HOUR_MS, MINUTE_MS, Record
from sekring.store.redis import RedisLink
from sekring.taxonomy import Kind
from tests.recorder import Recorder
from tests.servers import RedisServer

ID: Final = "6281234567890"

#: What `lua/shared/records.lua` keeps at most, and how far beyond it goes before it cuts.
KEPT: Final = 4_000
STEP: Final = 128


@pytest.fixture
def keyspace() -> Keyspace:
    return Keyspace(partitions=1)


@pytest.fixture
def recorder(link: RedisLink, keyspace: Keyspace) -> Recorder:
    return Recorder(link, keyspace)


async def test_a_counted_failure_is_recorded_with_all_that_a_policy_may_ask_for(
    recorder: Recorder,
) -> None:
    at = await recorder.begin(ago_ms=MINUTE_MS)
    await recorder.fail(ID, at, Kind.TLS, gateway="gateway-2")
    await recorder.fail(ID, at + 1, Kind.DNS)

    assert await recorder.recorded() == [
        Record(at, ID, "tls", "gateway-2"),
        Record(at + 1, ID, "dns", ""),
    ]
    assert await recorder.counted() == {at // MINUTE_MS: 2}


async def test_a_repeated_report_is_recorded_once(recorder: Recorder) -> None:
    at = await recorder.begin(ago_ms=MINUTE_MS)
    for _ in range(3):
        await recorder.fail(ID, at, id="the same")

    assert len(await recorder.recorded()) == 1
    assert await recorder.counted() == {at // MINUTE_MS: 1}


async def test_a_late_report_is_not_recorded(recorder: Recorder) -> None:
    at = await recorder.begin(ago_ms=MINUTE_MS)
    verdict = await recorder.fail(ID, at)
    await recorder.reset(ID, at + 1)
    recorded = await recorder.recorded()

    late = await recorder.fail(ID, at + 2, epoch=verdict.epoch)

    assert late.why == "late"
    assert await recorder.recorded() == recorded


async def test_what_comes_while_open_is_recorded_as_such_and_not_counted(
    recorder: Recorder,
) -> None:
    await recorder.set_policy(PolicyPatch(failure_threshold=2))
    at = await recorder.begin(ago_ms=MINUTE_MS)
    for number in range(4):
        await recorder.fail(ID, at, id=f"r{number}")

    assert [(record.why, record.report_id) for record in await recorder.recorded()] == [
        ("", ""), ("", ""), ("open", "r2"), ("open", "r3"),
    ]  # fmt: skip
    assert await recorder.counted() == {at // MINUTE_MS: 2}


async def test_a_storm_while_open_leaves_room_for_the_others(recorder: Recorder) -> None:
    await recorder.set_policy(PolicyPatch(failure_threshold=1, cooldown_ms=1_000))
    at = await recorder.begin(ago_ms=MINUTE_MS)
    for _ in range(2):  # two openings
        for _ in range(1 + 100):
            await recorder.fail(ID, at)
        at += 1_000

    whys = [record.why for record in await recorder.recorded()]
    assert whys == ["", *["open"] * 64] * 2


@pytest.mark.parametrize("kind", [Kind.TEMPORARY_BAN, Kind.LOGGED_OUT, Kind.CONFLICT])
async def test_what_holds_it_open_by_any_policy_clears_the_record(
    recorder: Recorder, kind: Kind
) -> None:
    at = await recorder.begin(ago_ms=MINUTE_MS)
    await recorder.fail(ID, at)
    await recorder.fail(ID, at + 1, kind)
    await recorder.fail(ID, at + 2)  # while it is held

    assert [record.why for record in await recorder.recorded()] == ["", "cleared"]


async def test_what_comes_while_an_operator_holds_it_is_recorded_only_where_it_counts(
    recorder: Recorder,
) -> None:
    at = await recorder.begin(ago_ms=MINUTE_MS)
    await recorder.scripts.trip(TripRequest(instance_id=ID, now_ms=at))
    assert (await recorder.fail(ID, at)).why == "open"
    await recorder.scripts.disable(DisableRequest(instance_id=ID, now_ms=at))
    assert (await recorder.fail(ID, at)).why == "counted"

    assert [record.why for record in await recorder.recorded()] == ["disabled"]
    assert await recorder.counted() == {at // MINUTE_MS: 1}


async def test_what_another_policy_would_count_is_recorded(recorder: Recorder) -> None:
    await recorder.set_policy(PolicyPatch(weights={"tls": 0}, window_ms=1_000))
    at = await recorder.begin(ago_ms=MINUTE_MS)
    assert (await recorder.fail(ID, at, Kind.TLS)).why == "ignored"
    assert (await recorder.fail(ID, at, Kind.DNS, age_ms=1_000)).why == "stale"

    assert [(record.at_ms, record.why) for record in await recorder.recorded()] == [
        (at, "ignored"), (at - 1_000, "stale"),
    ]  # fmt: skip
    assert await recorder.counted() == {}


async def test_what_is_reported_late_is_in_the_minute_in_which_it_happened(
    recorder: Recorder,
) -> None:
    await recorder.set_policy(PolicyPatch(window_ms=2 * HOUR_MS))
    now = await recorder.begin(ago_ms=0)
    for age_ms in (0, 10 * MINUTE_MS, HOUR_MS - 1):
        assert (await recorder.fail(ID, now, age_ms=age_ms)).why == "counted"
    # More than an hour is nobody's business any more, though it counts.
    assert (await recorder.fail(ID, now, age_ms=HOUR_MS)).why == "counted"

    ages = [0, 10 * MINUTE_MS, HOUR_MS - 1]
    assert [record.at_ms for record in await recorder.recorded()] == [now - age for age in ages]
    assert await recorder.counted() == {(now - age) // MINUTE_MS: 1 for age in ages}


async def test_minutes_are_dropped_after_an_hour(recorder: Recorder) -> None:
    now = await recorder.begin(ago_ms=0)
    for ago in (70, 61, 60, 59, 0):
        await recorder.fail(f"{ID}-{ago}", now - ago * MINUTE_MS)

    assert await recorder.counted() == {now // MINUTE_MS - ago: 1 for ago in (60, 59, 0)}


async def test_a_partition_keeps_the_newest_records(
    recorder: Recorder, redis_server: RedisServer, keyspace: Keyspace
) -> None:
    at = await recorder.begin(ago_ms=MINUTE_MS)
    with redis_server.client() as client:
        client.rpush(keyspace.records(0), *(f"{at} {ID} dns " for _ in range(KEPT + STEP - 2)))
    await recorder.fail("last-but-one", at)
    assert len(await recorder.recorded()) == KEPT + STEP - 1
    await recorder.fail("last", at)

    recorded = await recorder.recorded()
    assert len(recorded) == KEPT
    assert [record.instance_id for record in recorded[-2:]] == ["last-but-one", "last"]
    with redis_server.client() as client:
        assert client.memory_usage(keyspace.records(0)) < 60 * KEPT


async def test_resets_of_instances_that_have_not_failed_are_not_recorded(
    recorder: Recorder,
) -> None:
    """A reset of a whole fleet would drive all failures out of the record."""
    at = await recorder.begin(ago_ms=MINUTE_MS)
    await recorder.fail(ID, at)
    await recorder.scripts.trip(TripRequest(instance_id="tripped", now_ms=at))
    for name in (ID, "tripped", "never seen"):
        await recorder.reset(name, at)

    assert [(record.instance_id, record.why) for record in await recorder.recorded()] == [
        (ID, ""), (ID, "cleared"),
    ]  # fmt: skip
