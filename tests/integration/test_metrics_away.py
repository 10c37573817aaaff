"""`/metrics` of a replica that Redis is away from, or has not confirmed what it wrote."""

from collections.abc import Iterator

import pytest

from tests.replicas import Replica
from tests.scrapes import moves, scrape
from tests.servers import RedisServer, free_port, wait_until

#: Waiting for more is dropped here.
REPLAY_MAX = 5


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def replica(redis: RedisServer) -> Iterator[Replica]:
    """One that wants a replica of Redis to confirm what it writes; there is none."""
    settings = {"partitions": 4, "replay_max": REPLAY_MAX, "confirm_replicas": 1}
    with Replica(redis.url, **settings) as replica:
        yield replica


def test_a_replica_on_its_own_says_so(redis: RedisServer, replica: Replica) -> None:
    for gauge in ("sekring_degraded", "sekring_partitions_unproven", "sekring_redis_nodes_lost"):
        moves(replica, gauge, 0)
    stale_s = scrape(replica).value("sekring_view_staleness_seconds")
    assert stale_s is not None
    assert stale_s < 20

    with redis.away("killed"):
        wait_until(lambda: replica.permit("alone-0")["degraded"], "Redis to be lost")
        moves(replica, "sekring_degraded", 1)
        moves(replica, "sekring_partitions_unproven", 4)
        moves(replica, "sekring_redis_nodes_lost", 1)
        # Of the attempts each waits, and so does the report.
        alone = scrape(replica).value("sekring_permits_total", source="alone") or 0
        assert alone > 0
        for number in range(REPLAY_MAX):
            assert replica.permit(f"alone-{number + 1}")["permitted"]
        told = scrape(replica)
        assert told.value("sekring_permits_total", source="alone") == alone + REPLAY_MAX
        assert told.value("sekring_replay_queue") == REPLAY_MAX
        assert told.value("sekring_replay_dropped_total") == alone
        failed = told.value(
            "db_client_operation_duration_seconds_count", error_type="StoreUnavailable"
        )
        assert failed
        fresher = told.value("sekring_view_staleness_seconds")
        wait_until(
            lambda: (scrape(replica).value("sekring_view_staleness_seconds") or 0) > (fresher or 0),
            "the view to grow old",
        )

    moves(replica, "sekring_replay_queue", 0)
    moves(replica, "sekring_degraded", 0)
    moves(replica, "sekring_partitions_unproven", 0)
    moves(replica, "sekring_redis_nodes_lost", 0)


def test_what_the_fleet_was_is_not_told_for_long(redis: RedisServer, replica: Replica) -> None:
    """Others would take the greatest of what replicas tell: this one would be wrong for ever."""
    wait_until(lambda: scrape(replica).value("sekring_instances") is not None, "sums")
    with redis.away("stopped"):
        wait_until(lambda: scrape(replica).value("sekring_instances") is None, "silence", 60)
        assert scrape(replica).value("sekring_health_score") is None
        assert scrape(replica).value("sekring_redis_nodes_lost") == 1
    wait_until(lambda: scrape(replica).value("sekring_instances") is not None, "sums")


def test_changes_that_nobody_has_confirmed_are_told(replica: Replica) -> None:
    moves(replica, "sekring_unconfirmed_changes", 0)
    replica.post("/v1/instances/pledged/trip", {"reason": "maintenance"})
    moves(replica, "sekring_unconfirmed_changes", 1)


def test_a_replica_that_never_met_redis_answers() -> None:
    replica = Replica(f"redis://127.0.0.1:{free_port()}/0", partitions=4)
    replica.start(wait=False)
    try:
        wait_until(replica.is_live, "the service to answer", seconds=30)
        told = scrape(replica)
        assert told.value("sekring_instances") is None
        assert told.value("sekring_partitions_unproven") == 4
        assert told.value("sekring_permits_total", source="view") == 0
    finally:
        replica.kill()
