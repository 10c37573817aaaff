"""Redis is away: decisions go on under the same policy, and Redis learns of them afterwards, once.

The replica runs in this process, on a server of its own that keeps what it holds.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from sekring.errors import StoreUnavailable
from sekring.http.runtime import Runtime
from sekring.model import Origin, Snapshot, State
from sekring.policy import PolicyPatch
from sekring.wire import OutcomeBody
from tests.replica import FAILURE, WHO, refuses, replica_on, sees, trip, until
from tests.servers import RedisServer

ID = "6281234567890"
DEADLINE_MS = 500


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
async def replica(server: RedisServer) -> AsyncIterator[Runtime]:
    async with replica_on(server, redis_timeout_ms=DEADLINE_MS) as runtime:
        yield runtime


@contextlib.asynccontextmanager
async def without(server: RedisServer, *replicas: Runtime) -> AsyncIterator[None]:
    """Take Redis away; afterwards wait until the replicas have told it everything."""
    server.kill()
    for runtime in replicas:
        await until(lambda runtime=runtime: sees(runtime, ID) is None)  # type: ignore[misc]
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)
    for runtime in replicas:
        await until(lambda runtime=runtime: runtime.replay.waiting == 0)  # type: ignore[misc]
        await until(lambda runtime=runtime: runtime.degraded.partitions == 0)  # type: ignore[misc]


async def snapshot_of(runtime: Runtime, instance_id: str = ID) -> Snapshot:
    return (await runtime.breaker.status(instance_id)).snapshot


# ------------------------------------------------------------------------------------- decisions


async def test_decisions_keep_coming_and_say_what_they_are(
    replica: Runtime, server: RedisServer
) -> None:
    async with without(server, replica):
        admission = await replica.breaker.permit(ID, WHO)
        verdict = await replica.breaker.report(ID, FAILURE, WHO)
        status = await snapshot_of(replica)

        assert (admission.permitted, admission.degraded) == (True, True)
        assert (verdict.why, verdict.failures, verdict.degraded) == ("counted", 1, True)
        assert (status.failures, status.known, status.degraded) == (1, True, True)
    assert not (await replica.breaker.permit(ID, WHO)).degraded


async def test_what_was_open_stays_refused(replica: Runtime, server: RedisServer) -> None:
    await trip(replica, ID)
    await replica.breaker.trip("isolated", None, Origin(actor="ops", reason="a new SIM"))
    ban = OutcomeBody(outcome="failure", kind="temporary_ban", ban_expires_in_ms=3_600_000)  # type: ignore[arg-type]
    await replica.breaker.report("banned", ban, WHO)
    await until(lambda: refuses(replica, "banned"))

    async with without(server, replica):
        tripped = await replica.breaker.permit(ID, WHO)
        isolated = await replica.breaker.permit("isolated", WHO)
        banned = await replica.breaker.permit("banned", WHO)

    assert not tripped.permitted
    assert tripped.degraded
    assert tripped.retry_after_ms
    assert 590_000 < tripped.retry_after_ms <= 600_000
    assert (isolated.permitted, isolated.reason) == (False, "a new SIM")
    assert (banned.permitted, banned.cause) == (False, "temporary_ban")


async def test_the_threshold_opens_and_the_fleet_takes_it_over(
    replica: Runtime, server: RedisServer
) -> None:
    async with without(server, replica):
        verdicts = [await replica.breaker.report(ID, FAILURE, WHO) for _ in range(16)]
        refused = await replica.breaker.permit(ID, WHO)

        assert [verdict.tripped for verdict in verdicts] == [False] * 14 + [True, False]
        assert verdicts[-1].why == "open"
        assert (refused.permitted, refused.cause) == (False, "failures")

    snapshot = await snapshot_of(replica)
    assert (snapshot.state, snapshot.cause, snapshot.degraded) == (State.OPEN, "failures", False)
    history = await replica.breaker.history(ID, 10)
    assert [entry.action for entry in history] == ["trip"]


async def test_failures_before_and_during_add_up(replica: Runtime, server: RedisServer) -> None:
    for _ in range(10):
        await replica.breaker.report(ID, FAILURE, WHO)

    async with without(server, replica):
        verdicts = [await replica.breaker.report(ID, FAILURE, WHO) for _ in range(5)]

        assert [verdict.failures for verdict in verdicts] == [11, 12, 13, 14, 15]
        assert verdicts[-1].tripped

    assert (await snapshot_of(replica)).state is State.OPEN


async def test_the_policy_in_force_is_the_one_that_was_set(
    replica: Runtime, server: RedisServer
) -> None:
    await replica.policies.change_fleet(PolicyPatch(failure_threshold=4), WHO)
    await replica.policies.change_instance(ID, PolicyPatch(failure_threshold=2), WHO)
    await until(lambda: replica.replica.known(ID).policy.failure_threshold == 2)
    await until(lambda: replica.replica.known("other").policy.failure_threshold == 4)

    async with without(server, replica):
        own = [await replica.breaker.report(ID, FAILURE, WHO) for _ in range(2)]
        fleets = [await replica.breaker.report("other", FAILURE, WHO) for _ in range(4)]

    assert [verdict.tripped for verdict in own] == [False, True]
    assert [verdict.tripped for verdict in fleets] == [False, False, False, True]


async def test_a_cooldown_ends_without_redis_too(replica: Runtime, server: RedisServer) -> None:
    await replica.policies.change_fleet(PolicyPatch(failure_threshold=1, cooldown_ms=400), WHO)
    await until(lambda: replica.replica.known(ID).policy.cooldown_ms == 400)

    async with without(server, replica):
        assert (await replica.breaker.report(ID, FAILURE, WHO)).tripped
        refused = await replica.breaker.permit(ID, WHO)
        await asyncio.sleep(0.5)
        permitted = await replica.breaker.permit(ID, WHO)

    assert not refused.permitted
    assert permitted.permitted


async def test_a_refused_build_is_refused_without_redis_and_then_by_all(
    replica: Runtime, server: RedisServer
) -> None:
    outdated = OutcomeBody(outcome="failure", protocol="whatsmeow", code=405, build="0.1")
    async with without(server, replica):
        await replica.breaker.report("any", outdated, WHO)
        refused = await replica.breaker.permit(ID, WHO, "0.1")

        assert (refused.permitted, refused.cause) == (False, "client_outdated")

    again = await replica.breaker.permit(ID, WHO, "0.1", strong=True)
    assert (again.permitted, again.cause) == (False, "client_outdated")


async def test_a_replica_decides_by_itself_until_redis_has_learnt_it_all(
    replica: Runtime, server: RedisServer
) -> None:
    available = replica.replay._available
    replica.replay._available = lambda _: False
    async with without(server):
        for _ in range(15):
            await replica.breaker.report(ID, FAILURE, WHO)
    await until(lambda: available(replica.keyspace.partition_of(ID)))

    behind = await replica.breaker.permit(ID, WHO)
    replica.replay._available = available
    await until(lambda: replica.replay.waiting == 0)
    level = await replica.breaker.permit(ID, WHO, strong=True)

    assert (behind.permitted, behind.degraded) == (False, True)
    assert (level.permitted, level.degraded) == (False, False)


async def test_an_operators_change_is_not_promised(replica: Runtime, server: RedisServer) -> None:
    async with without(server, replica):
        with pytest.raises(StoreUnavailable):
            await replica.breaker.reset(ID, WHO)
        with pytest.raises(StoreUnavailable):
            await replica.breaker.trip(ID, None, WHO)


# ---------------------------------------------------------------------------------------- replay


async def test_every_report_is_counted_afterwards_once_at_its_own_time(
    replica: Runtime, server: RedisServer
) -> None:
    await replica.policies.change_fleet(PolicyPatch(failure_threshold=1_000), WHO)
    ids = [f"r-{number}" for number in range(100)]
    for report_id in ids[:20]:
        await replica.breaker.report(ID, OutcomeBody(outcome="failure", id=report_id), WHO)

    async with without(server, replica):
        for report_id in ids[10:90]:  # ten of them once more
            await replica.breaker.report(ID, OutcomeBody(outcome="failure", id=report_id), WHO)
        await asyncio.sleep(1)
    for report_id in ids[80:]:
        await replica.breaker.report(ID, OutcomeBody(outcome="failure", id=report_id), WHO)

    snapshot = await snapshot_of(replica)
    assert snapshot.failures == 100
    times = [failure.at_ms for failure in snapshot.recent_failures]
    assert times == sorted(times)
    gap = max(later - earlier for earlier, later in pairwise(times))
    assert gap >= 900, "what was reported before the return was counted as of then"


async def test_attempts_are_registered_afterwards(replica: Runtime, server: RedisServer) -> None:
    async with without(server, replica):
        first = await replica.breaker.permit(ID, WHO)
        second = await replica.breaker.permit(ID, WHO)
        await replica.breaker.permit("ended", WHO)
        await replica.breaker.report("ended", FAILURE, WHO)

    assert (first.backoff_ms, second.backoff_ms > 0) == (0, True)
    snapshot = await snapshot_of(replica)
    assert (snapshot.connection, snapshot.retry_attempts) == ("connecting", 1)
    assert (await snapshot_of(replica, "ended")).connection == ""


async def test_an_attempt_that_the_view_has_just_permitted_is_known_without_redis(
    replica: Runtime, server: RedisServer
) -> None:
    server.kill()
    first = await replica.breaker.permit(ID, WHO)
    second = await replica.breaker.permit(ID, WHO)
    await asyncio.to_thread(server.start)
    await until(lambda: replica.replay.waiting == 0)

    assert (first.degraded, first.backoff_ms) == (False, 0)
    assert second.degraded
    assert second.backoff_ms > 0
    assert (await snapshot_of(replica)).retry_attempts == 1


async def test_an_outcome_of_an_attempt_permitted_without_redis_counts(
    replica: Runtime, server: RedisServer
) -> None:
    await replica.breaker.trip("noise", None, WHO)  # epochs are times from now on
    async with without(server, replica):
        admission = await replica.breaker.permit(ID, WHO)

    outcome = OutcomeBody(outcome="failure", attempt_id=admission.attempt_id)
    assert (await replica.breaker.report(ID, outcome, WHO)).why == "counted"


async def test_the_queue_is_bounded_and_says_what_it_drops(server: RedisServer) -> None:
    async with replica_on(server, redis_timeout_ms=DEADLINE_MS, replay_max=10) as replica:
        async with without(server, replica):
            for number in range(25):
                body = OutcomeBody(outcome="failure", id=f"r-{number}")
                await replica.breaker.report(f"i-{number}", body, WHO)
            assert replica.replay.waiting == 10
        assert replica.replay.dropped == 15
        known = [(await snapshot_of(replica, f"i-{n}")).known for n in range(25)]
        assert known == [False] * 15 + [True] * 10, "the oldest go first"


# ---------------------------------------------------------------------------------- after a split


async def test_an_operators_reset_meanwhile_wins(server: RedisServer) -> None:
    """The replica was alone and tripped; another one, which was not, has reset the instance."""
    async with replica_on(server) as other, replica_on(server) as alone:
        await other.breaker.report(ID, FAILURE, WHO)
        await until(lambda: alone.replica.known(ID).facts is not None)
        with cut_off(alone):
            verdicts = [await alone.breaker.report(ID, FAILURE, WHO) for _ in range(15)]
            assert (verdicts[-1].tripped, verdicts[-1].degraded) == (True, True)
            await asyncio.sleep(0.05)  # the reset is later than every failure
            await other.breaker.reset(ID, WHO)
        await until(lambda: alone.replay.waiting == 0)

        snapshot = await snapshot_of(other)
        assert (snapshot.state, snapshot.failures) == (State.CLOSED, 0)
        assert [entry.action for entry in await other.breaker.history(ID, 10)] == ["reset"]
        assert (await alone.breaker.permit(ID, WHO, strong=True)).permitted


async def test_a_trip_of_a_replica_that_was_alone_becomes_the_fleets(server: RedisServer) -> None:
    """Redis has lost the failures that it had counted, so that the replay alone does not trip."""
    async with replica_on(server) as other, replica_on(server) as alone:
        for _ in range(10):
            await alone.breaker.report(ID, FAILURE, WHO)
        with cut_off(alone):
            verdicts = [await alone.breaker.report(ID, FAILURE, WHO) for _ in range(5)]
            assert verdicts[-1].tripped
            number = other.keyspace.partition_of(ID)
            with server.client() as client:
                client.delete(*other.keyspace.whole(ID), other.keyspace.view(number))
        await until(lambda: alone.replay.waiting == 0)

        snapshot = await snapshot_of(other)
        assert (snapshot.state, snapshot.cause) == (State.OPEN, "failures")
        assert snapshot.remaining_ms
        assert snapshot.remaining_ms <= 600_000


@contextlib.contextmanager
def cut_off(runtime: Runtime) -> Iterator[None]:
    """Let this replica alone find Redis unavailable (a proxy does it in test_split.py)."""
    available = runtime._link.available
    runtime._link.available = lambda _: False  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        runtime._link.available = available  # type: ignore[method-assign]
