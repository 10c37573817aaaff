"""A cluster and a sentinel trio lose a primary, hand over, hang and move slots, all under load.

No permit and no report is refused or late, and no acknowledged trip or reset is lost. Redis answers
before its replicas have a write, so reports may be: when those were acknowledged is printed (`-s`).
"""

import signal
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from redis.cluster import ClusterNode as Seed
from redis.cluster import RedisCluster
from redis.crc import key_slot
from redis.sentinel import Sentinel

from sekring.store.keys import Keyspace
from tests.clusters import Cluster
from tests.holding import Held, hold_under_load
from tests.recording import Kind
from tests.replicas import REPLICAS, Replicas
from tests.sentinels import Sentinels
from tests.servers import RedisServer, wait_until

#: How long a primary hangs, in CI and with `--full`; by then another one has taken its place.
STOPPED_S = {False: 4, True: 10}

#: How long a killed primary stays away after another one has taken its place, in seconds.
KILLED_S = 1

#: How many of the keyspace's slots move there and back, in CI and with `--full`.
MOVED = {False: 6, True: 24}

#: One key of each partition; a partition's keys share a slot.
KEYS = [Keyspace().view(number) for number in Keyspace().all_partitions()]

#: A key of the primary that suffers.
KEY = KEYS[0]


class Fleet:
    """Replicas on one kind of deployment."""

    def __init__(self, servers: Cluster | Sentinels, replicas: Replicas) -> None:
        self.servers = servers
        self.replicas = replicas

    def primary(self) -> RedisServer:
        if isinstance(self.servers, Cluster):
            return self.servers.primary_of(KEY)
        return self.servers.master()

    def store(self) -> "redis.Redis | RedisCluster":
        """Return a client for looking at Redis, wherever it will be by then."""
        if isinstance(self.servers, Cluster):
            return RedisCluster(
                startup_nodes=[
                    Seed("127.0.0.1", node.port)  # type: ignore[no-untyped-call]
                    for node in self.servers.nodes
                ]
            )
        sentinels = [("127.0.0.1", sentinel.port) for sentinel in self.servers.sentinels]
        found: redis.Redis = Sentinel(sentinels).master_for(self.servers.service)  # type: ignore[no-untyped-call]
        return found

    def hold(self, disturb: Callable[[], object], topic: str, *, may_lose: bool) -> Held:
        """Disturb it under load, and have it whole again before anything is looked at."""
        kind = "cluster" if isinstance(self.servers, Cluster) else "sentinels"

        def disturbance() -> None:
            disturb()
            self.servers.heal()

        with self.store() as store:
            held = hold_under_load(
                self.replicas, disturbance, store, topic=f"{kind}-{topic}", may_lose=may_lose
            )
        for replica in self.replicas:
            assert replica.health()["dropped_reports"] == 0
            assert "Traceback" not in replica.log_text()
        return held


@pytest.fixture(scope="module", params=["cluster", "sentinels"])
def running(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    servers = request.getfixturevalue(
        "cluster_processes" if request.param == "cluster" else "sentinel_processes"
    )
    servers.heal()
    with Replicas([servers.url] * REPLICAS) as replicas:
        yield Fleet(servers, replicas)
        servers.heal()
        replicas.wait_until_whole()
        replicas[0].set_policy()


@pytest.fixture
def fleet(running: Fleet) -> Fleet:
    """Each kind of fleet, whole."""
    running.servers.heal()
    running.replicas.wait_until_whole()
    return running


def check_kept(held: Held) -> None:
    """What a replica took without Redis is counted: only what Redis took may be lost with it."""
    assert held.recording.of(Kind.PERMIT).degraded.calls, "nobody has noticed"
    kept = {call.report_id for call in held.recording.of(Kind.REPORT).degraded.calls}
    lost = set().union(*held.miscount.missing.values())
    assert not kept & lost, "kept for Redis, and never delivered"


def test_a_killed_primary(fleet: Fleet) -> None:
    def kill() -> None:
        primary = fleet.primary()
        primary.kill()
        wait_until(lambda: fleet.primary() is not primary, "a failover", seconds=40)
        time.sleep(KILLED_S)

    check_kept(fleet.hold(kill, "killed", may_lose=True))


def test_a_hanging_primary(fleet: Fleet, *, full: bool) -> None:
    """It returns when another one is in charge, and for a moment believes that it still is."""

    def stop() -> None:
        primary = fleet.primary()
        primary.signal(signal.SIGSTOP)
        time.sleep(STOPPED_S[full])
        primary.signal(signal.SIGCONT)

    check_kept(fleet.hold(stop, "stopped", may_lose=True))


def test_a_failover_by_hand_loses_nothing(fleet: Fleet) -> None:
    def hand_over() -> None:
        primary = fleet.primary()
        if isinstance(fleet.servers, Cluster):
            fleet.servers.fail_over(KEY)
        else:
            fleet.servers.fail_over()
        wait_until(lambda: fleet.primary() is not primary, "all to know")

    fleet.hold(hand_over, "by-hand", may_lose=False)


@pytest.mark.parametrize("running", ["sentinels"], indirect=True)
def test_a_failover_by_hand_of_a_master_at_work(fleet: Fleet) -> None:
    """The sentinels do not ask the old master: it takes writes for a while that nobody keeps."""
    trio = fleet.servers
    assert isinstance(trio, Sentinels)

    fleet.hold(trio.begin_failover, "at-work", may_lose=True)


@pytest.mark.parametrize("running", ["cluster"], indirect=True)
def test_slots_that_move_lose_nothing(fleet: Fleet, *, full: bool) -> None:
    cluster = fleet.servers
    assert isinstance(cluster, Cluster)

    def reshard() -> None:
        homes = {key: cluster.primary_of(key) for key in KEYS[: MOVED[full]]}
        primaries = {cluster.primary_of(key) for key in KEYS}
        for key, home in homes.items():
            cluster.move(key_slot(key.encode()), (primaries - {home}).pop())
        for key, home in homes.items():
            cluster.move(key_slot(key.encode()), home)

    fleet.hold(reshard, "moved", may_lose=False)
