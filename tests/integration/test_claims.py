"""A replica's claims and renewals: how much a gateway gets, and what a fault of Redis does."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest
from msgspec import structs

from sekring.errors import InvalidInput, StoreUnavailable
from sekring.feed import Batch
from sekring.http.runtime import Runtime
from sekring.model import Origin, Transition
from sekring.sessions.gateways import share_of
from sekring.sessions.vacancies import Vacancies
from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.store.session_contract import ClaimLeasesRequest, LiveGateway, WantSessionRequest
from sekring.store.session_scripts import SessionScripts
from sekring.wire import (
    ClaimBody,
    HeldLease,
    Lease,
    Phase,
    PhaseBody,
    ReleaseBody,
    RenewBody,
    Session,
)
from tests.replica import WHO, replica_on, until
from tests.servers import RedisServer

ID: Final = "6281234567890"


def gateway(name: str, capacity: int, *, draining: bool = False) -> LiveGateway:
    return LiveGateway(gateway=name, capacity=capacity, held=0, draining=draining, seen_ms=0)


@pytest.mark.parametrize(
    ("capacities", "sessions", "shares"),
    [
        ([100], 300, [100]),
        ([100, 100], 30, [15, 15]),
        ([100, 100, 100], 100, [34, 34, 34]),
        ([100, 50], 30, [20, 10]),
        ([100, 0], 30, [30, 0]),
        ([0], 30, [0]),
        ([100, 100], 0, [0, 0]),
        ([1, 1], 1, [1, 1]),
    ],
)
def test_a_share_is_a_part_by_capacity(
    capacities: list[int], sessions: int, shares: list[int]
) -> None:
    live = [gateway(f"g{n}", capacity) for n, capacity in enumerate(capacities)]

    assert [share_of(one.gateway, live, sessions) for one in live] == shares


def test_the_share_of_a_draining_gateway_goes_to_the_others() -> None:
    live = [gateway("a", 100, draining=True), gateway("b", 100), gateway("c", 100)]

    assert [share_of(name, live, 100) for name in "abc"] == [0, 50, 50]


@pytest.fixture
async def replica(redis_server: RedisServer) -> AsyncIterator[Runtime]:
    async with replica_on(redis_server, partitions=64) as runtime:
        yield runtime


async def want(replica: Runtime, count: int) -> list[str]:
    names = [f"628{number:04d}" for number in range(count)]
    await asyncio.gather(*(replica.wishes.want(name, WHO) for name in names))
    return names


async def claim(
    replica: Runtime, gateway: str, held: int = 0, limit: int = 10, capacity: int = 100
) -> list[Lease]:
    body = ClaimBody(gateway=gateway, capacity=capacity, held=held, limit=limit)
    return (await replica.claims.claim(body, Origin(actor=gateway))).leases


def renewal(gateway: str, leases: list[Lease], *, draining: bool = False) -> RenewBody:
    return RenewBody(
        gateway=gateway, capacity=100, draining=draining, leases=[held(lease) for lease in leases]
    )


def held(lease: Lease) -> HeldLease:
    return HeldLease(lease.instance_id, lease.token)


async def test_a_claim_gives_no_more_than_its_limit_its_share_and_its_capacity(
    replica: Runtime,
) -> None:
    await want(replica, 100)

    assert len(await claim(replica, "a", limit=7)) == 7
    assert len(await claim(replica, "a", held=7, limit=0)) == 0
    assert len(await claim(replica, "b", limit=1_000)) == 50, "half of all: there are two"
    assert len(await claim(replica, "a", held=48, limit=10)) == 2
    assert len(await claim(replica, "a", held=50, limit=10)) == 0
    assert len(await claim(replica, "a", held=51, limit=10)) == 0
    assert len(await claim(replica, "c", limit=1_000, capacity=5)) == 3, "5 of 205 of 100"


async def test_claims_and_renewals_of_all_partitions_keep_their_order(replica: Runtime) -> None:
    names = await want(replica, 200)
    leases = await claim(replica, "a", limit=1_000, capacity=200)
    assert sorted(lease.instance_id for lease in leases) == names

    lost = structs.replace(leases[77], token=1)
    asked = [*leases[:77], lost, *leases[78:]]
    renewed = await replica.leases.renew(renewal("a", asked))

    assert [(one.instance_id, one.token) for one in renewed.leases] == [
        (one.instance_id, one.token) for one in asked
    ]
    assert [one.instance_id for one in renewed.leases if not one.held] == [lost.instance_id]
    assert renewed.ttl_ms == replica.settings.lease_ttl_ms


async def test_what_is_released_here_is_claimed_here_at_once(replica: Runtime) -> None:
    await want(replica, 20)
    mine = await claim(replica, "a", limit=20)
    assert await claim(replica, "b", limit=20) == []

    released = await replica.leases.release(ReleaseBody(gateway="a", leases=list(map(held, mine))))

    assert released == 20
    assert len(await claim(replica, "b", limit=20)) == 10


async def test_a_draining_gateways_share_goes_to_the_others_at_once(replica: Runtime) -> None:
    await want(replica, 30)
    mine = await claim(replica, "a", limit=30)
    assert len(mine) == 30
    assert (await replica.leases.renew(renewal("b", []))).share == 15

    assert (await replica.leases.renew(renewal("a", mine, draining=True))).share == 0
    assert (await replica.leases.renew(renewal("b", []))).share == 30
    await replica.leases.release(ReleaseBody(gateway="a", leases=list(map(held, mine))))
    assert len(await claim(replica, "b", limit=30)) == 30


async def test_a_takeover_is_told_to_people(redis_server: RedisServer) -> None:
    class Listener:
        def __init__(self) -> None:
            self.heard: list[Transition] = []

        def take(self, batch: Batch) -> None:
            self.heard += [event.transition for event in batch.events]

        def begin(self) -> None: ...

        def close(self) -> None: ...

    listener = Listener()
    async with replica_on(redis_server, lease_ttl_ms=1_000) as replica:
        with replica.feed.listening(listener):
            await want(replica, 1)
            await claim(replica, "a")
            await until(lambda: [one.action for one in listener.heard] == ["want_session"])
            await asyncio.sleep(1.1 + 0.5)  # its lease, and what the replica knows of vacancies
            (taken,) = await claim(replica, "b")
            await until(lambda: len(listener.heard) == 2)

    takeover = listener.heard[1]
    assert taken.taken_from == "a"
    assert (takeover.action, takeover.instance_id, takeover.actor) == ("takeover", "6280000", "b")
    assert (takeover.cause, takeover.reason) == ("lease_ran_out", "its lease ran out on a")


async def test_an_owner_does_not_say_that_nobody_owns_it(replica: Runtime) -> None:
    with pytest.raises(InvalidInput, match="releases it"):
        await replica.leases.set_phase(ID, PhaseBody(gateway="a", token=1, phase=Phase.VACANT))


async def test_sessions_are_listed_page_by_page(replica: Runtime) -> None:
    names = await want(replica, 150)
    await replica.wishes.drop(names[0], WHO)

    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await replica.wishes.page(cursor, 20)
        assert len(page.sessions) <= 20
        seen += [session.instance_id for session in page.sessions]
        cursor = page.cursor
        if cursor is None:
            break

    assert len(seen) == len(set(seen))
    assert sorted(seen) == names[1:]
    with pytest.raises(InvalidInput, match="cursor is not one"):
        await replica.wishes.page("64:628", 20)


async def test_all_who_look_at_once_share_one_reading(link: RedisLink) -> None:
    class Counting(SessionScripts):
        calls = 0

        async def vacancies(self, *arguments: object) -> object:  # type: ignore[override]
            Counting.calls += 1
            return await super().vacancies(*arguments)  # type: ignore[arg-type]

    vacancies = Vacancies(Counting(link, Keyspace()), Keyspace())
    assert not vacancies.complete

    await asyncio.gather(*(vacancies.look() for _ in range(50)))
    await vacancies.look()

    assert Counting.calls == 64
    assert vacancies.complete


async def test_a_reading_that_one_stops_waiting_for_goes_on_for_the_others(link: RedisLink) -> None:
    scripts = SessionScripts(link, Keyspace())
    await scripts.want_session(WantSessionRequest(instance_id=ID))
    vacancies = Vacancies(scripts, Keyspace())
    first = asyncio.create_task(vacancies.look())
    second = asyncio.create_task(vacancies.look())
    await asyncio.sleep(0)

    first.cancel()
    await second

    assert vacancies.sessions == 1
    assert vacancies.vacant == {Keyspace().partition_of(ID): 1}


# -------------------------------------------------------------------------- Redis away, in part


async def test_without_redis_nothing_is_claimed_renewed_or_released(
    redis_server: RedisServer,
) -> None:
    async with replica_on(redis_server, redis_timeout_ms=200) as replica:
        await want(replica, 10)
        mine = await claim(replica, "a")
        with redis_server.away("stopped"):
            with pytest.raises(StoreUnavailable):
                await claim(replica, "a")
            with pytest.raises(StoreUnavailable):
                await replica.leases.renew(renewal("a", mine))
            with pytest.raises(StoreUnavailable):
                await replica.leases.release(ReleaseBody(gateway="a", leases=[held(mine[0])]))
            with pytest.raises(StoreUnavailable):
                await replica.wishes.want(ID, WHO)


async def test_what_redis_replicas_do_not_confirm_is_not_told(redis_server: RedisServer) -> None:
    """It has none: no claim can be confirmed, and each is given back."""
    async with replica_on(redis_server, confirm_replicas=1) as replica:
        with pytest.raises(StoreUnavailable, match="not confirmed"):
            await replica.wishes.want(ID, WHO)
        await until_vacant(replica)
        with pytest.raises(StoreUnavailable, match="not confirmed"):
            await claim(replica, "a")

        session = await replica.wishes.one(ID)

        assert session.token > 0, "it was claimed"
        assert (session.gateway, session.phase) == (None, Phase.VACANT), "and given back"
        with pytest.raises(StoreUnavailable, match="not confirmed"):
            await confirmed_renewal(replica, session)


class Doubtful:
    """Confirms what was written in all partitions but some."""

    def __init__(self, *partitions: int) -> None:
        self.partitions = partitions

    async def confirm(self, partition: int, _: float) -> bool:
        return partition not in self.partitions


async def test_a_lease_that_could_not_be_renewed_is_left_out(replica: Runtime) -> None:
    """It is neither lost nor prolonged, and the others are not held up by it."""
    await want(replica, 40)
    mine = await claim(replica, "a", limit=40)
    lost = replica.keyspace.partition_of(mine[3].instance_id)
    replica.leases._confirm = Doubtful(lost).confirm

    renewed = await replica.leases.renew(renewal("a", mine))

    found = [one.instance_id for one in renewed.leases if one.held]
    assert found == [
        one.instance_id for one in mine if replica.keyspace.partition_of(one.instance_id) != lost
    ]
    assert len(found) < 40
    assert len(renewed.leases) == len(found)


async def test_a_claim_that_is_confirmed_in_part_gives_that_part(replica: Runtime) -> None:
    names = await want(replica, 40)
    lost = replica.keyspace.partition_of(names[0])
    replica.claims._confirm = Doubtful(lost).confirm

    claimed = await claim(replica, "a", limit=40)

    given = {lease.instance_id for lease in claimed}
    assert {name for name in names if replica.keyspace.partition_of(name) == lost} == (
        set(names) - given
    )
    assert (await replica.wishes.one(names[0])).gateway is None, "given back"


async def until_vacant(replica: Runtime) -> None:
    """Wait until the replica knows that there is something to claim."""
    await asyncio.sleep(0.6)
    body = ClaimBody(gateway="z", capacity=0, held=0)
    assert (await replica.claims.claim(body, WHO)).sessions == 1


async def confirmed_renewal(replica: Runtime, session: Session) -> None:
    """Renew what was claimed behind the replica's back."""
    link = RedisLink(str(replica.settings.redis_url), timeout_ms=5_000)
    scripts = SessionScripts(link, replica.keyspace)
    partition = replica.keyspace.partition_of(session.instance_id)
    request = ClaimLeasesRequest(gateway="a", limit=1, ttl_ms=60_000)
    (lease,) = (await scripts.claim_leases(partition, request)).leases
    await link.close()
    await replica.leases.renew(
        renewal("a", [Lease(instance_id=lease.instance_id, token=lease.token)])
    )
