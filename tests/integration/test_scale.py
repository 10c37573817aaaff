"""A large fleet: no call holds Redis up, sums are exact, listings are complete.

How long a call takes is Redis' own measure (SLOWLOG), and it goes by the clock on the wall: a busy
machine holds up any call now and then. A call is slow if it is slow, on the same keys, in every
round.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import redis
from msgspec import structs

from sekring.fleetguard import Guard
from sekring.model import Origin
from sekring.policies import Policies
from sekring.policy import DAY_MS, PolicyPatch
from sekring.replica import Replica
from sekring.store.keys import Keyspace
from sekring.store.library import Library
from sekring.store.reads import Reads
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.sweep import Sweep
from tests.population import Population
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess

#: In CI, and with `--full`.
POPULATIONS = {False: Population(10_000, 500, 50), True: Population(100_000, 5_000, 500)}

#: What no call may take longer than, in microseconds.
SLOW_US = 5_000
ROUNDS = 3

PATIENCE_S = 120


#: Nothing leaves the window, and no attempt is given up, while the tests go on.
LASTING = PolicyPatch(window_ms=DAY_MS, cooldown_ms=DAY_MS, probe_ttl_ms=3_600_000)


class Fleet(NamedTuple):
    """A population, the service that serves it, and its Redis."""

    population: Population
    service: ServiceProcess
    server: RedisServer


class Store(NamedTuple):
    """What a replica reaches Redis by."""

    scripts: Scripts
    reads: Reads
    keyspace: Keyspace
    policies: Policies


@contextlib.asynccontextmanager
async def store(server: RedisServer) -> AsyncIterator[Store]:
    link = RedisLink(server.url, timeout_ms=60_000)
    keyspace = Keyspace()
    scripts, reads = Scripts(link, keyspace), Reads(link, keyspace)
    yield Store(scripts, reads, keyspace, Policies(scripts, reads, keyspace))
    await link.close()


async def settle_in(population: Population, server: RedisServer, policy: PolicyPatch) -> None:
    async with store(server) as there:
        await there.policies.change_fleet(policy, Origin())
        await population.settle_in(there.scripts)


async def sweep_all(server: RedisServer) -> None:
    """Sweep as a replica does after a change of policy, which makes every instance due."""
    async with store(server) as there:
        await there.policies.change_fleet(PolicyPatch(success_clears=True), Origin())
        sweep = Sweep(
            there.scripts,
            there.reads,
            there.keyspace,
            there.policies,
            replica=Replica(there.scripts, there.keyspace, staleness_ms=0),
            guard=Guard(there.scripts, there.reads),
        )
        while await sweep.once():
            pass


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, *, full: bool) -> Iterator[Fleet]:
    """One population for all tests below; what changes it comes last."""
    population = POPULATIONS[full]
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        asyncio.run(settle_in(population, server, LASTING))
        with ServiceProcess(
            server.url, request_timeout_ms=60_000, redis_timeout_ms=20_000
        ) as service:
            yield Fleet(population, service, server)


def pages(http: httpx.Client, state: str | None, limit: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the pages of a listing."""
    params = {"limit": str(limit)} | ({"state": state} if state else {})
    while True:
        page = http.get("/v1/instances", params=params).raise_for_status().json()
        assert len(page["instances"]) <= limit
        yield page["instances"]
        if page["cursor"] is None:
            return
        params["cursor"] = page["cursor"]


def names(listing: Iterator[list[dict[str, Any]]]) -> list[str]:
    return [instance["instance_id"] for page in listing for instance in page]


def test_health_is_exact(fleet: Fleet) -> None:
    data = httpx.get(f"{fleet.service.url}/health", timeout=PATIENCE_S).json()["data"]

    assert data["total_instances"] == fleet.population.known
    assert data["active_connections"] == fleet.population.connected
    assert data["connecting"] == fleet.population.connecting
    assert data["circuit_breaker_activations"] == fleet.population.tripped
    assert data["total_recent_failures"] == fleet.population.failures


def test_a_listing_has_every_instance_once(fleet: Fleet) -> None:
    with httpx.Client(base_url=fleet.service.url, timeout=PATIENCE_S) as http:
        listed = names(pages(http, None, 1000))

    assert len(listed) == fleet.population.known
    assert set(listed) == set(fleet.population.instances)


def test_a_listing_by_state_has_those_alone(fleet: Fleet) -> None:
    with httpx.Client(base_url=fleet.service.url, timeout=PATIENCE_S) as http:
        opened = names(pages(http, "open", 70))
        closed = names(pages(http, "closed", 1000))
        forced = names(pages(http, "forced_open", 1000))

    assert sorted(opened) == sorted(fleet.population.open_instances)
    assert len(closed) == len(set(closed)) == fleet.population.known - fleet.population.tripped
    assert set(closed).isdisjoint(opened)
    assert forced == []


def test_nothing_holds_redis_up(fleet: Fleet) -> None:
    always_slow: set[tuple[str, str]] | None = None
    with (
        fleet.server.client() as client,
        httpx.Client(base_url=fleet.service.url, timeout=PATIENCE_S) as http,
    ):
        for _ in range(ROUNDS):
            watch(client)
            read_everything(http)
            http.put("/v1/policy", json={"min_reporters": 1}).raise_for_status()
            asyncio.run(sweep_all(fleet.server))
            slow = slow_calls(client)
            always_slow = slow if always_slow is None else always_slow & slow
            print(f"\n{figures(http, client, slow)}")  # noqa: T201 - shown with -s
            if not always_slow:
                break

    assert not always_slow


def test_all_open_breakers_are_reset_at_once(fleet: Fleet) -> None:
    with httpx.Client(base_url=fleet.service.url, timeout=PATIENCE_S) as http:
        counts = http.post("/v1/resets", json={"state": "open"}).raise_for_status().json()
        health = http.get("/health").json()["data"]

        assert counts == {
            "requested": fleet.population.tripped,
            "reset": fleet.population.tripped,
            "unchanged": 0,
            "banned": 0,
        }
        assert names(pages(http, "open", 100)) == []
    assert health["circuit_breaker_activations"] == 0
    assert health["total_recent_failures"] == (
        fleet.population.failures - 15 * fleet.population.tripped
    )
    assert health["total_instances"] == fleet.population.known


def test_health_answers_while_much_is_due(tmp_path: Path, *, full: bool) -> None:
    """Everybody connected at once, so everybody's success is credited at once; nobody has swept."""
    population = Population(POPULATIONS[full].known, failing=0, tripped=0)
    with RedisServer(tmp_path) as server:
        policy = structs.replace(LASTING, stable_after_ms=1)
        asyncio.run(settle_in(population, server, policy))
        with (
            ServiceProcess(
                server.url, request_timeout_ms=60_000, redis_timeout_ms=20_000
            ) as service,
            httpx.Client(base_url=service.url, timeout=PATIENCE_S) as http,
        ):
            for _ in range(10):
                data = http.get("/health").raise_for_status().json()["data"]
                assert data["total_instances"] == population.known
                assert data["active_connections"] == population.connected
            wait_until(
                lambda: not http.get("/health").json()["data"]["lagging"], "the sweep", PATIENCE_S
            )


def read_everything(http: httpx.Client) -> None:
    for _ in range(20):
        http.get("/health").raise_for_status()
    for state in (None, "open", "closed"):
        names(pages(http, state, 1000))
    for number in (0, 1_000, 9_000):
        http.get(f"/circuit-breaker-status/62{number:09}").raise_for_status()
        http.get(f"/v1/instances/62{number:09}").raise_for_status()


# ------------------------------------------------------------------------- what Redis measured


def watch(client: redis.Redis) -> None:
    """Have Redis write down from now on what takes longer than a millisecond."""
    client.config_set("slowlog-log-slower-than", 1_000)
    client.config_set("slowlog-max-len", 10_000)
    client.slowlog_reset()


def measured(client: redis.Redis) -> dict[tuple[str, str], int]:
    """Return the longest time, in µs, of each call by its script (or command) and first key."""
    names = {script.function: name for name, script in Library.build().scripts.items()}
    longest: dict[tuple[str, str], int] = {}
    for entry in client.slowlog_get(10_000):
        words = entry["command"].decode(errors="replace").split()
        if len(words) < 2:  # a TIME or PING was held up
            continue
        script = words[0] == "FCALL"
        call = (names.get(words[1], words[1]), words[3]) if script else (words[0], words[1])
        longest[call] = max(longest.get(call, 0), entry["duration"])
    return longest


def slow_calls(client: redis.Redis) -> set[tuple[str, str]]:
    return {call for call, time_us in measured(client).items() if time_us > SLOW_US}


def figures(http: httpx.Client, client: redis.Redis, slow: set[tuple[str, str]]) -> str:
    started = time.perf_counter()
    for _ in range(10):
        http.get("/health").raise_for_status()
    health_ms = (time.perf_counter() - started) * 100
    spread = client.info("latencystats").get("latency_percentiles_usec_fcall")
    longest = Counter[str]()
    for (name, _), time_us in measured(client).items():
        longest[name] = max(longest[name], time_us)
    return (
        f"above 1 ms, longest by script in µs: {dict(longest)}; above 5 ms: {len(slow)} calls; "
        f"FCALL in µs: {spread}; /health: {health_ms:.1f} ms"
    )
