"""The scripts of errands: said again, since an answer was lost, they change nothing twice."""

import asyncio
from typing import Any

import pytest

from sekring.sessions.bells import Bells
from sekring.sessions.errands import Errands
from sekring.sessions.sealing import Seal
from sekring.store.errand_contract import (
    AnswerErrandRequest,
    PostErrandRequest,
    PutQrRequest,
    TakeErrandsRequest,
)
from sekring.store.errand_scripts import ErrandScripts
from sekring.store.keys import Keyspace
from sekring.store.postbox import Postbox
from sekring.store.redis import RedisLink
from sekring.store.session_contract import ClaimLeasesRequest, WantSessionRequest
from sekring.store.session_scripts import SessionScripts

ID = "6281234567890"
ERRAND = "0123456789abcdef01234567"


@pytest.fixture
def keyspace() -> Keyspace:
    return Keyspace(partitions=1)


@pytest.fixture
def errands(link: RedisLink, keyspace: Keyspace) -> ErrandScripts:
    return ErrandScripts(link, keyspace)


@pytest.fixture
def postbox(link: RedisLink, keyspace: Keyspace) -> Postbox:
    return Postbox(link, keyspace)


async def own(link: RedisLink, *names: str, gateway: str = "g") -> dict[str, int]:
    """Have the gateway own sessions; return the tokens."""
    scripts = SessionScripts(link, Keyspace(partitions=1))
    for name in names:
        await scripts.want_session(WantSessionRequest(instance_id=name))
    claim = ClaimLeasesRequest(gateway=gateway, limit=1_000, ttl_ms=60_000)
    return {one.instance_id: one.token for one in (await scripts.claim_leases(0, claim)).leases}


def posting(**fields: Any) -> PostErrandRequest:
    chosen = {"id": ERRAND, "kind": "send", "ttl_ms": 30_000, "awaited": True, "limit": 3}
    return PostErrandRequest(instance_id=ID, **{**chosen, **fields})


def taking(call: str = "take-1", **fields: Any) -> TakeErrandsRequest:
    return TakeErrandsRequest(**{"instance_id": ID, "gateway": "g", "id": call, **fields})


async def test_an_errand_said_twice_waits_once(link: RedisLink, errands: ErrandScripts) -> None:
    await own(link, ID)
    for _ in range(2):
        posted = await errands.post_errand(posting())
        assert (posted.queued, posted.gateway) == (True, "g")

    assert [one.id for one in (await errands.take_errands(taking())).errands] == [ERRAND]


async def test_an_errand_said_again_after_it_was_taken_is_not_handed_out_again(
    link: RedisLink, errands: ErrandScripts
) -> None:
    await own(link, ID)
    await errands.post_errand(posting())
    await errands.take_errands(taking())

    await errands.post_errand(posting())

    assert (await errands.take_errands(taking("take-2"))).errands == ()


async def test_a_taking_said_twice_gets_the_same_and_another_nothing(
    link: RedisLink, errands: ErrandScripts
) -> None:
    await own(link, ID)
    await errands.post_errand(posting(body="sealed"))

    taken = [(await errands.take_errands(taking(call))).errands for call in ("a", "a", "b")]

    assert [[(one.id, one.body) for one in part] for part in taken] == [
        [(ERRAND, "sealed")],
        [(ERRAND, "sealed")],
        [],
    ]


async def test_an_answer_said_twice_is_awaited_both_times(
    errands: ErrandScripts, postbox: Postbox
) -> None:
    await errands.post_errand(posting())
    assert await postbox.answer(ID, ERRAND) is None

    for answer, awaited in (("one", True), ("one", True), ("two", False)):
        request = AnswerErrandRequest(id=ERRAND, answer=answer)
        assert await errands.answer_errand(ID, request) is awaited

    assert await postbox.answer(ID, ERRAND) == "one"


async def test_no_more_wait_than_may(link: RedisLink, errands: ErrandScripts) -> None:
    posted = [await errands.post_errand(posting(id=f"{n}")) for n in range(4)]

    assert [one.queued for one in posted] == [True, True, True, False]
    await own(link, ID)
    assert len((await errands.take_errands(taking())).errands) == 3


async def test_those_that_expired_make_room_and_are_not_handed_out(
    link: RedisLink, errands: ErrandScripts
) -> None:
    await own(link, ID)
    for number in range(3):
        await errands.post_errand(posting(id=f"old-{number}", ttl_ms=1))
    # Longer lived, so that the list stays.
    await errands.post_errand(posting(id="kept", limit=4))
    await asyncio.sleep(0.01)

    assert (await errands.post_errand(posting(id="new", limit=2))).queued is True
    taken = (await errands.take_errands(taking())).errands
    assert [one.id for one in taken] == ["kept", "new"]
    assert all(0 < one.expires_in_ms <= 30_000 for one in taken)


async def test_of_what_nobody_waits_for_one_of_a_kind_is_enough(
    link: RedisLink, errands: ErrandScripts
) -> None:
    await own(link, ID)
    for number in range(10):
        await errands.post_errand(posting(id=f"r{number}", kind="retry", awaited=False))
        await errands.post_errand(posting(id=f"q{number}", kind="qr", awaited=False))

    taken = (await errands.take_errands(taking())).errands

    assert [one.id for one in taken] == ["r9", "q9"]


async def test_a_code_of_an_older_lease_is_not_taken(
    link: RedisLink, errands: ErrandScripts, postbox: Postbox
) -> None:
    token = (await own(link, ID))[ID]

    def showing(code: str, **fields: Any) -> PutQrRequest:
        chosen = {"gateway": "g", "token": token, "expires_in_ms": 20_000}
        return PutQrRequest(instance_id=ID, code=code, **{**chosen, **fields})

    assert await errands.put_qr(showing("mine")) is True
    assert await errands.put_qr(showing("older", token=token - 1)) is False
    assert await errands.put_qr(showing("another's", gateway="h")) is False

    stored = await postbox.qr(ID)
    assert stored is not None
    assert (stored.token, stored.sealed) == (token, "mine")


async def test_of_more_sessions_than_one_look_takes_none_is_forgotten(
    link: RedisLink, errands: ErrandScripts, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sekring.sessions.errands._LOOKS_MAX", 2)
    bells = Bells()
    desk = Errands(errands, postbox, bells, Seal(None))
    names = [f"session-{number}" for number in range(5)]
    await own(link, *names)
    for name in names:
        await desk.post(name, "qr", 30)
        bells.ring("errand:g", name)

    looks = [await desk.take("g", 0, asyncio.Event()) for _ in range(3)]

    assert [len(errands) for errands in looks] == [2, 2, 1]
    assert {one.instance_id for errands in looks for one in errands} == set(names)
