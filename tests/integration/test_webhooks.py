"""Webhooks: signed, at least once, in order per instance, by exactly one replica at a time."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.receiver import Delivery, Receiver
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess
from tests.transitions import append_transitions

#: So that nothing takes the minutes that it takes in production.
QUICK: dict[str, Any] = {
    "webhook_retry_ms": 50,
    "webhook_retry_max_ms": 200,
    "webhook_timeout_ms": 2_000,
    "webhook_lease_ms": 1_500,
}


@pytest.fixture(scope="module")
def replicas(redis: RedisServer) -> Iterator[list[ServiceProcess]]:
    with (
        ServiceProcess(redis.url, log_level="debug", **QUICK) as first,
        ServiceProcess(redis.url, log_level="debug", **QUICK) as second,
        ServiceProcess(redis.url, log_level="debug", **QUICK) as third,
    ):
        yield [first, second, third]


@pytest.fixture
def receiver(replicas: list[ServiceProcess]) -> Iterator[Receiver]:
    """A receiver; webhooks of the test are deleted after it."""
    with Receiver() as receiver:
        yield receiver
    for webhook in listed(replicas[0]):
        url = f"{replicas[0].url}/v1/webhooks/{webhook['id']}"
        httpx.delete(url, timeout=20).raise_for_status()


def listed(service: ServiceProcess) -> list[dict[str, Any]]:
    answer = httpx.get(f"{service.url}/v1/webhooks", timeout=20).raise_for_status()
    webhooks: list[dict[str, Any]] = answer.json()["webhooks"]
    return webhooks


def create(service: ServiceProcess, receiver: Receiver, **fields: object) -> dict[str, Any]:
    body = {"url": receiver.url, **fields}
    answer = httpx.post(f"{service.url}/v1/webhooks", json=body, timeout=20).raise_for_status()
    created: dict[str, Any] = answer.json()
    return created


def delivery_of(service: ServiceProcess, webhook_id: str) -> dict[str, Any]:
    (found,) = (webhook for webhook in listed(service) if webhook["id"] == webhook_id)
    delivery: dict[str, Any] = found["delivery"]
    return delivery


def test(service: ServiceProcess, webhook_id: str) -> dict[str, Any]:
    url = f"{service.url}/v1/webhooks/{webhook_id}/test"
    answer: dict[str, Any] = httpx.post(url, timeout=20).raise_for_status().json()
    return answer


test.__test__ = False  # type: ignore[attr-defined]


def trip(service: ServiceProcess, instance_id: str) -> None:
    url = f"{service.url}/v1/instances/{instance_id}/trip"
    httpx.post(url, json={"reason": "test"}, timeout=20).raise_for_status()


def append(redis: RedisServer, *instances: str) -> list[str]:
    with redis.client() as client:
        return append_transitions(client, list(instances))


# ----------------------------------------------------------------------------- what is sent


def test_a_transition_is_sent_and_its_signature_verifies(
    replicas: list[ServiceProcess], receiver: Receiver
) -> None:
    created = create(replicas[0], receiver, states=["forced_open"])
    trip(replicas[1], "628")
    (delivery,) = receiver.wait_for(1)

    assert created["secret"].startswith("whsec_")
    assert delivery.is_signed_with(created["secret"])
    assert not delivery.is_signed_with("whsec_" + "A" * 32)
    assert delivery.headers["content-type"] == "application/json"
    assert abs(int(delivery.headers["webhook-timestamp"]) - time.time()) < 60
    assert delivery.body["type"] == "transition"
    data = delivery.body["data"]
    assert data["id"] == delivery.id
    assert (data["instance_id"], data["after"], data["reason"]) == ("628", "forced_open", "test")
    assert delivery.body["timestamp"].startswith("20")
    assert delivery.body["timestamp"].endswith("+00:00")


def test_a_secret_of_the_receivers_own_signs(
    replicas: list[ServiceProcess], receiver: Receiver
) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    create(replicas[0], receiver, secret=secret)
    trip(replicas[0], "628")

    assert receiver.wait_for(1)[0].is_signed_with(secret)


def test_the_secret_is_shown_once(replicas: list[ServiceProcess], receiver: Receiver) -> None:
    created = create(replicas[0], receiver)
    trip(replicas[0], "628")
    receiver.wait_for(2)
    test(replicas[1], created["id"])

    secret = created["secret"].removeprefix("whsec_")
    for service in replicas:
        assert secret not in httpx.get(f"{service.url}/v1/webhooks", timeout=20).text
        assert secret not in service.log_text()
        assert receiver.url not in service.log_text()
    assert secret.encode() not in b"".join(delivery.raw for delivery in receiver.taken)


def test_only_what_is_wanted_is_sent(
    redis: RedisServer, replicas: list[ServiceProcess], receiver: Receiver
) -> None:
    created = create(replicas[0], receiver, instances=["a", "b"], states=["open"])
    append(redis, "a", "c", "b", "a")
    receiver.wait_for(3)
    wait_until(lambda: delivery_of(replicas[0], created["id"])["waiting"] == 0, "the rest to pass")

    assert sorted(delivery.instance_id for delivery in receiver.taken) == ["a", "a", "b"]
    assert delivery_of(replicas[0], created["id"])["delivered"] == 3


def test_what_happened_before_it_is_not_sent(
    redis: RedisServer, replicas: list[ServiceProcess], receiver: Receiver
) -> None:
    append(redis, "early")
    create(replicas[0], receiver)
    append(redis, "late")
    # Its own creation is the first: an operator did that.
    assert [item.body["data"]["action"] for item in receiver.wait_for(2)].count("trip") == 1
    assert receiver.of("late")
    assert not receiver.of("early")


def test_a_test_event_is_sent_at_once_and_says_what_came_back(
    replicas: list[ServiceProcess], receiver: Receiver
) -> None:
    created = create(replicas[0], receiver, instances=["nobody"])
    fine = test(replicas[1], created["id"])
    assert (fine["delivered"], fine["status"], fine["error"]) == (True, 204, None)
    (delivery,) = receiver.taken
    assert delivery.body["type"] == "test"
    assert delivery.id == fine["event_id"]
    assert delivery.is_signed_with(created["secret"])

    receiver.answer = lambda _: 302
    moved = test(replicas[1], created["id"])
    assert (moved["delivered"], moved["status"]) == (False, 302)
    assert "redirects are not followed" in moved["error"]
    assert len(receiver.came) == 2

    receiver.close()
    refused = test(replicas[1], created["id"])
    assert (refused["delivered"], refused["status"]) == (False, None)
    assert "no answer" in refused["error"]


def test_there_is_a_bound_and_the_audit_trail_has_it_all(
    redis: RedisServer, replicas: list[ServiceProcess], receiver: Receiver
) -> None:
    before = _audited(redis)
    ids = [create(replicas[0], receiver, instances=["nobody"])["id"] for _ in range(32)]
    body = {"url": receiver.url}
    answer = httpx.post(f"{replicas[0].url}/v1/webhooks", json=body, timeout=20)
    assert (answer.status_code, answer.json()["cause"]) == (409, "too_many_webhooks")

    for webhook_id in ids:
        httpx.delete(f"{replicas[0].url}/v1/webhooks/{webhook_id}", timeout=20).raise_for_status()
    assert listed(replicas[0]) == []
    after = _audited(redis) - before
    assert after == Counter(
        {(action, name): 1 for name in ids for action in ("create_webhook", "delete_webhook")}
    )


def _audited(redis: RedisServer) -> Counter[tuple[str, str]]:
    with redis.client() as client:
        entries: Any = client.xrange("sekring:{00}:events")
    return Counter(
        (fields[b"action"].decode(), fields.get(b"cause", b"").decode()) for _, fields in entries
    )


# ------------------------------------------------------------------------- what goes wrong


def test_what_fails_is_sent_again_in_the_order_of_each_instance(
    redis: RedisServer, replicas: list[ServiceProcess], receiver: Receiver
) -> None:
    """500s, answers that come too late, and connections that are refused."""
    created = create(replicas[0], receiver, states=["open"])
    refusals = Counter[str]()

    def answer(delivery: Delivery) -> int:
        refusals[delivery.id] += 1
        if refusals[delivery.id] == 1:
            return 500
        if refusals[delivery.id] == 2 and delivery.id in slow:
            time.sleep(2.5)
        return 200

    slow: set[str] = set()
    receiver.answer = answer
    ids = append(redis, *["a", "b", "c"] * 4)
    slow.add(ids[1])
    receiver.wait_for(6)
    receiver.close()
    ids += append(redis, "a", "b", "c")
    wait_until(
        lambda: "connection" in (delivery_of(replicas[0], created["id"])["last_error"] or ""),
        "refused connections",
    )
    receiver.open()
    wait_until(lambda: set(receiver.ids()) >= set(ids), "everything")

    for name in "abc":
        # Who answers too late has it, and gets it again.
        order = list(dict.fromkeys(delivery.id for delivery in receiver.of(name)))
        assert order == [one for one in ids if one in set(order)]
    wait_until(lambda: delivery_of(replicas[0], created["id"])["waiting"] == 0, "the end")
    delivery = delivery_of(replicas[0], created["id"])
    assert (delivery["attempts"], delivery["lost"], delivery["next_try_at_ms"]) == (0, 0, None)
    assert delivery["delivered"] == len(ids)
    assert delivery["last_success_at_ms"]
    assert delivery["last_error_at_ms"]


def test_one_that_is_never_taken_holds_up_its_own_instance_only(
    redis: RedisServer, replicas: list[ServiceProcess], receiver: Receiver
) -> None:
    created = create(replicas[0], receiver, states=["open"])
    receiver.answer = lambda delivery: 500 if delivery.instance_id == "poison" else 200
    append(redis, "poison", "poison", *[f"i{number}" for number in range(50)])
    receiver.wait_for(50)

    wait_until(
        lambda: delivery_of(replicas[0], created["id"])["last_error"] == "answered 500",
        "the failure to be said",
    )
    assert delivery_of(replicas[0], created["id"])["waiting"] >= 2
    assert len({item.id for item in receiver.came if item.instance_id == "poison"}) == 1


def test_what_the_stream_trims_before_it_is_taken_is_counted_as_lost(
    redis: RedisServer, replicas: list[ServiceProcess], receiver: Receiver
) -> None:
    created = create(replicas[0], receiver, states=["open"])
    receiver.answer = lambda _: 503
    ids = append(redis, *["lossy"] * 10)
    wait_until(lambda: len(receiver.came) > 2, "attempts")
    with redis.client() as client:
        client.xtrim(f"sekring:{{{ids[0][:2]}}}:events", maxlen=4, approximate=False)
    wait_until(lambda: delivery_of(replicas[0], created["id"])["lost"] == 6, "the loss to be said")
    assert delivery_of(replicas[0], created["id"])["waiting"] == 4
    receiver.answer = lambda _: 200
    receiver.wait_for(4)

    assert receiver.ids() == ids[6:]


def test_410_disables_it_for_good(
    redis: RedisServer, replicas: list[ServiceProcess], receiver: Receiver
) -> None:
    created = create(replicas[0], receiver, states=["open"])
    receiver.answer = lambda _: 410
    append(redis, "gone")
    wait_until(lambda: listed(replicas[0])[0]["disabled"], "the webhook to be disabled")
    (webhook,) = listed(replicas[1])
    assert "410 Gone" in webhook["disabled"]
    assert _audited(redis)["disable_webhook", created["id"]] == 1

    receiver.answer = lambda _: 200
    append(redis, "gone", "gone")
    other = create(replicas[0], receiver, states=["open"])
    append(redis, "still here")
    wait_until(lambda: delivery_of(replicas[0], other["id"])["delivered"] == 1, "another webhook")
    assert [delivery.instance_id for delivery in receiver.taken] == ["still here"]
    assert len(receiver.came) == 2


def test_a_redis_that_is_away_for_a_while_loses_nothing(tmp_path: Path) -> None:
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with (
        RedisServer(tmp_path / "redis", *options) as server,
        ServiceProcess(server.url, **QUICK) as service,
        Receiver() as receiver,
    ):
        create(service, receiver, states=["open"])
        ids = append(server, "before")
        receiver.wait_for(1)
        server.stop()
        time.sleep(2)  # longer than the lease
        server.start()
        ids += append(server, "after", "after")
        wait_until(lambda: set(receiver.ids()) >= set(ids), "what came after")

        # What was not written down when Redis went is sent again.
        assert list(dict.fromkeys(receiver.ids())) == ids


# ------------------------------------------------------------------------- several replicas


def test_of_three_replicas_exactly_one_delivers(
    redis: RedisServer, replicas: list[ServiceProcess], receiver: Receiver
) -> None:
    created = create(replicas[0], receiver, states=["open"])
    ids: list[str] = []
    for _ in range(10):
        ids += append(redis, *[f"i{number}" for number in range(20)])
        time.sleep(0.2)
    receiver.wait_for(len(ids))
    wait_until(lambda: delivery_of(replicas[1], created["id"])["waiting"] == 0, "the end")

    assert sorted(receiver.ids()) == sorted(ids)
    replica = delivery_of(replicas[1], created["id"])["replica"]
    assert replica.rpartition(":")[2] in {str(service.port) for service in replicas}


def deliverer(services: list[ServiceProcess], webhook_id: str) -> ServiceProcess:
    """Return the replica that delivers the webhook."""
    wait_until(lambda: delivery_of(services[0], webhook_id)["replica"], "a replica to deliver")
    port = delivery_of(services[0], webhook_id)["replica"].rpartition(":")[2]
    return next(service for service in services if str(service.port) == port)


def test_a_replica_that_has_nothing_to_deliver_gives_its_webhooks_up_when_it_stops(
    tmp_path: Path,
) -> None:
    with RedisServer(tmp_path / "redis") as redis, Receiver() as receiver:
        with ServiceProcess(redis.url, **QUICK | {"webhook_lease_ms": 60_000}) as service:
            created = create(service, receiver, states=["open"])
            deliverer([service], created["id"])
            ids = append(redis, "x")
            receiver.wait_for(len(ids))
            wait_until(lambda: delivery_of(service, created["id"])["waiting"] == 0, "the end")
            time.sleep(1)  # what was delivered is written down, and nothing is left to do
            assert service.stop() == 0
        with redis.client() as client:
            # One that had to be killed leaves it for a minute.
            assert not list(client.scan_iter("*:hooklease:*"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_another_replica_takes_over(tmp_path: Path, how: signal.Signals) -> None:
    # A stop must not wait for the lease's end.
    lease_ms = 2_000 if how is signal.SIGKILL else 60_000
    with RedisServer(tmp_path / "redis") as redis, Receiver() as receiver:
        settings = QUICK | {"webhook_lease_ms": lease_ms}
        services = [ServiceProcess(redis.url, **settings) for _ in range(3)]
        try:
            for service in services:
                service.start()
            created = create(services[0], receiver, states=["open"])
            first = deliverer(services, created["id"])
            left = [service for service in services if service is not first]
            ids = append(redis, *["x", "y", "z"] * 10)
            receiver.wait_for(5)
            if how is signal.SIGKILL:
                first.kill()
            else:
                assert first.stop() == 0
            ids += append(redis, *["x", "y", "z"] * 10)
            wait_until(lambda: set(receiver.ids()) >= set(ids), "everything from another replica")

            assert deliverer(left, created["id"]) in left
            repeated = Counter(receiver.ids())
            # What was under way, and what was not written down yet.
            assert sum(repeated.values()) - len(repeated) <= 30
            if how is signal.SIGTERM:
                assert set(repeated.values()) == {1}
            for name in "xyz":
                order = list(dict.fromkeys(delivery.id for delivery in receiver.of(name)))
                assert order == [one for one in ids if one in set(order)]
        finally:
            for service in services:
                service.kill()


def test_a_deleted_webhook_falls_silent(
    redis: RedisServer, replicas: list[ServiceProcess], receiver: Receiver
) -> None:
    created = create(replicas[0], receiver, states=["open"])
    kept = create(replicas[0], receiver, states=["open"], instances=["kept"])
    append(redis, "before")
    receiver.wait_for(1)
    httpx.delete(f"{replicas[1].url}/v1/webhooks/{created['id']}", timeout=20).raise_for_status()
    time.sleep(QUICK["webhook_lease_ms"] / 1000)  # by then, whoever delivered it has asked
    append(redis, "after", "kept")
    wait_until(lambda: delivery_of(replicas[0], kept["id"])["delivered"] == 1, "the other one")

    assert [delivery.instance_id for delivery in receiver.taken] == ["before", "kept"]
