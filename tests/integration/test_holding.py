"""Harmless disturbances under steady load change nothing; and harm that is done is noticed."""

import time
from collections.abc import Iterator

import pytest
import redis

from sekring.store.keys import Keyspace
from tests.holding import OUT_OF_REACH, check_bounds, hold_under_load, instances_of
from tests.load import Load
from tests.recording import Kind, Recording, counted_ids, miscount
from tests.replicas import REPLICAS, Replicas
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def store(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def replicas(server: RedisServer) -> Iterator[Replicas]:
    with Replicas([server.url] * REPLICAS) as replicas:
        yield replicas


def test_forgotten_scripts_are_noticed_by_nobody(replicas: Replicas, store: redis.Redis) -> None:
    def forget() -> None:
        for _ in range(3):
            store.function_flush()
            time.sleep(0.3)

    held = hold_under_load(replicas, forget, store, topic="forgotten")

    assert set(held.recording.of(Kind.RESET).statuses) == {200}
    assert held.lost == 0


def test_killed_connections_are_noticed_by_nobody(replicas: Replicas, store: redis.Redis) -> None:
    def kill() -> None:
        for _ in range(3):
            store.client_kill_filter(_type="normal", skipme=True)
            time.sleep(0.3)

    hold_under_load(replicas, kill, store, topic="killed")


# ----------------------------------------------------------------------- harm that is noticed


@pytest.fixture(scope="module")
def loaded(replicas: Replicas) -> Recording:
    """A load that nothing disturbed."""
    replicas[0].set_policy(**OUT_OF_REACH)
    with Load(replicas.ports, instances_of("quiet", 10)) as load:
        time.sleep(1.5)
    return load.recording


def test_all_is_recorded(loaded: Recording, replicas: Replicas) -> None:
    check_bounds(loaded)
    assert loaded.statuses == {200: len(loaded.calls)}
    assert loaded.degraded.calls == ()
    for port in replicas.ports:
        there = loaded.at(port)
        assert {call.kind for call in there.calls} == {Kind.PERMIT, Kind.REPORT}
        assert 0 < there.latency.p50_ms <= there.latency.p99_ms <= there.latency.max_ms
    assert all(call.answer["instance_id"] == call.instance_id for call in loaded.calls)


def test_a_lost_and_an_invented_report_are_found(loaded: Recording, store: redis.Redis) -> None:
    assert not miscount(loaded, store)
    keyspace = Keyspace()
    lost = min(counted_ids(store, "quiet-003"))
    store.zrem(keyspace.failures("quiet-003"), lost)
    store.zadd(keyspace.failures("quiet-004"), {"never-sent": int(time.time() * 1000) * 16})

    found = miscount(loaded, store)

    assert found.missing == {"quiet-003": {lost}}
    assert found.invented == {"quiet-004": {"never-sent"}}


def test_lost_reports_and_lost_trips_fail_it(replicas: Replicas, store: redis.Redis) -> None:
    def lose(pattern: str) -> None:
        time.sleep(0.5)
        keys = store.keys(f"sekring:*:{pattern}")
        assert keys
        store.delete(*keys)

    with pytest.raises(AssertionError, match="acknowledged, and not counted"):
        hold_under_load(
            replicas, lambda: lose("failures:reports-load-*"), store, topic="reports", after_s=0.5
        )
    with pytest.raises(AssertionError, match="the trip of trips-trip-000 is lost"):
        hold_under_load(
            replicas, lambda: lose("instance:trips-trip-*"), store, topic="trips", after_s=0.5
        )
