"""What the doctor concludes from figures that no test can make for real."""

import pytest

from sekring.doctor.clocks import examine_clocks, offset_ms, spread_ms
from sekring.doctor.finding import Finding, Status, failure, merged, ok
from sekring.doctor.nodes import Deployment, Node
from sekring.doctor.server import examine_servers
from sekring.redisurl import RedisUrl
from sekring.store.connection import Address, Connector

OWN_MS = 1_800_000_000_000.0


def node(
    ahead_ms: float = 0,
    *,
    trip_ms: float = 1,
    port: int = 6379,
    info: dict[str, str] | None = None,
) -> Node:
    """Return a server whose clock is ahead of ours."""
    return Node(
        address=Address("10.0.0.1", port),
        info={"role": "master", **(info or {})},
        clock_ms=OWN_MS + ahead_ms,
        own_clock_ms=OWN_MS,
        round_trip_ms=trip_ms,
        cluster={},
    )


def deployment_of(*nodes: Node) -> Deployment:
    url = RedisUrl.parse("redis://10.0.0.1")
    return Deployment(url, Connector(url, timeout_s=1), nodes, (), {})


def statuses(findings: list[Finding]) -> list[tuple[str, Status]]:
    return [(one.subject, one.status) for one in findings]


# -------------------------------------------------------------------------------- clocks


def test_a_server_is_compared_with_this_machine_in_the_middle_of_the_round_trip() -> None:
    assert offset_ms(node(1_500)) == 1_500
    assert offset_ms(node(-1_500)) == -1_500


@pytest.mark.parametrize(
    ("nodes", "apart_ms"),
    [
        ([node(0)], 0),
        ([node(0, trip_ms=0), node(4_000, trip_ms=0)], 4_000),
        ([node(-2_000, trip_ms=0), node(0, trip_ms=0), node(2_000, trip_ms=0)], 4_000),
        # What a round trip may hide does not count.
        ([node(0, trip_ms=600), node(4_000, trip_ms=400)], 3_500),
        ([node(0, trip_ms=100), node(50, trip_ms=100)], 0),
    ],
)
def test_how_far_servers_are_apart_at_least(nodes: list[Node], apart_ms: float) -> None:
    assert spread_ms(nodes) == apart_ms


@pytest.mark.parametrize(
    ("nodes", "status"),
    [
        ([node(2_900)], Status.OK),
        ([node(3_100)], Status.WARNING),
        ([node(-3_100)], Status.WARNING),
        ([node(3_100, trip_ms=300)], Status.OK),
        ([node(1_600, port=1), node(-1_500, port=2)], Status.FAILURE),
    ],
)
def test_clocks_that_are_more_than_three_seconds_apart(nodes: list[Node], status: Status) -> None:
    assert statuses(examine_clocks(nodes)) == [("clock", status)]


def test_clocks_that_are_apart_are_named() -> None:
    (found,) = examine_clocks([node(1_600, port=1), node(-1_600, port=2)])
    assert "10.0.0.1:1 is 3.2 s ahead of that of 10.0.0.1:2" in found.what


# ------------------------------------------------------------------------------- servers


@pytest.mark.parametrize(
    ("info", "status"),
    [
        ({"redis_version": "6.2.14"}, Status.FAILURE),
        ({"redis_version": "7.0.15"}, Status.OK),
        ({"redis_version": "8.2.1"}, Status.OK),
        # Valkey says for Redis' clients which Redis it is like.
        ({"redis_version": "7.2.4", "valkey_version": "7.2.11"}, Status.FAILURE),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, Status.OK),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, Status.OK),
        ({}, Status.FAILURE),
    ],
)
def test_versions(info: dict[str, str], status: Status) -> None:
    assert ("version", status) in statuses(examine_servers(deployment_of(node(info=info))))


@pytest.mark.parametrize(
    ("info", "status"),
    [
        ({"aof_enabled": "1", "aof_last_write_status": "ok"}, Status.OK),
        ({"aof_enabled": "1", "aof_last_write_status": "err"}, Status.FAILURE),
        ({"aof_enabled": "0", "rdb_last_bgsave_status": "ok"}, Status.FAILURE),
        ({"aof_enabled": "0", "rdb_last_bgsave_status": "err"}, Status.FAILURE),
        # A replica that is in step has what a restart loses.
        (
            {
                "aof_enabled": "0",
                "rdb_last_bgsave_status": "ok",
                "slave0": "ip=10.0.0.2,port=6379,state=online,offset=1,lag=0",
            },
            Status.WARNING,
        ),
        ({"loading": "1"}, Status.WARNING),
    ],
)
def test_persistence(info: dict[str, str], status: Status) -> None:
    assert ("persistence", status) in statuses(examine_servers(deployment_of(node(info=info))))


# ---------------------------------------------------------------------------------- rows


def test_what_is_the_same_on_all_servers_is_one_row() -> None:
    assert merged([("a", ok("x", "y")), ("b", ok("x", "y"))]) == [ok("x", "y")]
    assert merged([]) == []


def test_what_differs_is_said_with_the_servers() -> None:
    found = merged([("a", ok("x", "y")), ("b", failure("x", "z", "w")), ("c", ok("x", "y"))])
    assert found == [ok("x", "a, c: y"), failure("x", "b: z", "w")]
