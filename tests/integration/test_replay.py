"""What a replica took without Redis it delivers: with its age, in order, once, also at a stop."""

import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sekring.store.keys import Keyspace
from tests.holding import OUT_OF_REACH
from tests.recording import counted_ids
from tests.replicas import Replica
from tests.servers import Away, RedisServer, wait_until

RECOVERY_S = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Loses nothing that it has confirmed."""
    folder = tmp_path_factory.mktemp("redis")
    with RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture(scope="module")
def running(server: RedisServer) -> Iterator[Replica]:
    with Replica(server.url) as replica:
        yield replica
        replica.kill()


@pytest.fixture
def replica(running: Replica) -> Replica:
    """One for all tests that do not stop it, under a policy that nothing here trips."""
    wait_until_whole(running)
    running.set_policy(**OUT_OF_REACH)
    return running


@pytest.fixture
def stopping(server: RedisServer) -> Iterator[Replica]:
    """One that may be stopped, under the same policy."""
    with Replica(server.url) as replica:
        replica.set_policy(**OUT_OF_REACH)
        yield replica
        replica.kill()


def wait_until_whole(replica: Replica) -> None:
    wait_until(lambda: replica.whole, "the replay to be over", RECOVERY_S)


def counted(server: RedisServer, instance_id: str) -> set[str]:
    with server.client() as client:
        return counted_ids(client, instance_id)


def times_of(server: RedisServer, instance_id: str) -> list[tuple[str, int]]:
    """Return the ids in the window and their times (ms), oldest first."""
    key = Keyspace().failures(instance_id)
    with server.client() as client:
        found: Any = client.zrange(key, 0, -1, withscores=True)
    return [(member.decode(), int(score) // 16) for member, score in found]


def said(replica: Replica, figure: int) -> list[dict[str, Any]]:
    """Return the lines of the log, from warnings on, in which a figure stands by itself."""
    lines = map(json.loads, replica.log_text().splitlines())
    return [
        line
        for line in lines
        if line.get("level") in {"warning", "error", "critical"}
        and figure in [value for value in line.values() if type(value) is int]
    ]


# ------------------------------------------------------------------------------------- bounded


def test_a_full_queue_says_what_it_drops(server: RedisServer) -> None:
    with Replica(server.url, replay_max=50) as replica:
        replica.set_policy(**OUT_OF_REACH)
        with server.away("killed"):
            verdicts = replica.fail("many", 80)
            assert all(verdict["degraded"] for verdict in verdicts)
            health = replica.health()
            assert (health["queued_reports"], health["dropped_reports"]) == (50, 30)
        wait_until_whole(replica)

        assert len(counted(server, "many")) == 50
        health = replica.health()
        assert (health["queued_reports"], health["dropped_reports"]) == (0, 30)
        assert said(replica, 30), replica.log_text()


def test_a_queue_that_is_large_enough_drops_nothing(server: RedisServer, replica: Replica) -> None:
    with server.away("killed"):
        replica.fail("enough", 80)
        assert replica.health()["queued_reports"] == 80
    wait_until_whole(replica)

    assert len(counted(server, "enough")) == 80
    assert replica.health()["dropped_reports"] == 0


# ------------------------------------------------------------------------------------ age, order


def test_a_report_counts_at_its_own_time(server: RedisServer, replica: Replica) -> None:
    with server.away("killed"):
        replica.report("waits", id="now")
        sent_ms = time.time() * 1000
        replica.report("waits", id="before", age_ms=20_000)
        time.sleep(3)
    wait_until_whole(replica)

    (first, first_ms), (second, second_ms) = times_of(server, "waits")
    assert (first, second) == ("before", "now")
    assert abs(first_ms - (sent_ms - 20_000)) < 1_000
    assert abs(second_ms - sent_ms) < 1_000


def test_a_report_that_waited_out_its_window_no_longer_counts(
    server: RedisServer, replica: Replica
) -> None:
    replica.set_policy(window_ms=2_000)
    with server.away("killed"):
        replica.report("too-old", id="first")
        time.sleep(3)
        replica.report("too-old", id="second")
    wait_until_whole(replica)

    assert "first" not in counted(server, "too-old")


def test_reports_of_an_instance_keep_their_order(server: RedisServer, replica: Replica) -> None:
    """The last word decides whether there is a connection; the times say the rest."""
    connected = [f"connected-{number}" for number in range(10)]
    ended = [f"ended-{number}" for number in range(10)]
    with server.away("killed"):
        for name in connected:
            replica.fail(name, 2)
            replica.report(name, "disconnected")
            replica.report(name, "success")
        for name in ended:
            replica.report(name, "success")
            replica.fail(name, 2)
            replica.report(name, "disconnected")
        for name in ("third", "second", "first"):
            replica.report("in-turn", id=name)
            time.sleep(0.3)  # more than one replayed report takes
    wait_until_whole(replica)

    for name in connected:
        assert replica.instance(name)["connection"] == "connected"
    for name in ended:
        assert replica.instance(name)["connection"] == ""
    assert [name for name, _ in times_of(server, "in-turn")] == ["third", "second", "first"]


def test_a_late_answer_to_a_report_does_not_count_it_twice(
    server: RedisServer, replica: Replica
) -> None:
    """A stopped Redis has read what it answers too late: the replay repeats it, under its id."""
    with server.away("stopped"):
        verdicts = replica.fail("late", 20)
        assert all(verdict["degraded"] for verdict in verdicts)
    wait_until_whole(replica)

    assert len(counted(server, "late")) == 20
    assert replica.instance("late")["failures"] == 20


def test_what_is_wrong_is_refused_as_ever_and_not_queued(
    server: RedisServer, replica: Replica
) -> None:
    with server.away("killed"):
        with pytest.raises(AssertionError, match="400"):
            replica.report("wrong", kind="no-such-kind")
        assert replica.health()["queued_reports"] == 0


# ------------------------------------------------------------------------------------- at a stop


def test_a_stop_with_redis_at_hand_loses_nothing(server: RedisServer, stopping: Replica) -> None:
    for _ in range(30):
        stopping.permit("stopping")
        stopping.report("stopping")
    stopping.signal(signal.SIGTERM)

    assert stopping.wait() == 0
    assert len(counted(server, "stopping")) == 30
    with Replica(server.url) as other:
        assert other.instance("stopping")["retry_attempts"] == 29


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_stop_just_after_redis_has_returned_delivers_what_is_queued(
    server: RedisServer, stopping: Replica, how: Away
) -> None:
    with server.away(how):
        stopping.fail(f"queued-{how}", 200)
    stopping.signal(signal.SIGTERM)

    assert stopping.wait(RECOVERY_S) == 0
    assert len(counted(server, f"queued-{how}")) == 200


def test_a_stop_without_redis_ends_and_says_what_it_could_not_deliver(
    server: RedisServer, stopping: Replica
) -> None:
    with server.away("killed"):
        stopping.fail("undelivered", 37)
        stopping.signal(signal.SIGTERM)

        assert stopping.wait(RECOVERY_S) == 0
        assert said(stopping, 37), stopping.log_text()
