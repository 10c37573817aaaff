"""The view of the Python client: what others do is seen at once, and nothing is missed."""

import threading
from collections.abc import Iterator

import httpx
import pytest

from sekring.client import Sekring
from tests.clients import client_of, fail, refused, refuses, until_current
from tests.proxy import Proxy
from tests.replicas import Replica
from tests.servers import RedisServer, wait_until


@pytest.fixture
def service(redis_server: RedisServer) -> Iterator[Replica]:
    with Replica(redis_server.url, partitions=4) as service:
        yield service


def test_what_one_client_trips_another_refuses_and_a_reset_reaches_both(service: Replica) -> None:
    with client_of(service.url) as one, client_of(service.url) as other:
        assert other.permitted("s")
        fail(one, "s", 15)
        refuses(other, "s")
        error = refused(other, "s")
        assert error
        assert (error.state, error.cause) == ("open", "failures")
        assert error.retry_after == pytest.approx(600, abs=5)

        service.reset("s")
        for client in (one, other):
            wait_until(lambda client=client: client.permitted("s"), "the reset")
        with one.guard("s") as attempt:
            assert not attempt.degraded
        one.flush()
        assert service.instance("s")["failures"] == 0


def test_a_client_that_comes_later_knows_what_was_before(service: Replica) -> None:
    service.fail("open", 15)
    service.post("/v1/instances/forced/trip", {"reason": "a new SIM", "for_ms": 3_600_000})
    service.post("/v1/instances/off/disable", {"reason": "a test"})
    service.fail("off", 20)

    with client_of(service.url) as breaker:
        opened, forced = refused(breaker, "open"), refused(breaker, "forced")
        assert opened
        assert forced
        assert (opened.cause, forced.state) == ("failures", "forced_open")
        assert "a new SIM" in str(forced)
        assert forced.retry_after == pytest.approx(3_600, abs=60)
        assert refused(breaker, "off") is None
        assert breaker.permitted("closed")


def test_a_recovery_needs_nobody_to_tell(service: Replica) -> None:
    service.set_policy(cooldown_ms=1_500, failure_threshold=2)
    with client_of(service.url) as breaker:
        fail(breaker, "s", 2)
        error = refused(breaker, "s")
        assert error
        assert error.retry_after
        assert error.retry_after <= 1.5
        wait_until(lambda: breaker.permitted("s"), "the recovery")
        with breaker.guard("s"):
            pass
        breaker.flush()

        seen = service.instance("s")
        assert (seen["state"], seen["failures"], seen["connection"]) == ("closed", 0, "connected")


def test_a_half_open_breaker_gives_its_one_probe_to_one_client(service: Replica) -> None:
    service.set_policy(cooldown_ms=500, failure_threshold=2, probes=1, stable_after_ms=0)
    with client_of(service.url) as one, client_of(service.url) as other:
        fail(one, "s", 2)
        one.flush()
        wait_until(lambda: service.instance("s")["state"] == "half_open", "the cooldown's end")
        wait_until(lambda: one.permitted("s"), "the view to know")

        with one.guard("s"):
            error = refused(other, "s")
            assert error
            assert (error.state, error.cause) == ("half_open", "probing")
        one.flush()
        wait_until(lambda: service.instance("s")["state"] == "closed", "the success's credit")


def test_while_the_fleet_is_paced_every_attempt_asks(service: Replica) -> None:
    with client_of(service.url) as breaker:
        guard = {"reason": "WhatsApp is down"}
        httpx.post(f"{service.url}/v1/guard/trip", json=guard).raise_for_status()
        wait_until(lambda: _paced_away(breaker), "the pace to be kept", 30)
        httpx.post(f"{service.url}/v1/guard/reset", json=guard).raise_for_status()
        wait_until(lambda: not _paced_away(breaker), "the pace to end", 30)


def _paced_away(breaker: Sekring) -> bool:
    """Whether some of many attempts are refused for the fleet's sake."""
    errors = [refused(breaker, f"s{number}") for number in range(60)]
    return any(error and error.cause == "fleet" for error in errors)


def test_a_build_that_whatsapp_refuses_is_refused_to_all_who_run_it(service: Replica) -> None:
    with (
        client_of(service.url, build="old/1") as old,
        client_of(service.url, build="new/2") as new,
    ):
        with old.guard("s") as attempt:
            attempt.failed("client_outdated")
        wait_until(lambda: refused(old, "t"), "the build to be refused")
        error = refused(old, "t")
        assert error
        assert error.cause == "client_outdated"
        assert refused(new, "t") is None
        httpx.delete(f"{service.url}/v1/builds?build=old/1").raise_for_status()
        wait_until(lambda: refused(old, "t") is None, "the build to be permitted again")


def test_another_policy_is_gone_by_at_once(service: Replica) -> None:
    with client_of(service.url) as breaker:
        fail(breaker, "s", 1)
        breaker.flush()
        service.set_policy(failure_threshold=3)
        wait_until(lambda: breaker._core.view.policy.failure_threshold == 3, "the policy")
        service.kill()
        wait_until(lambda: breaker.degraded, "the client to notice")
        fail(breaker, "s", 2)

        assert refused(breaker, "s")
        service.start()


def test_an_old_view_asks_and_a_current_one_does_not(service: Replica) -> None:
    with Proxy(service.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        with client_of(url) as breaker:
            assert breaker.permitted("s")
            with breaker.guard("t"):
                pass
            breaker.flush()
            before = service.instance("s")["known"]
            assert before is False, "the view has answered: nobody was asked about it"
        with Sekring(url, staleness=0.001, patience=10) as breaker:
            with breaker.guard("u"):
                seen = service.instance("u")
                assert seen["connection"] == "connecting", "the service was asked"
            breaker.flush()
        assert service.instance("u")["connection"] == "connected"


def test_it_is_right_while_everything_changes(service: Replica) -> None:
    """Clients that come while breakers open and close all end with what the service says."""
    names = [f"s{number}" for number in range(30)]
    ending = threading.Event()

    def change() -> None:
        while not ending.is_set():
            for place, name in enumerate(names):
                service.post(f"/v1/instances/{name}/trip", {"reason": "a test"})
                if place % 3:
                    service.reset(name)

    changer = threading.Thread(target=change)
    changer.start()
    clients = []
    try:
        for _ in range(4):
            clients.append(Sekring(service.url, patience=10))
            until_current(clients[-1])
    finally:
        ending.set()
        changer.join()
    for client in clients:
        with client:
            for name in names:
                wanted = service.instance(name)["state"] == "closed"
                wait_until(
                    lambda client=client, name=name, wanted=wanted: (
                        client.permitted(name) is wanted
                    ),
                    name,
                )


def test_what_redis_has_trimmed_from_the_feed_is_read_anew(
    redis_server: RedisServer, service: Replica
) -> None:
    """A client that was away for longer than the feed remembers."""
    with Proxy(service.port) as proxy, client_of(f"http://127.0.0.1:{proxy.port}") as breaker:
        service.fail("s", 15)
        refuses(breaker, "s")
        proxy.cut()
        service.reset("s")
        service.fail("t", 15)
        with redis_server.client() as redis:
            for key in redis.scan_iter("*events*"):
                redis.xtrim(key, 0)
        for number in range(20):  # in every partition, so that the gap is seen there
            service.post(f"/v1/instances/u{number}/trip", {"reason": "a test"})
        proxy.resume()
        wait_until(lambda: breaker.current, "the view", 30)
        refuses(breaker, "t")
        wait_until(lambda: breaker.permitted("s"), "the reset that is nowhere told")
