"""One of four replicas loses its Redis, by a bad network, while the others keep theirs."""

import time
from collections.abc import Iterator
from typing import Literal

import pytest
import redis

from tests.holding import hold_under_load
from tests.proxy import Proxy
from tests.recording import Kind
from tests.replicas import REPLICAS, Replica, Replicas
from tests.servers import RedisServer, wait_until

#: By then the replica has noticed, in seconds: a few missed deadlines.
NOTICED_S = 2

#: How long the network is bad, in CI and with `--full`.
BAD_S = {False: 4, True: 30}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def network(server: RedisServer) -> Iterator[Proxy]:
    """What is between Redis and the first replica."""
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def running(server: RedisServer, network: Proxy) -> Iterator[Replicas]:
    urls = [network.url] + [server.url] * (REPLICAS - 1)
    with Replicas(urls) as replicas:
        yield replicas


@pytest.fixture
def replicas(running: Replicas, network: Proxy) -> Iterator[Replicas]:
    """A whole fleet under the default policy."""
    running.wait_until_whole()
    running[0].set_policy()
    yield running
    network.resume()


@pytest.fixture
def alone(replicas: Replicas) -> Replica:
    """The replica behind the bad network."""
    first: Replica = replicas[0]
    return first


@pytest.fixture
def store(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


# --------------------------------------------------------------------------------- under load


@pytest.mark.parametrize("fault", ["black_hole", "hold", "cut"])
def test_a_partition(
    replicas: Replicas,
    network: Proxy,
    store: redis.Redis,
    fault: Literal["black_hole", "hold", "cut"],
    *,
    full: bool,
) -> None:
    """`hold`: what was sent into it arrives at its end, when the replica has long given it up."""
    bad = [0.0, 0.0]

    def partition() -> None:
        getattr(network, fault)()
        bad[0] = time.monotonic() + NOTICED_S
        time.sleep(BAD_S[full])
        bad[1] = time.monotonic()
        network.resume()

    held = hold_under_load(replicas, partition, store, topic=f"partition-{fault}")

    meanwhile = held.recording.between(*bad).of(Kind.PERMIT, Kind.REPORT)
    alone, *others = replicas.ports
    assert len(meanwhile.at(alone).calls) > 20
    assert len(meanwhile.at(alone).degraded.calls) == len(meanwhile.at(alone).calls)
    assert held.recording.at(*others).degraded.calls == (), "the others see Redis"


@pytest.mark.parametrize("each_way_ms", [100, 200])
def test_latency(
    replicas: Replicas, network: Proxy, store: redis.Redis, each_way_ms: int, *, full: bool
) -> None:
    def slow() -> None:
        network.delay(each_way_ms)
        time.sleep(BAD_S[full])
        network.resume()

    hold_under_load(replicas, slow, store, topic=f"latency-{each_way_ms}")


@pytest.mark.parametrize("way", ["to_server", "to_client"])
def test_half_open_connections(
    replicas: Replicas,
    network: Proxy,
    store: redis.Redis,
    way: Literal["to_server", "to_client"],
    *,
    full: bool,
) -> None:
    """New connections work: the replica must come to think of making some."""

    def half_open() -> None:
        network.half_open(way)
        time.sleep(BAD_S[full])
        wait_until(lambda: replicas[0].whole, "new connections to be made, while the old ones hang")
        network.resume()

    hold_under_load(replicas, half_open, store, topic=f"half-open-{way}")


# ------------------------------------------------------------------------------ reconciliation


def test_a_trip_made_alone_becomes_everybodys(
    replicas: Replicas, network: Proxy, alone: Replica
) -> None:
    network.black_hole()
    verdicts = alone.fail("tripped-alone", 15)
    assert [verdict["tripped"] for verdict in verdicts] == [False] * 14 + [True]
    assert replicas.permitted("tripped-alone") == [False] + [True] * (REPLICAS - 1)

    network.resume()
    replicas.wait_until_whole()

    assert replicas.permitted("tripped-alone") == [False] * REPLICAS
    assert alone.history("tripped-alone") == ["trip"]


def test_a_cooldown_that_began_alone_is_not_begun_again(
    replicas: Replicas, network: Proxy, alone: Replica
) -> None:
    network.black_hole()
    alone.fail("cooling", 15)
    time.sleep(3)
    network.resume()
    replicas.wait_until_whole()

    left = [replica.permit("cooling")["retry_after_ms"] for replica in replicas]
    assert max(left) <= 600_000 - 3_000


def test_an_operators_reset_meanwhile_wins(
    replicas: Replicas, network: Proxy, alone: Replica
) -> None:
    replicas[1].fail("reset-meanwhile", 1)
    network.black_hole()
    alone.fail("reset-meanwhile", 15)
    assert alone.permit("reset-meanwhile")["permitted"] is False
    time.sleep(0.1)  # the reset is later by any clock
    assert replicas[1].reset("reset-meanwhile")["state"] == "closed"

    network.resume()
    replicas.wait_until_whole()

    for _ in range(2):
        assert replicas.permitted("reset-meanwhile") == [True] * REPLICAS
        assert replicas[1].instance("reset-meanwhile")["state"] == "closed"
        assert replicas[1].instance("reset-meanwhile")["failures"] == 0
        time.sleep(1)
    assert replicas[1].history("reset-meanwhile") == ["reset"]


def test_a_reset_wins_over_what_is_still_under_way(
    replicas: Replicas, network: Proxy, alone: Replica
) -> None:
    """What the replica has given up may arrive after all, and then it is older than the reset."""
    replicas[1].fail("under-way", 14)
    network.hold()
    assert alone.report("under-way")["degraded"] is True
    time.sleep(0.1)
    replicas[1].reset("under-way")
    replicas[1].fail("under-way", 14)

    network.resume()
    replicas.wait_until_whole()

    assert replicas.permitted("under-way") == [True] * REPLICAS
    assert replicas[1].instance("under-way")["failures"] == 14


def test_failures_after_the_reset_count_all_the_same(
    replicas: Replicas, network: Proxy, alone: Replica
) -> None:
    """The reset takes back what was before it, not what came after."""
    replicas[1].fail("after-reset", 1)
    network.black_hole()
    alone.fail("after-reset", 5)
    time.sleep(0.1)
    replicas[1].reset("after-reset")
    time.sleep(0.1)
    alone.fail("after-reset", 4)

    network.resume()
    replicas.wait_until_whole()

    assert replicas[1].instance("after-reset")["failures"] == 4


def test_a_trip_by_the_others_meanwhile_reaches_the_one_that_was_alone(
    replicas: Replicas, network: Proxy, alone: Replica
) -> None:
    alone.permit("tripped-by-others")
    network.black_hole()
    replicas[1].fail("tripped-by-others", 15)
    network.resume()
    replicas.wait_until_whole()

    assert replicas.permitted("tripped-by-others") == [False] * REPLICAS


def test_what_both_sides_counted_adds_up(
    replicas: Replicas, network: Proxy, alone: Replica
) -> None:
    network.black_hole()
    alone.fail("both-sides", 8)
    replicas[1].fail("both-sides", 7)
    assert replicas.permitted("both-sides") == [True] * REPLICAS

    network.resume()
    replicas.wait_until_whole()

    assert replicas.permitted("both-sides") == [False] * REPLICAS
    assert alone.history("both-sides") == ["trip"]


def test_both_sides_trip_and_it_is_one_trip(
    replicas: Replicas, network: Proxy, alone: Replica
) -> None:
    network.black_hole()
    alone.fail("both-trip", 15)
    replicas[1].fail("both-trip", 15)

    network.resume()
    replicas.wait_until_whole()

    assert replicas.permitted("both-trip") == [False] * REPLICAS
    assert alone.history("both-trip") == ["trip"]
