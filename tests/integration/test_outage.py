"""Redis is gone for a while, in the middle of everything: decisions keep coming, and none is wrong.

Each test leaves Redis and the replicas as it found them, but for its own instances.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from loadtest.staleness import STALENESS_MS
from tests.holding import hold_under_load
from tests.recording import Kind
from tests.replicas import REPLICAS, Replicas
from tests.servers import Away, RedisServer

MINUTE_MS = 60_000

#: By then a replica has noticed that Redis is gone, in seconds: a few missed deadlines.
NOTICED_S = 2

#: How long Redis is away, in CI and with `--full`.
AWAY_S = {False: 6, True: 30}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Loses nothing that it has confirmed."""
    folder: Path = tmp_path_factory.mktemp("redis")
    with RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture(scope="module")
def running(server: RedisServer) -> Iterator[Replicas]:
    with Replicas([server.url] * REPLICAS) as replicas:
        yield replicas


@pytest.fixture
def replicas(running: Replicas) -> Replicas:
    """A whole fleet under the default policy."""
    running.wait_until_whole()
    running[0].set_policy()
    return running


@pytest.fixture
def store(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


# --------------------------------------------------------------------------------- under load


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_under_load_nothing_is_refused_late_or_lost(
    replicas: Replicas, server: RedisServer, store: redis.Redis, how: Away, *, full: bool
) -> None:
    """Answers in between say `degraded`; what they acknowledged is counted afterwards, once."""
    away = [0.0, 0.0]

    def outage() -> None:
        with server.away(how):
            began = time.monotonic()
            time.sleep(NOTICED_S)
            while time.monotonic() - began < AWAY_S[full]:
                assert {replica.get("/ready")["status"] for replica in replicas} == {"ok"}
                health = [replica.health() for replica in replicas]
                assert all(found["degraded"] for found in health)
                assert sum(found["queued_reports"] for found in health) > 0
                time.sleep(1)
            away[:] = began + NOTICED_S, time.monotonic()

    held = hold_under_load(replicas, outage, store, topic=how)

    meanwhile = held.recording.between(*away).of(Kind.PERMIT, Kind.REPORT, Kind.TRIP)
    assert len(meanwhile.calls) > 100
    assert len(meanwhile.degraded.calls) == len(meanwhile.calls)
    before = held.recording.between(0, held.began_s)
    assert before.degraded.calls == ()
    for replica in replicas:
        assert replica.permit(f"{how}-load-000")["degraded"] is False
        assert replica.health()["queued_reports"] == 0
        assert replica.health()["dropped_reports"] == 0
        assert "Traceback" not in replica.log_text()


# ------------------------------------------------------------------------ under the same policy


def test_what_was_known_stays_decided(replicas: Replicas, server: RedisServer) -> None:
    replicas[0].fail("was-open", 15)
    replicas[1].report("was-banned", kind="temporary_ban", ban_expires_in_ms=60 * MINUTE_MS)
    replicas[2].report("was-logged-out", kind="logged_out")
    replicas[3].post("/v1/instances/was-forced/trip", {"reason": "maintenance"})
    replicas[0].fail("was-failing", 3)
    replicas[0].permit("was-closed")
    time.sleep(STALENESS_MS / 1000)

    with server.away("killed"):
        for replica in replicas:
            refused = replica.permit("was-open")
            assert (refused["permitted"], refused["cause"]) == (False, "failures")
            assert 9 * MINUTE_MS < refused["retry_after_ms"] <= 10 * MINUTE_MS
            banned = replica.permit("was-banned")
            assert (banned["permitted"], banned["cause"]) == (False, "temporary_ban")
            assert 59 * MINUTE_MS < banned["retry_after_ms"] <= 63 * MINUTE_MS
            logged_out = replica.permit("was-logged-out")
            assert (logged_out["permitted"], logged_out["cause"]) == (False, "logged_out")
            assert logged_out["retry_after_ms"] is None
            forced = replica.permit("was-forced")
            assert (forced["permitted"], forced["cause"]) == (False, "operator")
            for name in ("was-closed", "was-failing", "never-seen"):
                assert replica.permit(name)["permitted"] is True
        before = replicas[0].permit("was-open")["retry_after_ms"]
        replicas[0].fail("was-open", 3)
        after = replicas[0].permit("was-open")["retry_after_ms"]
        assert after < before, "a failure while open prolongs nothing"
    replicas.wait_until_whole()

    for name in ("was-open", "was-banned", "was-logged-out", "was-forced"):
        assert replicas.permitted(name) == [False] * REPLICAS
    for name in ("was-closed", "was-failing", "never-seen"):
        assert replicas.permitted(name) == [True] * REPLICAS
    assert replicas[0].history("was-open") == ["trip"]
    assert replicas[0].instance("was-open")["suppressed"] == 3


def test_a_replica_alone_trips_at_the_threshold_and_tells_all_later(
    replicas: Replicas, server: RedisServer
) -> None:
    with server.away("killed"):
        verdicts = replicas[0].fail("fails-meanwhile", 15)
        assert [verdict["failures"] for verdict in verdicts] == list(range(1, 16))
        assert [verdict["tripped"] for verdict in verdicts] == [False] * 14 + [True]
        assert all(verdict["degraded"] for verdict in verdicts)
        refused = replicas[0].permit("fails-meanwhile")
        assert (refused["permitted"], refused["cause"]) == (False, "failures")
        assert 9 * MINUTE_MS < refused["retry_after_ms"] <= 10 * MINUTE_MS
        assert refused["degraded"] is True
        replicas[0].fail("almost", 14)
        assert replicas[0].permit("almost")["permitted"] is True
        again = replicas[1].report("counted-twice", id="the-same")
        assert (again["counted"], again["degraded"]) == (True, True)
        again = replicas[1].report("counted-twice", id="the-same")
        assert (again["counted"], again["why"]) == (False, "duplicate")
    replicas.wait_until_whole()

    assert replicas.permitted("fails-meanwhile") == [False] * REPLICAS
    assert replicas[0].history("fails-meanwhile") == ["trip"]
    assert replicas.permitted("almost") == [True] * REPLICAS
    assert replicas[0].instance("almost")["failures"] == 14
    assert replicas[0].instance("counted-twice")["failures"] == 1


def test_a_policy_that_was_set_is_the_policy_meanwhile(
    replicas: Replicas, server: RedisServer
) -> None:
    replicas[0].set_policy(failure_threshold=3, cooldown_ms=20 * MINUTE_MS)

    with server.away("killed"):
        verdicts = replicas[3].fail("strictly", 3)
        assert [verdict["tripped"] for verdict in verdicts] == [False, False, True]
        refused = replicas[3].permit("strictly")
        assert 19 * MINUTE_MS < refused["retry_after_ms"] <= 20 * MINUTE_MS
    replicas.wait_until_whole()

    assert replicas.permitted("strictly") == [False] * REPLICAS


def test_a_ban_and_a_logout_reported_meanwhile_hold(
    replicas: Replicas, server: RedisServer
) -> None:
    with server.away("killed"):
        replicas[0].report("banned-now", kind="temporary_ban", ban_expires_in_ms=60 * MINUTE_MS)
        replicas[0].report("logged-out-now", kind="logged_out")
        assert replicas[0].permit("banned-now")["cause"] == "temporary_ban"
        assert replicas[0].permit("logged-out-now")["cause"] == "logged_out"
    replicas.wait_until_whole()

    assert replicas.permitted("banned-now") == [False] * REPLICAS
    assert replicas.permitted("logged-out-now") == [False] * REPLICAS


def test_failures_before_and_during_the_outage_add_up(
    replicas: Replicas, server: RedisServer
) -> None:
    replicas[0].fail("adds-up", 8)
    with server.away("killed"):
        replicas[0].fail("adds-up", 3)
        replicas[1].fail("adds-up", 4)
    replicas.wait_until_whole()

    assert replicas.permitted("adds-up") == [False] * REPLICAS
    assert replicas[0].history("adds-up") == ["trip"]
