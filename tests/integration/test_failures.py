"""The last hour's failures over HTTP: the chart, the preview, and one instance in detail."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.replicas import Body, Replica, Replicas
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess

ID = "6281234567890"
MINUTE_MS = 60_000

#: As many as make a preview last for a while.
MANY = 40_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), "--appendonly", "yes") as server:
        yield server


@pytest.fixture(scope="module")
def running(server: RedisServer) -> Iterator[Replicas]:
    with Replicas([server.url] * 2) as replicas:
        yield replicas


@pytest.fixture
def replicas(running: Replicas, server: RedisServer) -> Replicas:
    """Two replicas on a Redis without any failure on record, under the default policy."""
    running.wait_until_whole()
    running[0].set_policy()
    with server.client() as client:
        for key in client.scan_iter("*:records"):
            client.delete(key)
        for key in client.scan_iter("*:minutes"):
            client.delete(key)
    return running


def failures(replica: Replica) -> list[int]:
    """The counts of the last 60 minutes, oldest first."""
    return [minute["failures"] for minute in replica.get("/v1/failures")["minutes"]]


# ----------------------------------------------------------------------------- failures by minute


def test_the_chart_has_the_last_60_minutes_on_every_replica(replicas: Replicas) -> None:
    began_ms = replicas[0].get("/v1/failures")["now_ms"]
    for number, replica in enumerate(replicas):
        replica.report(f"a-{number}")
        replica.report(f"b-{number}", age_ms=10 * MINUTE_MS)  # stale: counted for nobody

    for replica in replicas:
        answer = replica.get("/v1/failures")
        starts = [minute["start_ms"] for minute in answer["minutes"]]
        present = answer["now_ms"] // MINUTE_MS
        assert starts == [(present - ago) * MINUTE_MS for ago in reversed(range(60))]
        assert sum(failures(replica)) == 2
        assert sum(failures(replica)[-2:]) == 2
        assert answer["since_ms"] <= began_ms
        assert answer["degraded"] is False


def test_what_was_reported_while_redis_was_away_is_counted_once_when_it_happened(
    replicas: Replicas, server: RedisServer
) -> None:
    with server.away("killed"):
        wait_until(lambda: replicas[0].health()["degraded"], "the replica to notice")
        for number in range(5):
            assert replicas[0].report("away", id=f"r{number}")["degraded"] is True
        replicas[0].report("away", id="r0")  # said again
        answer = httpx.get(f"{replicas[0].url}/v1/failures")
        assert answer.status_code == 503
        assert answer.json()["type"] == "store_unavailable"
    replicas.wait_until_whole()

    assert sum(failures(replicas[1])) == 5
    preview = replicas[1].post("/v1/policy/preview", {"failure_threshold": 5})
    assert (preview["in_force"]["instances"], preview["proposed"]["instances"]) == (0, 1)


# ------------------------------------------------------------------------------------- previews


def test_with_this_policy_the_last_hour_would_have_tripped_3_instead_of_7(
    replicas: Replicas,
) -> None:
    for number in range(7):
        kind = "dns" if number < 4 else "tls"
        for _ in range(15):
            replicas[number % 2].report(f"tripped-{number}", kind=kind)

    preview = replicas[1].post("/v1/policy/preview", {"weights": {"dns": 0}})

    assert (preview["in_force"]["instances"], preview["proposed"]["instances"]) == (7, 3)
    assert (preview["failures"], preview["instances"]) == (105, 7)
    assert preview["lost"] == {"count": 4, "instances": [f"tripped-{n}" for n in range(4)]}
    assert preview["gained"] == {"count": 0, "instances": []}
    # The service is not an hour old.
    assert (preview["complete"], preview["missing"]) == (False, "young")
    assert replicas[0].get("/v1/policy")["set"] == {}


def test_an_instances_preview_is_of_that_alone(replicas: Replicas) -> None:
    for name in ("own-1", "own-2"):
        replicas[0].fail(name, 15)

    path = "/v1/instances/own-1/policy/preview"
    preview = replicas[1].post(path, {"failure_threshold": 16, "probes": 2})

    assert (preview["in_force"]["instances"], preview["proposed"]["instances"]) == (1, 0)
    assert preview["lost"]["instances"] == ["own-1"]
    assert preview["not_considered"] == ["probes"]


def test_a_preview_refuses_what_the_policy_itself_would(replicas: Replicas) -> None:
    for path in ("/v1/policy", f"/v1/instances/{ID}/policy"):
        for patch in ({"failure_threshold": 0}, {"cooldown_max_ms": 1}, {"weights": {"x": 1}}):
            put = httpx.put(f"{replicas[0].url}{path}", json=patch)
            previewed = httpx.post(f"{replicas[0].url}{path}/preview", json=patch)
            assert put.status_code == previewed.status_code == 400
            assert previewed.json() == put.json()


def fill_record(server: RedisServer, now_ms: int) -> None:
    """Write down many failures as the scripts do, and much sooner."""
    with server.client() as client:
        for number in range(64):
            lines = [
                f"{now_ms - MINUTE_MS + place} {place % 250}-{number} dns gateway-1"
                for place in range(MANY // 64)
            ]
            client.rpush(f"sekring:{{{number:02d}}}:records", *lines)
            client.hset(
                f"sekring:{{{number:02d}}}:minutes", str(now_ms // MINUTE_MS - 1), len(lines)
            )


async def test_permits_are_answered_while_a_preview_is_at_work(
    replicas: Replicas, server: RedisServer
) -> None:
    fill_record(server, replicas[0].get("/v1/failures")["now_ms"])
    async with httpx.AsyncClient(base_url=replicas[0].url, timeout=60) as http:
        body = {"failure_threshold": 2}
        preview = asyncio.create_task(http.post("/v1/policy/preview", json=body))
        answered_meanwhile = 0
        while not preview.done():
            permit = await http.post(f"/v1/instances/{ID}/attempts", json={"strong": True})
            assert permit.json()["permitted"] is True
            answered_meanwhile += not preview.done()

    assert preview.result().json()["failures"] == MANY // 64 * 64
    assert answered_meanwhile >= 10


def test_a_partition_that_had_more_than_it_keeps_makes_the_preview_say_so(tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path) as redis,
        ServiceProcess(redis.url, partitions=1, redis_timeout_ms=20_000) as service,
        httpx.Client(base_url=service.url, timeout=30) as http,
    ):
        for first in range(0, 5_000, 1_000):
            http.post(
                "/v1/outcomes",
                json={
                    "outcomes": [
                        {"instance_id": f"628-{first + place}", "outcome": "failure", "kind": "dns"}
                        for place in range(1_000)
                    ]
                },
            ).raise_for_status()
        with redis.client() as client:
            client.hset("sekring:keyspace", "recording_since_ms", 1)

        preview: Body = http.post("/v1/policy/preview", json={"failure_threshold": 1}).json()
        counted = http.get("/v1/failures").json()["minutes"]

    assert 4_000 <= preview["failures"] == preview["proposed"]["instances"] < 5_000
    assert (preview["complete"], preview["missing"]) == (False, "capped")
    assert preview["since_ms"] > preview["now_ms"] - 2 * MINUTE_MS
    assert sum(minute["failures"] for minute in counted) == 5_000


# -------------------------------------------------------------------------------- one in detail


def test_the_detail_has_failures_attempts_owner_and_where_the_policy_comes_from(
    replicas: Replicas,
) -> None:
    replicas[0].set_policy(window_ms=120_000)
    http = httpx.Client(base_url=replicas[0].url)
    http.put("/v1/instances/seen/policy", json={"failure_threshold": 3}).raise_for_status()
    http.post("/v1/sessions", json={"instance_id": "seen"}).raise_for_status()
    claim = {"gateway": "gateway-1", "capacity": 1, "held": 0, "limit": 1}
    token = http.post("/v1/leases/claim", json=claim).json()["leases"][0]["token"]
    phase = {"gateway": "gateway-1", "token": token, "phase": "connecting"}
    http.put("/v1/leases/seen/phase", json=phase).raise_for_status()
    replicas[0].report("seen", kind="tls")
    replicas[0].permit("seen", gateway="gateway-1", strong=True)

    detail = replicas[1].get("/v1/instances/seen/detail")

    snapshot = detail["snapshot"]
    assert [failure["kind"] for failure in snapshot["recent_failures"]] == ["tls"]
    assert snapshot["recent_failures"][0]["at_ms"] == snapshot["last_failure_at_ms"]
    assert detail["attempts_in_flight"] == 1
    assert snapshot["retry_attempts"] == 0
    assert detail["policy"]["policy"]["failure_threshold"] == 3
    sources = detail["policy"]["sources"]
    assert [sources[name] for name in ("failure_threshold", "window_ms", "cooldown_ms")] == [
        "instance", "global", "default",
    ]  # fmt: skip
    session = detail["session"]
    assert (session["gateway"], session["phase"]) == ("gateway-1", "connecting")
    http.delete("/v1/sessions/seen").raise_for_status()
    http.close()


def test_probes_in_flight_are_attempts_in_flight(replicas: Replicas) -> None:
    replicas[0].set_policy(probes=2, cooldown_ms=1, failure_threshold=1)
    replicas[0].fail("probed", 1)
    for _ in range(2):
        replicas[0].permit("probed", strong=True)

    detail = replicas[1].get("/v1/instances/probed/detail")

    assert detail["snapshot"]["state"] == "half_open"
    assert detail["attempts_in_flight"] == 2


def test_an_instance_that_was_never_seen_has_a_detail(replicas: Replicas) -> None:
    detail = replicas[0].get("/v1/instances/never-seen/detail")

    assert detail["snapshot"]["known"] is False
    assert detail["attempts_in_flight"] == 0
    assert set(detail["policy"]["sources"].values()) == {"default"}
    assert (detail["session"]["wanted"], detail["session"]["gateway"]) == (False, None)


def test_without_redis_the_detail_is_what_the_replica_knows(
    replicas: Replicas, server: RedisServer
) -> None:
    replicas[0].fail("known", 15)
    wait_until(lambda: not replicas[1].permit("known")["permitted"], "the other replica to know")
    with server.away("killed"):
        wait_until(lambda: replicas[1].health()["degraded"], "the replica to notice")
        detail = replicas[1].get("/v1/instances/known/detail")
        preview = httpx.post(f"{replicas[1].url}/v1/policy/preview", json={})

    assert (detail["snapshot"]["state"], detail["snapshot"]["degraded"]) == ("open", True)
    assert detail["policy"]["policy"]["failure_threshold"] == 15
    assert (detail["policy"]["sources"], detail["session"]) == ({}, None)
    assert (preview.status_code, preview.headers["retry-after"]) == (503, "1")
