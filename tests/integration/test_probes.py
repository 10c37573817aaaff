"""Half-open: never more attempts in flight than the policy allows, and no slot is ever lost."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import pytest
from msgspec import structs

from sekring.model import Admission, Snapshot, State
from sekring.policy import PolicyPatch
from sekring.store.contract import (
    OverrideRequest,
    PermitRequest,
    ReportRequest,
    SnapshotRequest,
    TripRequest,
)
from sekring.store.keys import Keyspace
from sekring.store.reads import StoredPolicy
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.taxonomy import Effect
from tests.servers import RedisServer

ID: Final = "6281234567890"
START: Final = 1_700_000_000_000
PROBES: Final = 5
TTL: Final = 30_000
STABLE: Final = 10_000
PROBING: Final = PolicyPatch(probes=PROBES, probe_ttl_ms=TTL, stable_after_ms=STABLE)


async def half_open(scripts: Scripts, policy: PolicyPatch = PROBING) -> None:
    """Bring the instance to half-open at START."""
    stored = msgspec.json.encode(StoredPolicy(1, policy)).decode()
    await scripts.set_override(OverrideRequest(instance_id=ID, policy=stored, version=0))
    await scripts.trip(TripRequest(instance_id=ID, for_ms=1, now_ms=START - 1))
    assert (await look(scripts, START)).state is State.HALF_OPEN


async def permit(scripts: Scripts, now_ms: int) -> Admission:
    return await scripts.permit(PermitRequest(instance_id=ID, now_ms=now_ms))


async def look(scripts: Scripts, now_ms: int) -> Snapshot:
    request = SnapshotRequest(instance_id=ID, now_ms=now_ms)
    return (await scripts.snapshot(request)).snapshot


async def report(
    scripts: Scripts, outcome: str, attempt_id: str | None, now_ms: int, *, age_ms: int = 0
) -> None:
    request = ReportRequest(
        instance_id=ID,
        id=f"{outcome}-{attempt_id}-{now_ms}",
        outcome=outcome,
        attempt_id=attempt_id,
        age_ms=age_ms,
        now_ms=now_ms,
    )
    if outcome == "failure":
        request = structs.replace(request, effect=Effect.COUNT, kind="timeout")
    await scripts.report(request)


@asynccontextmanager
async def replica(url: str) -> AsyncIterator[Scripts]:
    """Scripts over connections of their own."""
    link = RedisLink(url, timeout_ms=5_000)
    yield Scripts(link, Keyspace())
    await link.close()


async def ask_often(url: str, times: int) -> list[str]:
    """Ask for permits, all at once; return the ids of those permitted."""
    async with replica(url) as scripts:
        answers = await asyncio.gather(*(permit(scripts, START) for _ in range(times)))
    return [answer.attempt_id for answer in answers if answer.attempt_id]


def ask_from_a_process(url: str) -> list[str]:
    return asyncio.run(ask_often(url, 50))


async def test_200_permits_at_once_over_several_connections_take_k_slots(
    scripts: Scripts, redis_server: RedisServer
) -> None:
    await half_open(scripts)

    taken = await asyncio.gather(*(ask_often(redis_server.url, 50) for _ in range(4)))

    assert len({attempt for attempts in taken for attempt in attempts}) == PROBES
    assert (await look(scripts, START)).probes_in_flight == PROBES


async def test_200_permits_at_once_from_several_processes_take_k_slots(
    scripts: Scripts, redis_server: RedisServer
) -> None:
    await half_open(scripts)

    with multiprocessing.get_context("spawn").Pool(4) as pool:
        taken = await asyncio.to_thread(pool.map, ask_from_a_process, [redis_server.url] * 4)

    assert len({attempt for attempts in taken for attempt in attempts}) == PROBES
    assert (await look(scripts, START)).probes_in_flight == PROBES


async def test_asking_again_with_the_same_token_takes_no_second_slot(scripts: Scripts) -> None:
    await half_open(scripts)
    request = PermitRequest(instance_id=ID, now_ms=START)

    answers = [await scripts.permit(request) for _ in range(3)]

    assert {answer.attempt_id for answer in answers} == {answers[0].attempt_id}
    assert (await look(scripts, START)).probes_in_flight == 1


async def test_a_prober_that_dies_frees_its_slot_at_the_deadline(scripts: Scripts) -> None:
    await half_open(scripts, structs.replace(PROBING, probes=1))
    assert (await permit(scripts, START)).permitted

    refused = await permit(scripts, START + TTL - 1)
    assert (refused.permitted, refused.cause, refused.retry_after_ms) == (False, "probing", 1)
    assert (await look(scripts, START + TTL)).probes_in_flight == 0
    assert (await permit(scripts, START + TTL)).permitted


async def test_a_refused_permit_never_extends_a_slot(scripts: Scripts) -> None:
    await half_open(scripts, structs.replace(PROBING, probes=1))
    await permit(scripts, START)

    for now in range(START, START + TTL, 1_000):
        refused = await permit(scripts, now)
        assert refused.retry_after_ms == START + TTL - now
    assert (await permit(scripts, START + TTL)).permitted


@pytest.mark.parametrize("outcome", ["disconnected", "failure of no account"])
async def test_an_attempt_that_ends_gives_its_slot_back_at_once(
    scripts: Scripts, outcome: str
) -> None:
    await half_open(scripts, structs.replace(PROBING, probes=1))
    attempt = (await permit(scripts, START)).attempt_id
    if outcome == "disconnected":
        await report(scripts, outcome, attempt, START)
    else:
        await scripts.report(
            ReportRequest(
                instance_id=ID,
                id="pairing",
                outcome="failure",
                kind="pairing",
                effect=Effect.IGNORE,
                attempt_id=attempt,
                now_ms=START,
            )
        )
    assert (await permit(scripts, START)).permitted


async def test_n_successes_close_once_each_has_been_stable(scripts: Scripts) -> None:
    await half_open(scripts)
    attempts = [(await permit(scripts, START)).attempt_id for _ in range(PROBES)]

    # They connect one second after the other, and are credited so.
    for place, attempt in enumerate(attempts):
        await report(scripts, "success", attempt, START + place * 1_000)

    for place in range(PROBES):
        credited = START + place * 1_000 + STABLE
        before = await look(scripts, credited - 1)
        assert (before.state, before.probe_successes) == (State.HALF_OPEN, place)
        assert before.probes_in_flight == PROBES - place
    closed = await look(scripts, START + (PROBES - 1) * 1_000 + STABLE)
    assert (closed.state, closed.probes_in_flight) == (State.CLOSED, 0)


async def test_a_success_holds_its_slot_until_it_is_credited(scripts: Scripts) -> None:
    await half_open(scripts, structs.replace(PROBING, probes=2))
    first = (await permit(scripts, START)).attempt_id
    await permit(scripts, START)
    await report(scripts, "success", first, START)

    assert not (await permit(scripts, START + STABLE - 1)).permitted
    # Credited, it makes room; the other one's slot is still held.
    assert (await permit(scripts, START + STABLE)).permitted
    assert not (await permit(scripts, START + STABLE)).permitted


async def test_a_success_reported_late_counts_from_when_it_happened(scripts: Scripts) -> None:
    await half_open(scripts, structs.replace(PROBING, probes=1))
    await scripts.permit(PermitRequest(instance_id=ID, token="probe", now_ms=START))
    attempt = f"{(await look(scripts, START)).epoch:x}-probe"

    await report(scripts, "success", attempt, START + 5_000, age_ms=4_000)

    assert (await look(scripts, START + 1_000 + STABLE - 1)).state is State.HALF_OPEN
    assert (await look(scripts, START + 1_000 + STABLE)).state is State.CLOSED


async def test_a_success_that_is_reported_twice_is_credited_once(scripts: Scripts) -> None:
    await half_open(scripts, structs.replace(PROBING, probes=2))
    attempt = (await permit(scripts, START)).attempt_id
    for now in (START, START + 1_000):
        await report(scripts, "success", attempt, now)

    snapshot = await look(scripts, START + STABLE)
    assert (snapshot.state, snapshot.probe_successes) == (State.HALF_OPEN, 1)


async def test_one_failure_reopens_and_drops_every_slot(scripts: Scripts) -> None:
    await half_open(scripts)
    attempts = [(await permit(scripts, START)).attempt_id for _ in range(PROBES)]
    await report(scripts, "success", attempts[0], START)

    await report(scripts, "failure", attempts[1], START + 1_000)

    reopened = await look(scripts, START + 1_000)
    assert (reopened.state, reopened.cause) == (State.OPEN, "probe_failed")
    again = await look(scripts, START + 1_000 + 600_000)
    assert again.state is State.HALF_OPEN
    assert (again.probes_in_flight, again.probe_successes) == (0, 0)
