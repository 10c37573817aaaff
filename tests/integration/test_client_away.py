"""The service is away, stands still, or is another one: the Python client decides on, and tells."""

import contextlib
import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekring.client import Open, Sekring
from tests.clients import client_of, fail, refused, refuses, until_current
from tests.proxy import Proxy
from tests.replicas import Replica
from tests.servers import RedisServer, free_port, wait_until

#: How long the service is away under load, in seconds.
AWAY_S = {False: 4, True: 20}

#: Nothing that a caller does takes longer than the client's patience, and what a busy machine adds.
PATIENCE_S = 2.0
HELD_UP_S = 5.0


@pytest.fixture
def service(redis_server: RedisServer) -> Iterator[Replica]:
    with Replica(redis_server.url, partitions=4) as service:
        yield service


@contextlib.contextmanager
def frozen(service: Replica) -> Iterator[None]:
    """Stop all processes of the service, with their sockets open."""
    signal_group(service, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_group(service, signal.SIGCONT)


def signal_group(service: Replica, number: signal.Signals) -> None:
    os.killpg(service.pid, number)


def until_back(breaker: Sekring) -> None:
    wait_until(lambda: not breaker.degraded and breaker.current, "the service to be back", 60)


def test_it_decides_on_by_the_policy_and_the_service_counts_it_once(
    service: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    service.set_policy(failure_threshold=5)
    with client_of(service.url) as breaker:
        fail(breaker, "s", 2)
        breaker.flush()
        service.kill()
        with caplog.at_level(logging.WARNING, "sekring"):
            wait_until(lambda: breaker.degraded, "the client to notice")
            with breaker.guard("other") as attempt:
                assert attempt.degraded
            fail(breaker, "s", 3)
            error = refused(breaker, "s")
            fail(breaker, "closed", 3)
            time.sleep(1)

            assert error
            assert error.degraded
            assert (error.state, error.cause) == ("open", "failures")
            assert not breaker.permitted("s")
            assert breaker.permitted("other")
            assert breaker.waiting > 0
            service.start()
            until_back(breaker)
            breaker.flush(60)

        assert service.instance("s")["state"] == "open"
        assert service.instance("closed")["failures"] == 3
        assert service.instance("other")["connection"] == "connected"
        assert breaker.dropped == breaker.waiting == 0
        said = [record.message for record in caplog.records if record.name == "sekring"]
        assert len([words for words in said if "is away" in words]) == 1
        assert len([words for words in said if "is back" in words]) == 1
        with breaker.guard("other") as attempt:
            assert not attempt.degraded


def test_what_was_open_stays_refused_without_the_service(service: Replica) -> None:
    with client_of(service.url) as breaker:
        service.fail("s", 15)
        service.post("/v1/instances/forced/trip", {"reason": "a new SIM"})
        refuses(breaker, "s")
        refuses(breaker, "forced")
        service.kill()
        wait_until(lambda: breaker.degraded, "the client to notice")

        error, forced = refused(breaker, "s"), refused(breaker, "forced")
        assert error
        assert (error.cause, error.degraded) == ("failures", True)
        assert error.retry_after == pytest.approx(600, abs=60)
        assert forced
        assert (forced.cause, forced.retry_after) == ("operator", None)
        assert "a new SIM" in str(forced)


def test_a_client_that_never_met_the_service_decides_all_the_same() -> None:
    with Sekring(f"http://127.0.0.1:{free_port()}", close_within=0.2) as breaker:
        fail(breaker, "s", 15)
        error = refused(breaker, "s")

        assert error
        assert (error.degraded, error.cause) == (True, "failures")
        assert breaker.degraded


def test_what_happened_before_a_reset_elsewhere_is_late(redis_server: RedisServer) -> None:
    """An attempt that was permitted without the service goes by the epoch that was known then."""
    with (
        Replica(redis_server.url, partitions=4) as service,
        Replica(redis_server.url, partitions=4) as other,
        client_of(service.url) as breaker,
    ):
        fail(breaker, "s", 2)
        breaker.flush()
        service.kill()
        wait_until(lambda: breaker.degraded, "the client to notice")
        fail(breaker, "s", 3)
        other.reset("s")
        service.start()
        until_back(breaker)
        breaker.flush(60)

        assert service.instance("s")["failures"] == 0


def test_nothing_is_lost_while_the_service_is_away_under_load(
    service: Replica, *, full: bool
) -> None:
    """Guards go on in several threads while the service is stopped and started again."""
    # Enough that no breaker opens: then every failure is counted, and the count is exact.
    service.set_policy(failure_threshold=10_000, backoff={"base_ms": 0, "cap_ms": 0})
    names = [f"s{number}" for number in range(40)]
    ending = threading.Event()
    failures = dict.fromkeys(names, 0)
    slowest_s = [0.0]
    refusals: list[object] = []

    def work(mine: list[str]) -> None:
        for name in itertools.cycle(mine):
            if ending.is_set():
                return
            began_s = time.monotonic()
            if error := failing(breaker, name):
                refusals.append(error)
            else:
                failures[name] += 1
            slowest_s[0] = max(slowest_s[0], time.monotonic() - began_s)
            time.sleep(0.02)

    with client_of(service.url, patience=PATIENCE_S, close_within=60) as breaker:
        threads = [threading.Thread(target=work, args=(names[n::4],)) for n in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: sum(failures.values()) > 100, "load")
        service.stop()
        wait_until(lambda: breaker.degraded, "the client to notice")
        before = sum(failures.values())
        time.sleep(AWAY_S[full])
        assert sum(failures.values()) > before, "decisions go on"
        service.start()
        until_back(breaker)
        before = sum(failures.values())
        wait_until(lambda: sum(failures.values()) > before + 50, "load afterwards")
        ending.set()
        for thread in threads:
            thread.join()
        breaker.flush(120)

        assert not refusals
        assert breaker.dropped == 0
    assert {name: service.instance(name)["failures"] for name in names} == failures
    assert slowest_s[0] < PATIENCE_S + HELD_UP_S


def failing(breaker: Sekring, name: str) -> object:
    """Let an attempt fail; return what refuses it, if it is refused."""
    try:
        fail(breaker, name)
    except Open as error:
        return error
    return None


def test_a_service_that_stands_still_holds_up_one_call_and_no_more(service: Replica) -> None:
    with client_of(service.url, patience=PATIENCE_S, staleness=2.0) as breaker:
        fail(breaker, "s", 1)
        breaker.flush()
        with frozen(service):
            wait_until(lambda: not breaker.current, "the view to be too old")
            began_s = time.monotonic()
            assert breaker.permitted("t")
            with breaker.guard("t") as attempt:
                assert attempt.degraded
            assert time.monotonic() - began_s < PATIENCE_S + HELD_UP_S
            assert breaker.degraded
            began_s = time.monotonic()
            fail(breaker, "t", 15)
            error = refused(breaker, "t")
            assert error
            assert error.degraded
            assert time.monotonic() - began_s < PATIENCE_S, "nobody waits any more"
        until_back(breaker)
        breaker.flush(60)

        assert service.instance("t")["state"] == "open"
        assert service.instance("s")["failures"] == 1


def test_a_stream_that_is_held_up_is_not_taken_for_the_present(service: Replica) -> None:
    """What arrives late was proven when it was sent, not when it came."""
    with (
        Proxy(service.port) as proxy,
        client_of(f"http://127.0.0.1:{proxy.port}", staleness=2.0) as breaker,
    ):
        proxy.delay(3_000)
        wait_until(lambda: not breaker.current, "the view to be too old")
        time.sleep(4)  # by now all comes again, each three seconds late
        assert not breaker.current
        proxy.resume()
        until_back(breaker)


def test_another_replica_behind_the_same_address_goes_on_where_the_first_ended(
    redis_server: RedisServer,
) -> None:
    with (
        Replica(redis_server.url, partitions=4) as first,
        Replica(redis_server.url, partitions=4) as second,
        Proxy(first.port) as proxy,
        client_of(f"http://127.0.0.1:{proxy.port}") as breaker,
    ):
        first.fail("s", 15)
        refuses(breaker, "s")
        proxy.cut()
        second.reset("s")
        second.fail("t", 15)
        proxy.server_port = second.port
        proxy.resume()
        wait_until(lambda: breaker.permitted("s"), "the reset that it has missed")
        refuses(breaker, "t")


def test_another_service_behind_the_same_address_is_another_fleet(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with (
        RedisServer(tmp_path) as redis,
        Replica(redis_server.url, partitions=4) as blue,
        Replica(redis.url, partitions=4) as green,
        Proxy(blue.port) as proxy,
        client_of(f"http://127.0.0.1:{proxy.port}") as breaker,
    ):
        blue.fail("s", 15)
        green.fail("t", 15)
        refuses(breaker, "s")
        assert breaker.permitted("t")
        proxy.cut()
        proxy.server_port = green.port
        proxy.resume()
        until_current(breaker)
        refuses(breaker, "t")
        wait_until(lambda: breaker.permitted("s"), "the other fleet's state")
        fail(breaker, "u")
        breaker.flush()

        assert green.instance("u")["failures"] == 1
        assert not blue.instance("u")["known"]


def test_more_than_it_may_keep_is_dropped_counted_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with (
        caplog.at_level(logging.ERROR, "sekring"),
        Sekring(url, kept_max=50, close_within=0.2) as breaker,
    ):
        for number in range(100):
            fail(breaker, f"s{number}")

        assert breaker.dropped == 50
        assert breaker.waiting == 50
    said = [record.message for record in caplog.records]
    assert len([words for words in said if "the oldest are dropped" in words]) == 1
    assert any("50 reports are lost" in words for words in said)
