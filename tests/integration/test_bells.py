"""Bells: they wake whoever waits on any replica, and leave the replicas' views exact."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator

import pytest

from sekring.errors import ServiceStopping, StoreUnavailable
from sekring.http.runtime import Runtime
from sekring.sessions.bells import Bells
from sekring.store.assemble import read
from sekring.store.contract import ViewRequest
from tests.replica import WHO, permits, refuses, replica_on, trip, until
from tests.servers import RedisServer

ID = "6281234567890"

#: Longer than any waiting here may take, and no multiple of a second look.
PATIENCE_S = 20


@pytest.fixture
async def here(redis_server: RedisServer) -> AsyncIterator[Runtime]:
    async with replica_on(redis_server) as runtime:
        yield runtime


@pytest.fixture
async def there(redis_server: RedisServer) -> AsyncIterator[Runtime]:
    async with replica_on(redis_server) as runtime:
        yield runtime


def ring(server: RedisServer, runtime: Runtime, topic: str, about: str = "") -> None:
    """Ring a bell as scripts do: through the shared part that all of them include."""
    partition = runtime.keyspace.partition_of(ID)
    parts = "\n".join(read(f"shared/{part}") for part in ("request", "announce"))
    message = f"{{ bell = '{topic}', about = '{about}' }}"
    text = f"{parts}\nreceive(ARGV)\nannounce(KEYS[1], KEYS[2], {message})"
    keys = [runtime.keyspace.totals(partition), runtime.keyspace.view(partition)]
    with server.client() as client:
        client.eval(text, 2, *keys, b"\x80")


def count_readings(runtime: Runtime) -> list[int]:
    """Return a list that grows with every partition that is read anew from now on."""
    readings: list[int] = []
    read_anew = runtime.replica._read_anew

    def counting(number: int) -> None:
        readings.append(number)
        read_anew(number)

    runtime.replica._read_anew = counting  # type: ignore[method-assign]
    return readings


async def test_a_bell_is_heard_on_every_replica(
    here: Runtime, there: Runtime, redis_server: RedisServer
) -> None:
    with (
        here.bells.listening("qr:a") as first,
        there.bells.listening("qr:a") as second,
        there.bells.listening("qr:b") as another,
    ):
        ring(redis_server, here, "qr:a")

        async with asyncio.timeout(PATIENCE_S):
            await first.wait()
            await second.wait()
        assert not another.is_set()


async def test_a_view_stays_exact_with_bells_between_its_messages(
    here: Runtime, there: Runtime, redis_server: RedisServer
) -> None:
    partition = there.keyspace.partition_of(ID)
    ring(redis_server, here, "the first number is a time, which looks like a gap")
    seen = there.replica._partitions[partition]
    await until(lambda: seen.seq and seen.live)
    readings = count_readings(there)
    for number in range(3):
        ring(redis_server, here, f"errand:gateway-{number}", ID)
        await trip(here, ID)
        ring(redis_server, here, f"qr:{number}")
        await until(lambda: refuses(there, ID))
        await here.breaker.reset(ID, WHO)
        ring(redis_server, here, f"answer:{number}")
        await until(lambda: permits(there, ID))
    await trip(here, ID)
    await until(lambda: refuses(there, ID))

    assert readings == []
    view = await here.scripts.view(partition, ViewRequest())
    assert seen.seq == view.seq
    assert set(seen.facts) == {ID} == set(view.instances[::2])


async def test_a_bell_behind_a_lost_message_has_the_partition_read_anew(
    here: Runtime, there: Runtime, redis_server: RedisServer
) -> None:
    there.replica.message = lambda *_: None  # type: ignore[method-assign]
    await trip(here, ID)
    await asyncio.sleep(0.1)  # for what is to be lost
    assert not refuses(there, ID)
    del there.replica.message

    ring(redis_server, here, "qr:a")

    await until(lambda: refuses(there, ID))


async def test_what_a_bell_was_about_is_kept_for_those_who_come_later(
    here: Runtime, redis_server: RedisServer
) -> None:
    ring(redis_server, here, "errand:one", "a")
    ring(redis_server, here, "errand:one", "b")
    ring(redis_server, here, "errand:one", "a")
    ring(redis_server, here, "errand:two", "c")

    await until(lambda: "errand:two" in here.bells._about)
    assert here.bells.take("errand:one") == ["a", "b"]
    assert here.bells.take("errand:one") == []
    assert here.bells.take("errand:two") == ["c"]


async def test_it_is_forgotten_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    bells = Bells()
    bells.ring("errand:one", "old")
    monkeypatch.setattr("sekring.sessions.bells._REMEMBERED_S", 0.0)
    await asyncio.sleep(0.001)
    bells.ring("errand:two", "new")

    assert bells.take("errand:one") == []
    assert bells.take("errand:two") == ["new"]
    assert len(bells._rung) == 1


async def test_whoever_waits_looks_by_himself_where_a_bell_is_missed() -> None:
    looks = itertools.count(1)

    async def third_time() -> int | None:
        look = next(looks)
        return look if look == 3 else None

    assert await Bells().until("never rung", third_time, PATIENCE_S) == 3


async def test_he_waits_no_longer_than_he_said() -> None:
    async def nothing() -> str | None:
        return None

    began_s = time.monotonic()
    assert await Bells().until("never rung", nothing, 0.05) is None
    assert time.monotonic() - began_s >= 0.05
    assert Bells()._waiting == {}


async def test_redis_may_be_away_for_a_while() -> None:
    answers = iter([StoreUnavailable("away"), None, "there"])

    async def look() -> str | None:
        answer = next(answers)
        if isinstance(answer, StoreUnavailable):
            raise answer
        return answer

    assert await Bells().until("never rung", look, PATIENCE_S) == "there"


async def test_redis_that_stays_away_is_said() -> None:
    async def look() -> None:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        await Bells().until("never rung", look, 0.01)


async def test_a_stop_ends_the_waiting() -> None:
    bells = Bells()

    async def nothing() -> None:
        return None

    waiting = asyncio.create_task(bells.until("never rung", nothing, 3_600))
    await asyncio.sleep(0.01)
    bells.close()

    with pytest.raises(ServiceStopping):
        await waiting
    with contextlib.suppress(ServiceStopping):
        await bells.until("never rung", nothing, 3_600)
