"""What a failover has undone is made again, and that undoes nothing that came later."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import permutations
from pathlib import Path

import pytest
from msgspec import structs

from sekring.http.runtime import Runtime
from sekring.model import Snapshot, State
from sekring.pledges import Again, trip_again
from sekring.store.contract import (
    DisableRequest,
    OfferRequest,
    ReportRequest,
    ResetRequest,
    SnapshotRequest,
    TripRequest,
)
from sekring.store.keys import Keyspace
from sekring.store.scripts import Scripts
from sekring.taxonomy import Effect
from tests.conftest import check_keys
from tests.replica import WHO, replica_on, trip, until
from tests.servers import RedisServer

ID = "6281234567890"


def failure(number: int, **fields: object) -> ReportRequest:
    """A failure that counts, unless the fields say otherwise."""
    counted = ReportRequest(
        instance_id=ID, id=f"r{number}", outcome="failure", effect=Effect.COUNT, kind="dns"
    )
    return structs.replace(counted, **fields)


async def fail(scripts: Scripts, first: int, last: int) -> OfferRequest | None:
    """Report failures `first` to `last`; return what makes their trip again, if they tripped."""
    verdicts = [await scripts.report(failure(number)) for number in range(first, last + 1)]
    return trip_again(failure(last), verdicts[-1])


async def reset(scripts: Scripts) -> ResetRequest:
    """Reset; return what makes it again."""
    request = ResetRequest(instance_id=ID)
    return structs.replace(request, made_epoch=(await scripts.reset(request)).epoch)


async def again(scripts: Scripts, *pledges: Again) -> Snapshot:
    """Say something again; return the instance after it."""
    for pledge in pledges:
        match pledge:
            case OfferRequest():
                await scripts.offer(pledge)
            case ResetRequest():
                await scripts.reset(pledge)
            case TripRequest():
                await scripts.trip(pledge)
            case DisableRequest():
                await scripts.disable(pledge)
    return await snapshot(scripts)


async def snapshot(scripts: Scripts) -> Snapshot:
    return (await scripts.snapshot(SnapshotRequest(instance_id=ID, with_failures=True))).snapshot


class Redis:
    """The shared server; what was written since it was saved can be lost, as by a failover."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def save(self) -> dict[bytes, bytes]:
        with self._server.client() as client:
            return {key: client.dump(key) for key in client.scan_iter()}

    def read(self) -> dict[bytes, object]:
        """Return what all keys hold."""
        return dict[bytes, object](self.save())

    def lose(self, saved: dict[bytes, bytes]) -> None:
        with self._server.client() as client:
            client.flushall()
            for key, value in saved.items():
                client.restore(key, 3_600_000, value)


@pytest.fixture
def store(redis_server: RedisServer) -> Redis:
    return Redis(redis_server)


# --------------------------------------------------------------------------- by the scripts


async def test_a_lost_trip_is_made_again_as_it_was(scripts: Scripts, store: Redis) -> None:
    await fail(scripts, 1, 14)
    saved = store.save()
    offer = await fail(scripts, 15, 15)
    assert offer
    before = await snapshot(scripts)
    store.lose(saved)
    assert (await snapshot(scripts)).state is State.CLOSED

    after = await again(scripts, offer)

    assert (after.state, after.cause, after.epoch) == (State.OPEN, "failures", before.epoch)
    assert after.resets_at_ms
    assert before.resets_at_ms
    assert abs(after.resets_at_ms - before.resets_at_ms) < 1_000


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"effect": Effect.BAN, "kind": "temporary_ban", "ban_ms": 3_600_000}, "temporary_ban"),
        ({"effect": Effect.TERMINAL, "kind": "logged_out"}, "logged_out"),
        ({"effect": Effect.CONFLICT, "kind": "conflict"}, "conflict"),
    ],
)
async def test_a_lost_hold_is_made_again_for_its_own_reason(
    scripts: Scripts, store: Redis, fields: dict[str, object], cause: str
) -> None:
    await fail(scripts, 1, 1)
    saved = store.save()
    report = failure(2, **fields)
    offer = trip_again(report, await scripts.report(report))
    assert offer
    before = await snapshot(scripts)
    store.lose(saved)

    after = await again(scripts, offer)

    assert (after.state, after.cause) == (State.OPEN, cause)
    assert (after.resets_at_ms is None) == (before.resets_at_ms is None)
    banned = (await scripts.reset(ResetRequest(instance_id=ID))).banned
    assert banned is (cause == "temporary_ban"), "a ban stays one that no reset overrides"


async def test_a_lost_reset_is_made_again_and_keeps_what_was_counted_after_it(
    scripts: Scripts, store: Redis
) -> None:
    await fail(scripts, 1, 15)
    saved = store.save()
    made = await reset(scripts)
    store.lose(saved)
    assert (await snapshot(scripts)).state is State.OPEN
    await asyncio.sleep(0.01)

    after = await again(scripts, made)
    assert (after.state, after.failures, after.epoch) == (State.CLOSED, 0, made.made_epoch)

    store.lose({})
    await fail(scripts, 20, 22)
    after = await again(scripts, made)
    assert (after.failures, after.epoch) == (3, made.made_epoch)
    duplicate = await scripts.report(failure(22))
    assert (duplicate.why, duplicate.failures) == ("duplicate", 3)


async def test_in_any_order_the_last_word_stays(scripts: Scripts, store: Redis) -> None:
    await fail(scripts, 1, 3)
    saved = store.save()
    offer = await fail(scripts, 4, 15)
    assert offer
    made = await reset(scripts)
    forced = TripRequest(instance_id=ID, origin=WHO)
    forced = structs.replace(forced, made_epoch=(await scripts.trip(forced)).epoch)
    off = DisableRequest(instance_id=ID, origin=WHO)
    off = structs.replace(off, made_epoch=(await scripts.disable(off)).epoch)

    changes: list[Again] = [offer, made, forced, off]
    states = [State.OPEN, State.CLOSED, State.FORCED_OPEN, State.DISABLED]

    for last, state in enumerate(states):
        for order in permutations(changes[: last + 1]):
            store.lose(saved)
            assert (await again(scripts, *order)).state is state, order


async def test_what_was_not_lost_is_not_made_twice(scripts: Scripts, store: Redis) -> None:
    offer = await fail(scripts, 1, 15)
    assert offer
    before = store.read()
    await again(scripts, offer)
    assert store.read() == before
    made = await reset(scripts)
    before = store.read()
    await again(scripts, made, offer, made)
    assert store.read() == before


async def test_what_came_later_is_not_undone(scripts: Scripts, store: Redis) -> None:
    await fail(scripts, 1, 3)
    saved = store.save()
    made = await reset(scripts)
    store.lose(saved)
    await asyncio.sleep(0.01)
    await fail(scripts, 4, 15)
    assert (await again(scripts, made)).state is State.OPEN


# --------------------------------------------------------------------------- by a replica


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "primary", "--repl-diskless-sync-delay", "0") as server:
        yield server
        check_keys(server)


@pytest.fixture
async def replica(primary: RedisServer) -> AsyncIterator[Runtime]:
    """A replica that wants one of Redis' replicas to have what it acknowledges."""
    async with replica_on(primary, confirm_replicas=1) as runtime:
        yield runtime


Change = Callable[[Runtime], Awaitable[object]]


async def trips(runtime: Runtime) -> None:
    await trip(runtime, ID)


async def resets(runtime: Runtime) -> None:
    await trip(runtime, ID)
    assert (await runtime.breaker.reset(ID, WHO)).done


@pytest.mark.parametrize(("change", "state"), [(trips, State.OPEN), (resets, State.CLOSED)])
async def test_an_unconfirmed_change_is_made_again_until_a_replica_has_it(
    replica: Runtime, primary: RedisServer, tmp_path: Path, change: Change, state: State
) -> None:
    await change(replica)
    assert replica.pledges.waiting == 1

    made_epoch = (await replica.breaker.status(ID)).snapshot.epoch
    with primary.client() as client:
        client.delete(*Keyspace(partitions=4).whole(ID)[:2])
    lost = (await replica.breaker.status(ID)).snapshot
    assert lost.epoch == 0

    async def found() -> bool:
        snapshot = (await replica.breaker.status(ID)).snapshot
        return (snapshot.state, snapshot.epoch) == (state, made_epoch)

    async with asyncio.timeout(20):
        while not await found():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    assert replica.pledges.waiting == 1

    with RedisServer(tmp_path / "follower", "--replicaof", f"127.0.0.1 {primary.port}"):
        await until(lambda: replica.pledges.waiting == 0, 60)


async def test_a_single_server_has_nobody_to_confirm(redis_server: RedisServer) -> None:
    async with replica_on(redis_server) as runtime:
        await trip(runtime, ID)
        assert runtime.pledges.waiting == 0
