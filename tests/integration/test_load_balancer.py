"""The load balancer that ships, before three replicas: what it passes on, and what it repeats."""

import asyncio
import itertools
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.balancing import ADDRESSES, DRAIN_MS, Balancer, balanced, needs_haproxy
from tests.eventstream import EventReader
from tests.holding import OUT_OF_REACH
from tests.httpwire import Answer, Connection, raw_request
from tests.load import Load
from tests.recording import miscount
from tests.replicas import Replica
from tests.servers import RedisServer, free_port, wait_until
from tests.serving import PATIENT

#: Long enough for a client that does not read in vain.
PATIENCE_S = 30


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    needs_haproxy()
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def replicas(redis: RedisServer) -> list[Replica]:
    port = free_port()
    # One after the other: `Replicas` gives each a port of its own.
    return [
        Replica(redis.url, host=address, port=port, drain_ms=DRAIN_MS, **PATIENT)
        for address in ADDRESSES
    ]


@pytest.fixture(scope="module")
def balancer(replicas: list[Replica]) -> Iterator[Balancer]:
    with balanced(replicas) as balancer:
        yield balancer


def post(balancer: Balancer, path: str, **body: object) -> Any:
    answer = httpx.post(f"{balancer.url}{path}", json=body, timeout=PATIENCE_S)
    return answer.raise_for_status().json()


def test_haproxy_finds_nothing_wrong_with_the_configuration(balancer: Balancer) -> None:
    checked = balancer.check()

    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


def test_requests_go_to_every_replica(balancer: Balancer) -> None:
    names = {f"replica{number}" for number in range(1, 4)}

    for _ in range(6):
        post(balancer, "/v1/instances/spread/attempts")
    served = [
        line.split('server="')[1].split('"')[0]
        for line in (balancer.status("/metrics") or "").splitlines()
        if line.startswith("haproxy_server_sessions_total") and not line.endswith(" 0")
    ]

    assert set(served) == names


def test_an_event_passes_while_its_stream_goes_on(balancer: Balancer) -> None:
    with EventReader(balancer, instance_id="live") as reader:
        post(balancer, "/v1/instances/live/trip", reason="test")
        (seen,) = reader.wait_for(1)

        assert not reader.ended.is_set()
    assert (seen["instance_id"], seen["action"]) == ("live", "force_open")


@pytest.mark.parametrize("path", ["/fleet/live", "/instances/live/live"])
def test_a_page_is_kept_live(balancer: Balancer, path: str) -> None:
    with httpx.stream("GET", f"{balancer.url}{path}", timeout=PATIENCE_S) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert next(stream.iter_lines()) != ""


def test_figures_of_one_replica_are_not_for_clients(balancer: Balancer) -> None:
    assert httpx.get(f"{balancer.url}/metrics").status_code == 404
    assert balancer.status("/healthz") is not None


def test_a_token_in_a_query_is_not_logged(balancer: Balancer) -> None:
    httpx.get(f"{balancer.url}/health?access_token=skr_secret")

    wait_until(lambda: " GET /health 200 " in balancer.log_text(), "the line in the log")
    assert "skr_secret" not in balancer.log_text()


def test_a_replica_that_drains_loses_no_request(
    balancer: Balancer, replicas: list[Replica], redis: RedisServer, *, full: bool
) -> None:
    """A rolling restart under load; of one replica, of all of them with --full."""
    replicas[0].set_policy(**OUT_OF_REACH)
    instances = [f"drain-{number}" for number in range(20)]

    with Load([balancer.port], instances) as load:
        for replica in replicas[: 3 if full else 1]:
            assert replica.stop() == 0
            replica.start()
            wait_until(lambda: balancer.has_replicas(3), "the replica to be back")

    assert len(load.recording.calls) > 100
    assert load.recording.errors == {}
    assert set(load.recording.statuses) == {200}
    with redis.client() as client:
        assert not miscount(load.recording, client)


async def test_what_a_dead_replica_may_have_taken_is_repeated_only_where_that_is_safe(
    balancer: Balancer, replicas: list[Replica]
) -> None:
    """A permit and a report hang in each of three replicas; one dies with what it has."""
    replicas[0].set_policy(**OUT_OF_REACH)
    names = map("repeated-{}".format, itertools.count())
    while (hanging := await hang(balancer, replicas, name := next(names))) is None:
        # It took so long that HAProxy has noticed.
        wait_until(lambda: balancer.has_replicas(3), "three replicas")
    replicas[0].kill()
    for replica in replicas[1:]:
        os.killpg(replica.pid, signal.SIGCONT)
    answers = await asyncio.gather(*hanging)
    replicas[0].start()

    assert [answer.status for answer in answers[::2]] == [200] * 3
    assert sorted(answer.status for answer in answers[1::2]) == [200, 200, 502]
    assert replicas[1].instance(name)["failures"] == 2


async def hang(
    balancer: Balancer, replicas: list[Replica], name: str
) -> "list[asyncio.Task[Answer]] | None":
    """Stop all replicas, and send each a permit and a report; `None` where one was answered."""
    for replica in replicas:
        os.killpg(replica.pid, signal.SIGSTOP)
    sent: list[asyncio.Task[Answer]] = []
    # One after the other: each goes to a replica that has the fewest.
    for request in [permit(name), report(name)] * 3:
        sent.append(asyncio.create_task(ask(balancer.port, request)))
        while balancer.figure("current_sessions") < len(sent):
            await asyncio.sleep(0.01)
            if any(task.done() for task in sent):
                for replica in replicas:
                    os.killpg(replica.pid, signal.SIGCONT)
                await asyncio.wait(sent)
                return None
    return sent


def permit(instance_id: str) -> bytes:
    return raw_request("POST", f"/v1/instances/{instance_id}/attempts", b"{}")


def report(instance_id: str) -> bytes:
    # Without an id: if it were repeated, it would count twice.
    body = json.dumps({"outcome": "failure", "kind": "websocket"}).encode()
    return raw_request("POST", f"/v1/instances/{instance_id}/outcomes", body)


async def ask(port: int, request: bytes) -> Answer:
    connection = await Connection.open(port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await connection.ask(request)
    finally:
        connection.cut()
