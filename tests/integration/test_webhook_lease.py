"""The lease on a webhook: one holder at a time, and none that was overtaken changes anything."""

import asyncio

import pytest

from sekring.cursor import Place
from sekring.model import Origin
from sekring.store.hooks import Claim, Hooks, Mark, Progress, Webhook
from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from tests.servers import RedisServer

HOOK = Webhook(id="wh_000000000001", url="http://localhost/", secret="whsec_", created_ms=1)
LEASE_MS = 60_000


@pytest.fixture
async def hooks(scripts: Scripts, link: RedisLink, keyspace: Keyspace) -> Hooks:
    hooks = Hooks(scripts, link, keyspace)
    assert await hooks.create(HOOK, {7: Mark(Place(5, 1), 3)}, 1, Origin())
    return hooks


async def claimed(hooks: Hooks, owner: str, lease_ms: int = LEASE_MS) -> Claim:
    claim = await hooks.claim(HOOK.id, owner, lease_ms)
    assert claim, f"{owner} was not given the lease"
    return claim


async def advance(hooks: Hooks, claim: Claim, *, ordinal: int) -> bool:
    progress = Progress(marks={7: Mark(Place(9, 0), ordinal)}, delivered=ordinal)
    return await hooks.advance(claim, progress, succeeded=True, error=None, retry_in_ms=None)


async def test_one_at_a_time_holds_it_and_renews_it(hooks: Hooks) -> None:
    first = await claimed(hooks, "a/1")
    assert (first.webhook, first.progress.marks) == (HOOK, {7: Mark(Place(5, 1), 3)})

    assert await hooks.claim(HOOK.id, "b/2", LEASE_MS) is None
    assert (await claimed(hooks, "a/1")).token == first.token
    assert (await hooks.progress(HOOK.id)).replica == "a"


async def test_of_many_who_ask_at_once_one_gets_it(hooks: Hooks) -> None:
    claims = await asyncio.gather(
        *(hooks.claim(HOOK.id, f"r/{number}", LEASE_MS) for number in range(50))
    )

    assert len([claim for claim in claims if claim]) == 1


async def test_a_holder_that_was_overtaken_changes_nothing(
    hooks: Hooks, redis_server: RedisServer
) -> None:
    slow = await claimed(hooks, "a/1")
    with redis_server.client() as client:
        client.delete(f"sekring:{{00}}:hooklease:{HOOK.id}")  # as when it expires
    new = await claimed(hooks, "b/2")
    assert new.token > slow.token
    assert await advance(hooks, new, ordinal=10)

    assert not await advance(hooks, slow, ordinal=4)
    assert not await hooks.disable(slow, "It is slow.")
    await hooks.release(slow, "a/1")

    progress = await hooks.progress(HOOK.id)
    assert (progress.marks[7].ordinal, progress.delivered, progress.replica) == (10, 10, "b")
    assert (await hooks.all())[HOOK.id].disabled == ""


async def test_a_lease_that_is_given_up_is_free_at_once(hooks: Hooks) -> None:
    first = await claimed(hooks, "a/1")
    assert await advance(hooks, first, ordinal=8)
    await hooks.release(first, "a/1")

    second = await claimed(hooks, "b/2")

    assert second.token == first.token + 1
    assert second.progress.marks == {7: Mark(Place(9, 0), 8)}


async def test_a_lease_ends_by_itself(hooks: Hooks) -> None:
    await claimed(hooks, "a/1", lease_ms=1)
    await asyncio.sleep(0.05)

    await claimed(hooks, "b/2")


async def test_of_a_deleted_one_nothing_is_left(hooks: Hooks, redis_server: RedisServer) -> None:
    claim = await claimed(hooks, "a/1")
    assert await hooks.delete(HOOK.id, Origin())

    assert await hooks.claim(HOOK.id, "a/1", LEASE_MS) is None
    assert not await advance(hooks, claim, ordinal=4)
    assert not await hooks.disable(claim, "It is late.")
    assert not await hooks.delete(HOOK.id, Origin())
    with redis_server.client() as client:
        left = client.keys("*hook*")
    assert left == []


async def test_there_may_be_so_many_and_no_more(hooks: Hooks) -> None:
    other = Webhook(id="wh_000000000002", url="http://localhost/", secret="", created_ms=2)

    assert not await hooks.create(other, {}, 1, Origin())
    assert await hooks.create(HOOK, {}, 1, Origin())  # as when an answer was lost
    assert await hooks.create(other, {}, 2, Origin())
    assert set(await hooks.all()) == {HOOK.id, other.id}


def test_neither_address_nor_secret_is_in_its_words() -> None:
    assert repr(HOOK) == f"{HOOK}" == "Webhook(wh_000000000001)"
