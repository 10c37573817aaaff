"""Leases in one partition: who owns a session, and until when."""

import asyncio
from typing import Final

import pytest
from msgspec import structs

from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.store.session_contract import (
    ClaimedLease,
    ClaimLeasesRequest,
    DropSessionRequest,
    JoinGatewaysRequest,
    ReleaseLeasesRequest,
    RenewLeasesRequest,
    SetPhaseRequest,
    WantSessionRequest,
)
from sekring.store.session_scripts import SessionScripts
from sekring.store.sessions import SessionReads
from sekring.wire import (
    Phase,
    Session,
)
from tests.servers import RedisServer

ID: Final = "6281234567890"
START_MS: Final = 1_795_446_878_959
TTL_MS: Final = 15_000


class Hand:
    """The scripts on one partition, at times of the test's choice (ms after `START_MS`)."""

    def __init__(self, link: RedisLink) -> None:
        self.keyspace = Keyspace(partitions=1)
        self.scripts = SessionScripts(link, self.keyspace)
        self.reads = SessionReads(self.scripts, link, self.keyspace)
        self.link = link

    async def want(self, *names: str) -> None:
        for name in names:
            await self.scripts.want_session(WantSessionRequest(instance_id=name, now_ms=START_MS))

    async def drop(self, name: str, at: int = 0) -> bool:
        request = DropSessionRequest(instance_id=name, now_ms=START_MS + at)
        return await self.scripts.drop_session(request)

    async def claim(self, gateway: str, at: int = 0, limit: int = 10) -> list[ClaimedLease]:
        request = ClaimLeasesRequest(
            gateway=gateway, limit=limit, ttl_ms=TTL_MS, now_ms=START_MS + at
        )
        return list((await self.scripts.claim_leases(0, request)).leases)

    async def renew(self, gateway: str, lease: ClaimedLease, at: int = 0) -> tuple[bool, bool]:
        """Return whether it is held and wanted."""
        request = RenewLeasesRequest(
            gateway=gateway,
            ttl_ms=TTL_MS,
            instance_ids=[lease.instance_id],
            tokens=[lease.token],
            now_ms=START_MS + at,
        )
        renewed = await self.scripts.renew_leases(0, request)
        return renewed.held[0], renewed.wanted[0]

    async def release(self, gateway: str, lease: ClaimedLease, at: int = 0) -> bool:
        request = ReleaseLeasesRequest(
            gateway=gateway,
            instance_ids=[lease.instance_id],
            tokens=[lease.token],
            now_ms=START_MS + at,
        )
        return (await self.scripts.release_leases(0, request)).released[0]

    async def say(
        self,
        lease: ClaimedLease,
        phase: Phase,
        *,
        device: str | None = None,
        detail: str | None = None,
    ) -> bool:
        request = SetPhaseRequest(
            instance_id=lease.instance_id,
            gateway="a",
            token=lease.token,
            phase=phase,
            device=device,
            detail=detail,
        )
        return await self.scripts.set_phase(request)

    async def session(self, name: str = ID) -> Session:
        (session,) = await self.reads.read([name])
        return session


@pytest.fixture
def hand(link: RedisLink) -> Hand:
    return Hand(link)


async def test_a_session_is_owned_by_one_at_a_time(hand: Hand) -> None:
    await hand.want(ID)
    (lease,) = await hand.claim("a")

    assert await hand.claim("b") == []
    assert await hand.claim("a") == []
    assert await hand.claim("b", at=TTL_MS - 1) == []
    assert lease.taken_from is None


async def test_of_many_who_claim_at_once_each_gets_others(hand: Hand) -> None:
    await hand.want(*(f"s{n}" for n in range(50)))

    claims = await asyncio.gather(*(hand.claim(f"g{n}", limit=3) for n in range(20)))

    names = [lease.instance_id for claim in claims for lease in claim]
    assert len(names) == len(set(names)) == 50
    assert max(len(claim) for claim in claims) == 3


async def test_a_lease_that_ran_out_is_claimed_by_another(hand: Hand) -> None:
    await hand.want(ID)
    (first,) = await hand.claim("a")

    (second,) = await hand.claim("b", at=TTL_MS)

    assert second.token > first.token
    assert second.taken_from == "a"
    assert await hand.renew("a", first, at=TTL_MS) == (False, True)
    assert not await hand.release("a", first, at=TTL_MS)
    assert await hand.renew("b", second, at=TTL_MS + 1) == (True, True)


async def test_a_lease_that_ran_out_is_not_renewed_even_if_nobody_took_it(hand: Hand) -> None:
    await hand.want(ID)
    (lease,) = await hand.claim("a")

    assert await hand.renew("a", lease, at=TTL_MS) == (False, True)


async def test_a_renewed_lease_lasts_from_the_renewal(hand: Hand) -> None:
    await hand.want(ID)
    (lease,) = await hand.claim("a")
    assert await hand.renew("a", lease, at=5_000) == (True, True)

    assert await hand.claim("b", at=TTL_MS + 4_999) == []
    assert len(await hand.claim("b", at=TTL_MS + 5_000)) == 1


async def test_a_released_session_is_claimed_at_once(hand: Hand) -> None:
    await hand.want(ID)
    (first,) = await hand.claim("a")
    assert await hand.release("a", first)
    assert await hand.release("a", first), "said again, it is answered the same"

    (second,) = await hand.claim("b")

    assert second.token > first.token
    assert second.taken_from is None, "it was given back"
    assert await hand.renew("a", first) == (False, True)
    assert not await hand.release("a", first), "it is another's by now"


async def test_nobody_else_releases_or_renews_it(hand: Hand) -> None:
    await hand.want(ID)
    (lease,) = await hand.claim("a")

    assert not await hand.release("b", lease)
    assert await hand.renew("b", lease) == (False, True)
    assert await hand.renew("a", lease) == (True, True)


async def test_tokens_grow_although_the_record_was_lost(
    hand: Hand, redis_server: RedisServer
) -> None:
    tokens = []
    await hand.want(ID)
    for _ in range(3):
        (lease,) = await hand.claim("a")
        tokens.append(lease.token)
        with redis_server.client() as client:
            client.hdel(hand.keyspace.owners(0), ID)
            client.zadd(hand.keyspace.leases(0), {ID: 0})

    assert tokens == sorted(set(tokens))


async def test_tokens_grow_although_the_clock_was_set_back(hand: Hand) -> None:
    await hand.want(ID)
    (first,) = await hand.claim("a")
    assert await hand.release("a", first)

    (second,) = await hand.claim("a", at=-60_000)

    assert second.token > first.token


async def test_a_lease_of_a_clock_that_was_set_back_ends_in_time(hand: Hand) -> None:
    """Else nobody could claim the session before the clock is where it was."""
    await hand.want(ID)
    await hand.claim("a", at=3_600_000)

    assert await hand.claim("b") == []
    assert await hand.claim("b", at=119_999) == []
    assert len(await hand.claim("b", at=120_000)) == 1


async def test_a_claim_that_is_said_again_is_answered_the_same(hand: Hand) -> None:
    await hand.want("s1", "s2")
    request = ClaimLeasesRequest(gateway="a", limit=1, ttl_ms=TTL_MS)

    first = await hand.scripts.claim_leases(0, request)

    assert await hand.scripts.claim_leases(0, request) == first
    other = structs.replace(request, id="another")
    assert await hand.scripts.claim_leases(0, other) != first


async def test_what_waited_longest_is_claimed_first(hand: Hand) -> None:
    await hand.want("s1")
    await hand.claim("a")
    await hand.want("s2")
    await hand.claim("a", at=5)

    claimed = await hand.claim("b", at=TTL_MS + 5, limit=1)

    assert [lease.instance_id for lease in claimed] == ["s1"]


async def test_a_dropped_session_is_its_owners_until_it_is_done(
    hand: Hand, redis_server: RedisServer
) -> None:
    await hand.want(ID)
    (lease,) = await hand.claim("a")
    assert await hand.drop(ID)
    assert not await hand.drop(ID)

    assert await hand.renew("a", lease) == (True, False)
    await hand.want(ID)
    assert await hand.claim("b") == [], "wanted again, it still is its owner's"
    assert await hand.drop(ID)
    assert await hand.release("a", lease)
    with redis_server.client() as client:
        assert client.zrange(hand.keyspace.leases(0), 0, -1) == []
        assert client.hkeys(hand.keyspace.owners(0)) == [b"*"]


async def test_a_dropped_session_whose_owner_died_is_forgotten(
    hand: Hand, redis_server: RedisServer
) -> None:
    await hand.want(ID, "s2")
    await hand.claim("a", limit=2)
    await hand.drop(ID)

    claimed = await hand.claim("b", at=TTL_MS, limit=1)

    assert [lease.instance_id for lease in claimed] == ["s2"]
    with redis_server.client() as client:
        assert client.zrange(hand.keyspace.leases(0), 0, -1) == [b"s2"]


async def test_a_vacant_session_that_is_dropped_is_gone(hand: Hand) -> None:
    await hand.want(ID)
    assert await hand.drop(ID)

    assert await hand.claim("a") == []
    assert await hand.session() == Session(instance_id=ID, wanted=False)


async def test_the_owner_says_where_it_stands(hand: Hand) -> None:
    await hand.want(ID)
    request = ClaimLeasesRequest(gateway="a", limit=1, ttl_ms=60_000)
    (lease,) = (await hand.scripts.claim_leases(0, request)).leases
    assert (await hand.session()).phase is Phase.WAITING

    assert await hand.say(lease, Phase.CONNECTED, device="628:7@s")
    assert await hand.say(lease, Phase.CONNECTED, detail="all is well")
    found = await hand.session()
    assert (found.gateway, found.phase, found.device) == ("a", Phase.CONNECTED, "628:7@s")
    assert found.detail == "all is well"

    assert await hand.say(lease, Phase.UNPAIRED)
    found = await hand.session()
    assert (found.phase, found.device, found.detail) == (Phase.UNPAIRED, None, None)


async def test_its_device_stays_known_when_it_changes_hands(hand: Hand) -> None:
    await hand.want(ID)
    request = ClaimLeasesRequest(gateway="a", limit=1, ttl_ms=60_000)
    (lease,) = (await hand.scripts.claim_leases(0, request)).leases
    await hand.say(lease, Phase.CONNECTED, device="628:7@s")

    await hand.release("a", lease)
    vacant = await hand.session()
    await hand.scripts.claim_leases(0, structs.replace(request, id="x", gateway="b"))

    assert (vacant.phase, vacant.gateway, vacant.device) == (Phase.VACANT, None, "628:7@s")
    assert (await hand.session()).device == "628:7@s"


async def test_who_does_not_own_it_says_nothing(hand: Hand) -> None:
    await hand.want(ID)
    request = ClaimLeasesRequest(gateway="a", limit=1, ttl_ms=60_000)
    (lease,) = (await hand.scripts.claim_leases(0, request)).leases

    assert not await hand.say(structs.replace(lease, token=lease.token - 1), Phase.CONNECTED)
    assert not await hand.say(structs.replace(lease, instance_id="s2"), Phase.CONNECTED)
    await hand.release("a", lease)
    assert not await hand.say(lease, Phase.CONNECTED)
    assert (await hand.session()).phase is Phase.VACANT


async def test_what_an_owner_said_holds_no_longer_than_its_lease(hand: Hand) -> None:
    await hand.want(ID)
    request = ClaimLeasesRequest(gateway="a", limit=1, ttl_ms=50)
    (lease,) = (await hand.scripts.claim_leases(0, request)).leases
    await asyncio.sleep(0.1)

    found = await hand.session()

    assert (found.gateway, found.phase, found.lease_ends_in_ms) == (None, Phase.VACANT, None)
    assert found.token == lease.token


async def test_a_gateway_lives_for_the_time_of_a_lease(hand: Hand) -> None:
    def joins(name: str, at: int) -> JoinGatewaysRequest:
        return JoinGatewaysRequest(
            gateway=name, capacity=10, held=0, ttl_ms=TTL_MS, now_ms=START_MS + at
        )

    await hand.scripts.join_gateways(joins("a", 0))
    both = await hand.scripts.join_gateways(joins("b", TTL_MS - 1))
    alone = await hand.scripts.join_gateways(joins("b", TTL_MS))

    assert sorted(one.gateway for one in both.gateways) == ["a", "b"]
    assert [one.gateway for one in alone.gateways] == ["b"]
