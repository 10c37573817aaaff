"""A replica's own view: answers without Redis, no later than its staleness bound, and never wrong.

Two replicas in this process share one server; each has the wiring that a server process has.
"""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from sekring.http.runtime import Runtime
from sekring.model import Origin, State
from sekring.policy import PolicyPatch
from sekring.store.contract import Facts, PermitRequest, ViewRequest
from sekring.wire import OutcomeBody
from tests.replica import FAILURE, WHO, permits, refuses, replica_on, sees, trip, until
from tests.servers import RedisServer

ID = "6281234567890"
PARTITIONS = 4


@pytest.fixture
async def here(redis_server: RedisServer) -> AsyncIterator[Runtime]:
    async with replica_on(redis_server) as runtime:
        yield runtime


@pytest.fixture
async def there(redis_server: RedisServer) -> AsyncIterator[Runtime]:
    async with replica_on(redis_server) as runtime:
        yield runtime


@contextlib.contextmanager
def held(runtime: Runtime, *what: str) -> Iterator[None]:
    """Let what the push channel tells a replica get lost for a while."""
    for name in what:
        setattr(runtime.replica, name, lambda *_: None)
    try:
        yield
    finally:
        for name in what:
            delattr(runtime.replica, name)


# ------------------------------------------------------------------------------------- permits


async def test_what_was_never_seen_is_permitted_without_redis(
    here: Runtime, redis_server: RedisServer
) -> None:
    redis_server.signal(signal.SIGSTOP)
    try:
        admission = await here.breaker.permit(ID, WHO)
    finally:
        redis_server.signal(signal.SIGCONT)
    assert (admission.permitted, admission.state, admission.degraded) == (True, "closed", False)
    assert admission.backoff_ms == 0


async def test_an_attempt_permitted_by_the_view_is_registered(
    here: Runtime, there: Runtime
) -> None:
    admission = await here.breaker.permit(ID, WHO)
    assert admission.permitted

    await until(lambda: sees(there, ID) is None)  # it is not plainly closed any more

    snapshot = (await there.breaker.status(ID)).snapshot
    assert (snapshot.connection, snapshot.retry_attempts) == ("connecting", 0)
    again = await there.breaker.permit(ID, WHO)
    assert again.permitted
    assert again.backoff_ms > 0
    assert (await here.breaker.status(ID)).snapshot.retry_attempts == 1


async def test_an_open_breaker_refuses_on_every_replica_without_redis(
    here: Runtime, there: Runtime, redis_server: RedisServer
) -> None:
    await trip(here, ID)
    await until(lambda: refuses(there, ID))

    asked = await here.breaker.permit(ID, WHO, strong=True)
    redis_server.signal(signal.SIGSTOP)
    try:
        seen = await there.breaker.permit(ID, WHO)
    finally:
        redis_server.signal(signal.SIGCONT)
    assert asked.retry_after_ms
    assert seen.retry_after_ms
    assert abs(asked.retry_after_ms - seen.retry_after_ms) < 1_000
    assert msgspec.structs.replace(seen, retry_after_ms=asked.retry_after_ms) == asked
    assert (seen.cause, seen.failures, seen.state) == ("failures", 15, State.OPEN)


async def test_a_reset_permits_on_every_replica(here: Runtime, there: Runtime) -> None:
    await trip(here, ID)
    await until(lambda: refuses(there, ID))

    await here.breaker.reset(ID, WHO)

    await until(lambda: permits(there, ID))


async def test_an_isolation_is_refused_in_the_operators_words(
    here: Runtime, there: Runtime
) -> None:
    await here.breaker.trip(ID, None, Origin(actor="ops", reason="a new SIM"))
    await until(lambda: refuses(there, ID))

    admission = await there.breaker.permit(ID, WHO)

    assert (admission.cause, admission.reason) == ("operator", "a new SIM")
    assert (admission.state, admission.retry_after_ms) == (State.FORCED_OPEN, None)


async def test_an_instance_with_failures_is_asked_about(here: Runtime, there: Runtime) -> None:
    await here.breaker.report(ID, FAILURE, WHO)
    await until(lambda: sees(there, ID) is None)

    admission = await there.breaker.permit(ID, WHO)

    assert (admission.permitted, admission.failures) == (True, 1)
    assert admission.backoff_ms > 0


async def test_a_replica_sees_its_own_changes_at_once(here: Runtime) -> None:
    for number in range(50):
        name = f"own-{number}"
        await here.breaker.report(name, FAILURE, WHO)
        assert (await here.breaker.permit(name, WHO)).failures == 1
        await here.breaker.trip(name, None, WHO)
        assert not (await here.breaker.permit(name, WHO)).permitted
        await here.breaker.reset(name, WHO)
        assert (await here.breaker.permit(name, WHO)).backoff_ms == 0


async def test_a_replica_sees_its_own_changes_before_they_are_pushed(here: Runtime) -> None:
    with held(here, "message", "proven"):
        await here.breaker.report(ID, FAILURE, WHO)
        admission = await here.breaker.permit(ID, WHO)

    assert (admission.failures, admission.backoff_ms > 0) == (1, True)


async def test_the_view_does_not_refuse_beyond_the_cooldown(here: Runtime, there: Runtime) -> None:
    """Also if nobody has written the recovery down yet."""
    await here.policies.change_fleet(PolicyPatch(cooldown_ms=1_000, failure_threshold=1), WHO)
    await here.breaker.report(ID, FAILURE, WHO)
    await until(lambda: refuses(there, ID))
    with held(there, "message"):
        await until(lambda: not refuses(there, ID))
        assert (await there.breaker.permit(ID, WHO)).permitted


async def test_a_report_never_overtakes_its_attempt(here: Runtime) -> None:
    names = [f"order-{number}" for number in range(400)]
    for name in names:
        await here.breaker.permit(name, WHO)  # more than are registered at once
    for name in reversed(names):
        await here.breaker.report(name, FAILURE, WHO)

    snapshots = [(await here.breaker.status(name)).snapshot for name in names]
    assert {snapshot.connection for snapshot in snapshots} == {""}
    assert {snapshot.failures for snapshot in snapshots} == {1}


async def test_the_end_of_a_cooldown_is_not_missed(here: Runtime, there: Runtime) -> None:
    await here.policies.change_fleet(PolicyPatch(cooldown_ms=300, failure_threshold=1), WHO)
    await here.breaker.report(ID, FAILURE, WHO)
    await until(lambda: refuses(there, ID))

    await until(lambda: not refuses(there, ID))

    assert (await there.breaker.permit(ID, WHO, strong=True)).permitted


async def test_a_refused_build_is_asked_about(here: Runtime, there: Runtime) -> None:
    outdated = OutcomeBody(outcome="failure", protocol="whatsmeow", code=405, build="0.1")
    await here.breaker.report("another", outdated, WHO)

    async def refused() -> bool:
        return not (await there.breaker.permit(ID, WHO, "0.1")).permitted

    async with asyncio.timeout(20):
        while not await refused():
            await here.breaker.reset(ID, WHO)  # the attempt that was permitted meanwhile
            await asyncio.sleep(0.02)
    assert (await there.breaker.permit("fresh", WHO, "0.2")).permitted


# ----------------------------------------------------------------------------------- coherence


async def test_an_attempt_is_late_if_the_breaker_moved_on_after_the_view(
    here: Runtime, there: Runtime
) -> None:
    early = await here.breaker.permit(ID, WHO)
    await there.breaker.report("other", FAILURE, WHO)
    await trip(there, ID)
    await there.breaker.reset(ID, WHO)

    outcome = OutcomeBody(outcome="failure", attempt_id=early.attempt_id)
    verdict = await there.breaker.report(ID, outcome, WHO)

    assert (verdict.why, verdict.failures) == ("late", 0)


async def test_an_attempt_counts_whatever_other_instances_went_through(
    here: Runtime, there: Runtime
) -> None:
    for number in range(20):
        await there.breaker.trip(f"noise-{number}", None, WHO)
    early = await here.breaker.permit(ID, WHO)
    for number in range(20):
        await there.breaker.reset(f"noise-{number}", WHO)

    outcome = OutcomeBody(outcome="failure", attempt_id=early.attempt_id)

    assert (await there.breaker.report(ID, outcome, WHO)).why == "counted"


async def test_a_late_attempt_is_not_registered(here: Runtime, redis_server: RedisServer) -> None:
    del redis_server
    request = PermitRequest(instance_id=ID, epoch=5)
    await here.breaker.report(ID, FAILURE, WHO)
    await here.breaker.reset(ID, WHO)  # its epoch is a time, far above 5

    answer = await here.scripts.permit(request)

    assert (answer.permitted, answer.cause) == (False, "late")
    assert (await here.breaker.status(ID)).snapshot.connection == ""


async def test_the_view_is_what_redis_has_after_anything_that_may_happen(
    here: Runtime, there: Runtime, redis_server: RedisServer
) -> None:
    """Changes from two replicas at once, with subscriptions cut in between."""
    await here.policies.change_fleet(PolicyPatch(failure_threshold=3, cooldown_ms=200), WHO)

    async def cut() -> None:
        with redis_server.client() as client:
            for _ in range(5):
                await asyncio.sleep(0.1)
                client.client_kill_filter(_type="pubsub")

    chance = random.Random(7)
    await asyncio.gather(anything(here, chance), anything(there, chance), cut())

    for runtime in (here, there):
        async with asyncio.timeout(20):
            while not await is_true(runtime):  # noqa: ASYNC110 - nothing tells when it is quiet
                await asyncio.sleep(0.05)


async def anything(runtime: Runtime, chance: random.Random) -> None:
    for _ in range(250):
        name = f"any-{chance.randrange(40)}"
        match chance.randrange(6):
            case 0 | 1 | 2:
                await runtime.breaker.report(name, FAILURE, WHO)
            case 3:
                await runtime.breaker.permit(name, WHO)
            case 4:
                await runtime.breaker.reset(name, WHO)
            case _:
                await runtime.breaker.trip(name, chance.choice([50, None]), WHO)


async def is_true(runtime: Runtime) -> bool:
    """Whether the view is what a view begun now would be."""
    for number, part in enumerate(runtime.replica._partitions):
        stored = await runtime.scripts.view(number, ViewRequest())
        pairs = zip(stored.instances[::2], stored.instances[1::2], strict=True)
        facts = {name: msgspec.json.decode(fact, type=Facts) for name, fact in pairs}
        if not part.live or (part.facts, part.seq) != (facts, stored.seq):
            return False
        if part.epoch != stored.epoch:
            return False
    return True


async def test_a_message_that_was_lost_is_noticed_with_the_next(
    here: Runtime, there: Runtime
) -> None:
    """The reset of another instance of the partition never arrives; the trip after it does."""
    number = here.keyspace.partition_of(ID)
    other = next(
        name for name in map(str, range(100)) if here.keyspace.partition_of(name) == number
    )
    await trip(here, other)
    await until(lambda: refuses(there, other))
    with held(there, "message"):
        await here.breaker.reset(other, WHO)
        await until(lambda: permits(here, other))

    await trip(here, ID)

    await until(lambda: refuses(there, ID))
    await until(lambda: permits(there, other))


async def test_a_redis_that_was_emptied_is_noticed(
    here: Runtime, there: Runtime, redis_server: RedisServer
) -> None:
    await trip(here, ID)
    await until(lambda: refuses(there, ID))
    with redis_server.client() as client:
        client.flushall()
    await until(lambda: permits(there, ID))

    await trip(here, ID)

    await until(lambda: refuses(there, ID))


async def test_a_message_that_makes_no_sense_does_not_end_the_view(
    here: Runtime, there: Runtime, redis_server: RedisServer
) -> None:
    number = here.keyspace.partition_of(ID)
    with redis_server.client() as client:
        client.execute_command("SPUBLISH", here.keyspace.view(number), b"\xff not ours")

    await trip(here, ID)

    await until(lambda: refuses(there, ID))


# ------------------------------------------------------------------------------------- bounds


async def test_a_view_that_is_not_proven_current_asks_redis(
    here: Runtime, redis_server: RedisServer
) -> None:
    assert permits(here, ID)
    redis_server.signal(signal.SIGSTOP)
    try:
        await until(lambda: sees(here, ID) is None, seconds=5)
    finally:
        redis_server.signal(signal.SIGCONT)
    await until(lambda: permits(here, ID))


async def test_without_staleness_every_permit_asks_redis(redis_server: RedisServer) -> None:
    async with replica_on(redis_server, staleness_ms=0) as runtime:
        await asyncio.sleep(0.5)
        assert sees(runtime, ID) is None
        assert (await runtime.breaker.permit(ID, WHO)).permitted


async def test_a_stop_registers_what_it_has_permitted(redis_server: RedisServer) -> None:
    async with replica_on(redis_server) as runtime:
        names = [f"stop-{number}" for number in range(1_000)]
        for name in names:
            assert (await runtime.breaker.permit(name, WHO)).permitted
    async with replica_on(redis_server) as runtime:
        totals = await runtime.fleet.totals()
    assert (totals.sums.connecting, totals.sums.known) == (1_000, 1_000)
