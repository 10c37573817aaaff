"""A cluster and a sentinel trio answer as a single server does, through failovers and moves."""

import asyncio
import contextlib
import itertools
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import msgspec
import pytest
import redis
from redis.crc import key_slot
from redis.exceptions import AskError, TryAgainError

from sekring.doctor.examination import examine
from sekring.errors import StoreUnavailable
from sekring.store.contract import PermitRequest, ReportRequest, SnapshotRequest
from sekring.store.keys import Keyspace
from sekring.store.library import Library
from sekring.store.reads import Reads
from sekring.store.records import Records
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.taxonomy import Effect
from sekring.trend import Trend
from sekring.wire import FailuresAnswer
from tests.clusters import Cluster, ClusterNode
from tests.conftest import check_keys
from tests.sentinels import Sentinels
from tests.servers import PASSWORD, RedisServer, free_port, wait_until
from tests.serving import ServiceProcess

KEYSPACE = Keyspace()

#: How long a failover may take, in seconds; no test asserts that it takes less.
PATIENCE_S = 40


class Deployment:
    """What the two kinds of deployments have in common, for tests of both."""

    def __init__(self, servers: Cluster | Sentinels) -> None:
        self.servers = servers
        self.url = servers.url
        self.all: list[RedisServer] = []
        self.all += servers.nodes if isinstance(servers, Cluster) else servers.servers

    def primary_of(self, key: str) -> RedisServer:
        if isinstance(self.servers, Cluster):
            return self.servers.primary_of(key)
        return self.servers.master()

    def primaries(self) -> list[RedisServer]:
        found = []
        for server in self.all:
            with server.client() as client:
                if client.info("replication")["role"] == "master":
                    found.append(server)
        return found

    def fail_over(self, key: str) -> None:
        if isinstance(self.servers, Cluster):
            self.servers.fail_over(key)
        else:
            self.servers.fail_over()


@pytest.fixture(params=["cluster", "sentinels"])
def deployment(request: pytest.FixtureRequest) -> Deployment:
    """Each kind of deployment, whole."""
    return Deployment(request.getfixturevalue(request.param))


@contextlib.asynccontextmanager
async def linked(url: str, timeout_ms: int = 500) -> AsyncIterator[tuple[RedisLink, Scripts]]:
    """Open a link to `url`, with all scripts."""
    link = RedisLink(url, timeout_ms=timeout_ms)
    try:
        yield link, Scripts(link, KEYSPACE)
    finally:
        await link.close()


_names = itertools.count()


def fresh_names(count: int, near: str | None = None) -> list[str]:
    """Return ids that no test has used; with `near` in the partition of that one."""
    names = (f"i{n}-{time.monotonic_ns()}" for n in _names)
    partition = KEYSPACE.partition_of(near) if near else None
    wanted = (
        name for name in names if partition is None or KEYSPACE.partition_of(name) == partition
    )
    return list(itertools.islice(wanted, count))


def key_of(name: str) -> str:
    """Return the first key of an instance."""
    return KEYSPACE.instance(name)[0]


def a_failure(name: str, report_id: str) -> ReportRequest:
    return ReportRequest(
        instance_id=name, id=report_id, outcome="failure", effect=Effect.COUNT, kind="dns"
    )


async def insist(call: Callable[[], Awaitable[object]]) -> object:
    """Repeat `call` until Redis takes it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await call()
        except StoreUnavailable:
            assert time.monotonic() < deadline, f"not taken for {PATIENCE_S} s"
            await asyncio.sleep(0.02)


async def count(scripts: Scripts, name: str, first: int, last: int) -> None:
    """Report failures `first` to `last` of an instance one after the other; each must count once.

    One whose answer is lost is reported again under its id, as gateways do.
    """
    for n in range(first, last + 1):
        verdict = await insist(lambda n=n: scripts.report(a_failure(name, f"r{n}")))  # type: ignore[misc]
        assert verdict.failures == n, f"{name}: {verdict}"  # type: ignore[attr-defined]


async def count_all(scripts: Scripts, names: list[str], first: int, last: int) -> None:
    """Do so for all instances at once."""
    await asyncio.gather(*(count(scripts, name, first, last) for name in names))


@contextlib.asynccontextmanager
async def load(scripts: Scripts, near: str | None = None) -> AsyncIterator[None]:
    """Count on ever new instances, ten at a time; in the end none may have lost a failure."""
    stop = asyncio.Event()
    names: list[str] = []

    async def go_on() -> None:
        while not stop.is_set():
            names.extend(fresh_names(10, near))
            await count_all(scripts, names[-10:], 1, 10)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(go_on())
    try:
        await asyncio.sleep(0.1)
        yield
        await asyncio.sleep(0.1)
    finally:
        stop.set()
        await task
    for name in names:
        reading = await scripts.snapshot(SnapshotRequest(instance_id=name))
        assert reading.snapshot.failures == 10, f"{name}: {reading}"


async def confirm_all(link: RedisLink, names: list[str], since_s: float) -> None:
    """Fail unless everything written for these instances since then is on a replica."""
    keys = {KEYSPACE.partition_of(name): key_of(name) for name in names}
    confirmed = await asyncio.gather(
        *(link.confirm(key, 1, 5_000, since_s) for key in keys.values())
    )
    assert all(confirmed)


async def available(link: RedisLink, key: str, *, wanted: bool = True) -> None:
    """Wait until `key` is available, or is not."""
    deadline = time.monotonic() + PATIENCE_S
    while link.available(key) is not wanted:
        assert time.monotonic() < deadline, f"waited for available({key}) to be {wanted}"
        await asyncio.sleep(0.01)


# --------------------------------------------------------------------------- in peace


async def test_the_same_scripts_give_the_same_answers(deployment: Deployment) -> None:
    async with linked(deployment.url, timeout_ms=5_000) as (link, scripts):
        names = fresh_names(60)
        await count_all(scripts, names, 1, 6)
        readings = await asyncio.gather(
            *(scripts.snapshot(SnapshotRequest(instance_id=name)) for name in names)
        )
        assert [reading.snapshot.failures for reading in readings] == [6] * len(names)
        (one,) = fresh_names(1)
        verdicts = await asyncio.gather(
            *(scripts.report(a_failure(one, f"r{n}")) for n in range(30))
        )
        assert [verdict.failures for verdict in verdicts[:15]] == list(range(1, 16))
        assert [verdict.tripped for verdict in verdicts].index(True) == 14
        assert not (await scripts.permit(PermitRequest(instance_id=one))).permitted
        reads = Reads(link, KEYSPACE)
        await reads.ping()
        assert [entry.action for entry in await reads.history(one, 1)] == ["trip"]
        assert one in await reads.page(KEYSPACE.partition_of(one), "open", None, 1000)
    for server in deployment.primaries():
        check_keys(server)


async def test_flushed_scripts_and_closed_connections_heal(deployment: Deployment) -> None:
    async with linked(deployment.url, timeout_ms=5_000) as (_, scripts):
        names = fresh_names(20)
        for n in range(1, 6):
            await count_all(scripts, names, n, n)
            primaries = deployment.primaries()
            for server in deployment.all:
                with server.client() as client:
                    if server in primaries:
                        client.function_flush()
                    client.client_kill_filter(_type="normal", skipme=True)
        await count_all(scripts, names, 6, 8)


async def test_a_confirmed_write_is_on_a_replica(deployment: Deployment) -> None:
    async with linked(deployment.url, timeout_ms=5_000) as (link, scripts):
        (name,) = fresh_names(1)
        since_s = time.monotonic()
        await count(scripts, name, 1, 3)
        primary = deployment.primary_of(key_of(name))
        replicas = [server for server in deployment.all if server is not primary]
        assert await link.confirm(key_of(name), 1, 5_000, since_s)
        for replica in replicas:
            replica.signal(signal.SIGSTOP)
        confirmed = [await link.confirm(key_of(name), 1, 100, since_s)]
        # While that is waited for, calls go on.
        waiting = asyncio.gather(*(link.confirm(key_of(name), 1, 400, since_s) for _ in range(5)))
        await count(scripts, name, 4, 10)
        confirmed += await waiting
        for replica in replicas:
            replica.signal(signal.SIGCONT)
        assert confirmed == [False] * 6
        deadline = time.monotonic() + PATIENCE_S
        while not await link.confirm(key_of(name), 1, 1_000, since_s):
            assert time.monotonic() < deadline


# -------------------------------------------------------------------------- failovers


async def test_a_failover_by_hand_loses_and_invents_nothing(deployment: Deployment) -> None:
    async with linked(deployment.url) as (_, scripts):
        names = fresh_names(40)
        await count_all(scripts, names, 1, 12)
        async with load(scripts):
            await asyncio.to_thread(deployment.fail_over, key_of(names[0]))
        await count_all(scripts, names, 13, 14)


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
async def test_what_was_confirmed_survives_a_primary_and_counting_goes_on(
    deployment: Deployment, fault: signal.Signals
) -> None:
    async with linked(deployment.url) as (link, scripts):
        names = fresh_names(40)
        key = key_of(names[0])
        told: list[bool] = []
        since_s = time.monotonic()
        await count_all(scripts, names, 1, 5)
        await confirm_all(link, names, since_s)
        link.on_availability(lambda: told.append(link.available(key)))
        primary = deployment.primary_of(key)
        if fault is signal.SIGKILL:
            primary.kill()
        else:
            primary.signal(fault)
        counting = asyncio.create_task(count_all(scripts, names, 6, 12))
        await available(link, key, wanted=False)
        # The old primary may not vouch for what the new one has, nor the new one for the old.
        assert not await link.confirm(key, 1, 200, since_s)
        await available(link, key)
        assert not await link.confirm(key, 1, 200, since_s)
        await counting
        assert False in told
        assert told[-1]
        await asyncio.to_thread(
            wait_until, lambda: deployment.primary_of(key) is not primary, "all to know"
        )
        primary.revive()
        await count_all(scripts, names, 13, 14)
        # The new primary vouches for what it was told itself.
        deadline = time.monotonic() + PATIENCE_S
        while True:
            since_s = time.monotonic()
            await insist(lambda: scripts.permit(PermitRequest(instance_id=names[0])))
            if await link.confirm(key, 1, 1_000, since_s):
                break
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def test_the_failures_of_a_stopped_node_are_the_last_known_ones(cluster: Cluster) -> None:
    async with linked(cluster.url, timeout_ms=1_000) as (link, scripts):
        trend = Trend(Records(scripts, link, KEYSPACE))
        names = fresh_names(60)  # on every node
        await count_all(scripts, names, 1, 1)
        whole = await trend.failures()
        assert whole.degraded is False

        stopped = cluster.primary_of(key_of(names[0]))
        stopped.signal(signal.SIGSTOP)
        partly = await trend.failures()
        stopped.signal(signal.SIGCONT)
        await available(link, key_of(names[0]))

        assert partly.degraded is True
        assert total(partly) == total(whole) >= len(names)


def total(answer: FailuresAnswer) -> int:
    return sum(minute.failures for minute in answer.minutes)


async def test_a_stopped_node_does_not_stall_the_others(cluster: Cluster) -> None:
    async with linked(cluster.url, timeout_ms=1_000) as (link, scripts):
        here, *others = fresh_names(30)
        await count_all(scripts, [here, *others], 1, 1)
        stopped = cluster.primary_of(key_of(here))
        others = [name for name in others if cluster.primary_of(key_of(name)) is not stopped]
        assert others
        stopped.signal(signal.SIGSTOP)
        stalled = [
            asyncio.create_task(scripts.permit(PermitRequest(instance_id=here))) for _ in range(3)
        ]
        for n in (2, 3, 4):
            await asyncio.gather(*(scripts.report(a_failure(name, f"r{n}")) for name in others))
        assert not any(task.done() for task in stalled)
        await asyncio.gather(*stalled, return_exceptions=True)
        assert not link.available(key_of(here))
        stopped.signal(signal.SIGCONT)
        await available(link, key_of(here))


# --------------------------------------------------------------------- slots on the move


async def test_calls_follow_a_slot_that_has_moved_in_their_order(cluster: Cluster) -> None:
    async with linked(cluster.url, timeout_ms=5_000) as (_, scripts):
        (name,) = fresh_names(1)
        await count(scripts, name, 1, 1)
        move_away(cluster, name)
        verdicts = await asyncio.gather(
            *(scripts.report(a_failure(name, f"r{n}")) for n in range(2, 15))
        )
        assert [verdict.failures for verdict in verdicts] == list(range(2, 15))


async def test_counts_are_exact_while_a_slot_moves_under_load(cluster: Cluster) -> None:
    async with linked(cluster.url) as (_, scripts):
        (name,) = fresh_names(1)
        names = [name, *fresh_names(10, near=name)]
        await count_all(scripts, names, 1, 3)
        async with load(scripts, near=name):
            for _ in range(3):
                await asyncio.to_thread(move_away, cluster, name)
        await count_all(scripts, names, 4, 14)


async def test_a_half_moved_slot_is_waited_for_then_shut_and_opened_again(
    cluster: Cluster,
) -> None:
    async with linked(cluster.url, timeout_ms=1_000) as (link, scripts):
        (name,) = fresh_names(1)
        names = [name, *fresh_names(5, near=name)]
        elsewhere = next(one for one in fresh_names(99) if not same_node(cluster, one, name))
        await count_all(scripts, [*names, elsewhere], 1, 3)
        slot = key_slot(key_of(name).encode())
        source, target = cluster.primary_of(key_of(name)), other_primary(cluster, name)
        cluster.begin_move(slot, source, target)
        # What was moved is asked for where it went.
        before = await link.read("GET", key_of(name))
        source.ask("MIGRATE", "127.0.0.1", target.port, key_of(name), 0, 5000)
        assert await link.read("GET", key_of(name)) == before
        # A script needs all of its keys, and some are here, some there, some nowhere.
        waiting = asyncio.create_task(scripts.report(a_failure(name, "r4")))
        with pytest.raises(StoreUnavailable):
            await waiting
        await available(link, key_of(name), wanted=False)
        with pytest.raises(StoreUnavailable, match="Redis cannot be reached"):
            await scripts.report(a_failure(name, "r5"))
        await count(scripts, elsewhere, 4, 6)
        while cluster.move_keys(slot, source, target, 10):
            pass
        cluster.end_move(slot, source, target)
        await available(link, key_of(name))
        await count_all(scripts, names, 4, 14)


async def test_no_node_runs_a_call_while_its_slot_is_being_moved(cluster: Cluster) -> None:
    """A script names most keys itself, so none may run where only some of them are."""
    async with linked(cluster.url) as (_, scripts):
        (name,) = fresh_names(1)
        await count(scripts, name, 1, 3)
    library = Library.build()
    request = msgspec.msgpack.encode(a_failure(name, "r4"))
    keys = KEYSPACE.instance(name)
    call = ("FCALL", library.scripts["report"].function, len(keys), *keys, request)
    slot = key_slot(key_of(name).encode())
    source, target = cluster.primary_of(key_of(name)), other_primary(cluster, name)
    target.ask("FUNCTION", "LOAD", "REPLACE", library.text)
    cluster.begin_move(slot, source, target)
    moved = 0
    while True:
        for node in (source, target):
            with node.client() as client, client.pipeline(transaction=False) as pipeline:
                pipeline.execute_command("ASKING")
                pipeline.execute_command(*call)
                _, said = pipeline.execute(raise_on_error=False)
            assert isinstance(said, TryAgainError | AskError), (node is source, moved, said)
        if not cluster.move_keys(slot, source, target, 1):
            break
        moved += 1
    assert moved > 5
    cluster.end_move(slot, source, target)
    async with linked(cluster.url) as (_, scripts):
        await count(scripts, name, 4, 4)


def same_node(cluster: Cluster, one: str, other: str) -> bool:
    return cluster.primary_of(key_of(one)) is cluster.primary_of(key_of(other))


def other_primary(cluster: Cluster, name: str) -> ClusterNode:
    """Return a primary that does not have the instance's slot."""
    source = cluster.primary_of(key_of(name))
    return next(
        node for node in cluster.nodes if node is not source and node.ask("ROLE")[0] == b"master"
    )


def move_away(cluster: Cluster, name: str) -> None:
    """Move the instance's slot, with its keys, to another primary."""
    cluster.move(key_slot(key_of(name).encode()), other_primary(cluster, name))


# ------------------------------------------------------------------------ nobody there


@pytest.mark.parametrize("form", ["redis+cluster://{}", "redis+sentinel://{}/breakers"])
async def test_a_deployment_that_is_not_there_is_said_at_once(form: str) -> None:
    async with linked(form.format(f"127.0.0.1:{free_port()}")) as (link, scripts):
        with pytest.raises(StoreUnavailable):
            await scripts.permit(PermitRequest(instance_id="a"))
        await available(link, key_of("a"), wanted=False)
        with pytest.raises(StoreUnavailable, match="Redis cannot be reached"):
            await link.ping()
        assert not await link.confirm(key_of("a"), 1, 100, time.monotonic())


async def test_sentinels_that_do_not_know_the_service(sentinels: Sentinels) -> None:
    url = sentinels.url.replace("/breakers", "/others")
    async with linked(url) as (link, scripts):
        await available(link, key_of("a"))
        with pytest.raises(StoreUnavailable):
            await scripts.permit(PermitRequest(instance_id="a"))
        await available(link, key_of("a"), wanted=False)
        with pytest.raises(StoreUnavailable, match="No such master"):
            await scripts.permit(PermitRequest(instance_id="a"))


async def test_one_node_of_the_url_is_enough(cluster: Cluster) -> None:
    url = f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{cluster.nodes[5].port}"
    async with linked(url, timeout_ms=5_000) as (_, scripts):
        await count_all(scripts, fresh_names(20), 1, 2)


# --------------------------------------------------------------------- sekring doctor


async def examined(url: str) -> dict[str, set[str]]:
    """Return how each subject was found."""
    found: dict[str, set[str]] = {}
    for finding in await examine({"SEKRING_REDIS_URL": url}):
        found.setdefault(finding.subject, set()).add(finding.status)
    return found


async def test_the_doctor_finds_every_server(deployment: Deployment) -> None:
    found = await examined(deployment.url)
    well = ("redis", "version", "eviction", "clock", "writes", "rights")
    assert {subject: found[subject] for subject in well} == {subject: {"ok"} for subject in well}
    if isinstance(deployment.servers, Cluster):
        # One replica is what is waited for, and none is to spare.
        assert (found["cluster"], found["replicas"]) == ({"ok"}, {"warning"})
        assert found["coverage"] == {"not_checked"}
    else:
        assert (found["sentinels"], found["replicas"]) == ({"ok"}, {"ok"})


async def test_the_doctor_names_what_is_away(deployment: Deployment) -> None:
    primary = deployment.primary_of(key_of("a"))
    if isinstance(deployment.servers, Sentinels):
        deployment.servers.sentinels[0].kill()
    with primary.client() as client:
        info = client.info("replication")
        ports = {info[f"slave{n}"]["port"] for n in range(info["connected_slaves"])}
        for replica in (server for server in deployment.all if server.port in ports):
            replica.kill()
        wait_until(lambda: client.info("replication")["connected_slaves"] == 0, "none to be left")
    found = await examined(deployment.url)
    # A cluster's nodes name a replica no more that they have given up.
    away = {"warning"} if isinstance(deployment.servers, Sentinels) else set()
    assert {"ok"} | away <= found["redis"] <= {"ok", "warning"}
    assert "failure" in found["replicas"]


async def test_the_doctor_knows_a_sentinel_that_does_not_know_the_service(
    sentinels: Sentinels,
) -> None:
    found = await examined(sentinels.url.replace("/breakers", "/others"))
    assert found["redis"] == {"failure"}


async def test_the_doctor_says_that_a_single_server_is_a_clusters(cluster: Cluster) -> None:
    found = await examined(cluster.nodes[0].url)
    assert "failure" in found["redis"]


def test_on_sentinels_the_service_may_ask_for_the_primary_and_nothing_else(
    sentinels: Sentinels,
) -> None:
    port = sentinels.sentinels[0].port
    with redis.Redis(port=port, username="sekring", password=PASSWORD) as client:
        assert client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinels.service)
        for command in ("FAILOVER", "REMOVE", "REPLICAS"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command("SENTINEL", command, sentinels.service)


# ------------------------------------------------------------------------- the service


async def test_the_service_runs_on_it(deployment: Deployment) -> None:
    with ServiceProcess(deployment.url, redis_timeout_ms=2_000) as service:
        async with httpx.AsyncClient(base_url=service.url) as client:
            for name in fresh_names(12):
                for n in range(15):
                    answer = await client.post(
                        f"/v1/instances/{name}/outcomes",
                        json={"outcome": "failure", "kind": "dns", "id": f"r{n}"},
                    )
                    assert answer.status_code == 200, answer.text
                answer = await client.get(f"/circuit-breaker-status/{name}")
                assert answer.json()["data"]["circuit_breaker_active"]
            assert (await client.get("/health")).json()["data"]["circuit_breaker_activations"] >= 12
