"""The scripts as a library of functions in Redis: versions beside each other, and none too many."""

import pytest
import redis

from sekring.errors import StoreUnavailable
from sekring.model import Origin
from sekring.requests import ReportRequest
from sekring.store.contract import Made, TripRequest
from sekring.store.keys import Keyspace
from sekring.store.library import KEPT, Library, Script
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.taxonomy import Effect
from tests.servers import RedisServer

ID = "6281234567890"


class Other(Scripts):
    """The scripts of another version: the same texts under another digest."""

    def __init__(self, link: RedisLink, version: str) -> None:
        super().__init__(link, Keyspace())
        mine = Library.build()
        digest = mine.name.rpartition("_")[2]
        scripts = {
            name: Script(name, script.function.replace(digest, version))
            for name, script in mine.scripts.items()
        }
        self._scripts = scripts
        link.know(Library(f"sekring_{version}", mine.text.replace(digest, version), scripts))


def libraries(client: "redis.Redis") -> set[str]:
    return {library[b"library_name"].decode() for library in listed(client)}


def listed(client: "redis.Redis") -> list[dict[bytes, bytes]]:
    found = client.function_list("sekring_*")
    return [dict(zip(one[::2], one[1::2], strict=True)) for one in found]


def failure(instance_id: str, report_id: str) -> ReportRequest:
    return ReportRequest(
        instance_id=instance_id, id=report_id, outcome="failure", effect=Effect.COUNT, kind="dns"
    )


async def count(scripts: Scripts, report_id: str) -> int:
    return (await scripts.report(failure(ID, report_id))).failures


async def test_replicas_of_two_versions_count_together(
    redis_server: RedisServer, link: RedisLink
) -> None:
    new, old = Scripts(link, Keyspace()), RedisLink(redis_server.url, timeout_ms=5_000)
    other = Other(old, "0000000000aa")
    counted = [await count(scripts, f"r{n}") for n, scripts in enumerate([new, other] * 3)]
    assert counted == [1, 2, 3, 4, 5, 6]
    with redis_server.client() as client:
        assert libraries(client) >= {Library.build().name, "sekring_0000000000aa"}
    await old.close()


async def test_outdated_versions_do_not_pile_up(redis_server: RedisServer) -> None:
    links = [RedisLink(redis_server.url, timeout_ms=5_000) for _ in range(3 * KEPT)]
    versions = [Other(link, f"{n:012x}") for n, link in enumerate(links)]
    with redis_server.client() as client:
        client.function_flush()
        for n, version in enumerate(versions):
            await count(version, f"r{n}")
            assert len(libraries(client)) <= KEPT
        # One that is still called comes back by itself.
        await count(versions[0], "again")
        assert "sekring_000000000000" in libraries(client)
    for link in links:
        await link.close()


async def test_a_foreign_library_stays(redis_server: RedisServer, scripts: Scripts) -> None:
    with redis_server.client() as client:
        client.function_flush()
        client.function_load(
            "#!lua name=somebody\nredis.register_function('somebodys', function() return 1 end)"
        )
        await count(scripts, "r")
        assert client.fcall("somebodys", 0) == 1


async def test_a_call_that_failed_halfway_leaves_nothing_to_the_next(
    redis_server: RedisServer, scripts: Scripts
) -> None:
    """What a function remembers from call to call must not be a call's own affairs."""
    origin = Origin(actor="a", trace_id="1" * 32, span_id="2" * 16)
    with redis_server.client() as client:
        await scripts.report(failure("broken", "r"))
        view = Keyspace().view(Keyspace().partition_of("broken"))
        client.set(view, "no hash")  # the trip is on record before it is shown
        with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
            await scripts.trip(TripRequest(instance_id="broken", for_ms=60_000, origin=origin))
        client.delete(view)
    told: list[Made] = []
    scripts.on_transition(told.append)
    await scripts.trip(TripRequest(instance_id="sound", for_ms=60_000, origin=origin))
    assert [(made.instance_id, made.action) for made in told] == [("sound", "force_open")]
