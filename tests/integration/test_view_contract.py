"""What the service gives to clients that permit by a view of their own, and takes of them."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.eventstream import EventReader
from tests.replicas import Replica
from tests.servers import Away, RedisServer, wait_until

ALIVE_MS = "100"


@pytest.fixture(scope="module")
def service(redis: RedisServer) -> Iterator[Replica]:
    with Replica(redis.url, partitions=4) as service:
        yield service


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An instance of the test's own."""
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:100].strip("-")


def batch(service: Replica, *items: dict[str, Any]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = service.post("/v1/outcomes", {"outcomes": items})["results"]
    return results


def attempt(instance_id: str, epoch: int, **fields: object) -> dict[str, Any]:
    attempt_id = f"{epoch:x}-AbCdEf_-"
    return {"instance_id": instance_id, "outcome": "attempt", "attempt_id": attempt_id, **fields}


def failure(instance_id: str, epoch: int) -> dict[str, Any]:
    return attempt(instance_id, epoch, outcome="failure", kind="dns")


# ------------------------------------------------------------------------------------- attempts


def test_an_attempt_is_registered_and_its_outcome_follows_it(service: Replica, name: str) -> None:
    epoch = service.instance(name)["now_ms"]

    begun, ended = batch(service, attempt(name, epoch, age_ms=500), failure(name, epoch))

    assert (begun["permitted"], begun["failures"]) == (True, 0)
    assert (ended["counted"], ended["failures"], ended["retry_attempts"]) == (True, 1, 0)
    again, _ = batch(service, attempt(name, epoch), attempt(name, epoch))
    assert again["permitted"]
    assert service.instance(name)["retry_attempts"] == 0, "one attempt counts once"


def test_an_attempt_that_goes_on_is_seen_since_it_began(service: Replica, name: str) -> None:
    now_ms = service.instance(name)["now_ms"]

    batch(service, attempt(name, now_ms, age_ms=2_000))

    seen = service.instance(name)
    assert seen["connection"] == "connecting"
    assert seen["connection_since_ms"] <= seen["now_ms"] - 2_000


@pytest.mark.parametrize(("outcome", "connection"), [("success", "connected"), ("failure", "")])
def test_who_names_the_attempt_speaks_of_it_whatever_the_ages_say(
    service: Replica, name: str, outcome: str, connection: str
) -> None:
    """The attempt was on its way for longer than what follows it: it seems to be younger."""
    epoch = service.instance(name)["now_ms"]

    batch(service, attempt(name, epoch), attempt(name, epoch, outcome=outcome, age_ms=5_000))

    assert service.instance(name)["connection"] == connection


def test_what_was_permitted_before_a_reset_is_late(service: Replica, name: str) -> None:
    before = service.instance(name)["now_ms"] - 1
    service.report(name)
    service.reset(name)

    begun, ended = batch(service, attempt(name, before), failure(name, before))

    assert begun["permitted"] is False
    assert (ended["counted"], ended["why"]) == (False, "late")
    assert service.instance(name)["failures"] == 0


def test_an_attempt_at_an_open_breaker_is_refused_and_takes_nothing(
    service: Replica, name: str
) -> None:
    service.fail(name, 15)
    epoch = service.instance(name)["epoch"]

    (begun,) = batch(service, attempt(name, epoch))

    assert (begun["permitted"], begun["state"]) == (False, "open")
    assert begun["retry_after_ms"] > 0
    assert service.instance(name)["connection"] == ""


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"attempt_id": None}, "attempt_id"),
        ({"attempt_id": "mine"}, "attempt_id"),
        ({"attempt_id": "ff-AbCdEf_-x"}, "attempt_id"),
        ({"kind": "dns"}, "kind"),
        ({"detail": "x"}, "detail"),
    ],
)
def test_a_bad_attempt_is_told_which_field_is_wrong(
    service: Replica, name: str, fields: dict[str, object], field: str
) -> None:
    bad, good = batch(service, attempt(name, 1) | fields, attempt(f"{name}-other", 1))

    assert bad["error"]["field"] == field
    assert good["permitted"]


def test_an_attempt_is_no_outcome_of_its_own_route(service: Replica, name: str) -> None:
    answer = httpx.post(f"{service.url}/v1/instances/{name}/outcomes", json={"outcome": "attempt"})

    assert (answer.status_code, answer.json()["field"]) == (400, "outcome")


# ---------------------------------------------------------------------------------------- alive


def test_a_stream_says_up_to_when_it_has_told_everything(service: Replica, name: str) -> None:
    with EventReader(service, alive_ms=ALIVE_MS) as reader:
        wait_until(lambda: len(alive(reader)) >= 15, "proofs")
        now_ms = service.instance(name)["now_ms"]
        wait_until(lambda: alive(reader)[-1]["redis_ms"] >= now_ms, "a proof of now")

    proofs = alive(reader)
    assert len({proof["keyspace"] for proof in proofs}) == 1
    assert all(proof["proven_ms"] <= proof["sent_ms"] for proof in proofs)
    assert proofs[0]["proven_ms"] < proofs[-1]["proven_ms"]


def test_a_proof_comes_behind_what_it_proves(service: Replica, name: str) -> None:
    with EventReader(service, alive_ms=ALIVE_MS) as reader:
        service.fail(name, 15)
        tripped_ms = service.instance(name)["now_ms"]
        wait_until(
            lambda: any(proof["redis_ms"] >= tripped_ms for proof in alive(reader)), "its proof"
        )

    events = [event.event for event in reader.events if event.event]
    first_proof = next(
        place
        for place, event in enumerate(event for event in reader.events if event.event)
        if event.event == "alive" and event.data["redis_ms"] >= tripped_ms
    )
    assert "transition" in events[:first_proof]


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_without_redis_nothing_new_is_proven(tmp_path: Any, how: Away) -> None:
    with (
        RedisServer(tmp_path, "--appendonly", "yes") as redis,
        Replica(redis.url, partitions=4) as service,
        EventReader(service, alive_ms=ALIVE_MS) as reader,
    ):
        wait_until(lambda: alive(reader), "a proof")
        with redis.away(how):
            last = len(alive(reader)) + 20
            wait_until(lambda: len(alive(reader)) >= last, "the stream to go on")
            stuck = alive(reader)[-1]
            assert stuck["sent_ms"] - stuck["proven_ms"] > 1_000
        wait_until(lambda: alive(reader)[-1]["proven_ms"] > stuck["sent_ms"], "a proof again")


def test_other_data_has_another_name(redis_server: RedisServer, tmp_path: Any) -> None:
    with RedisServer(tmp_path) as other:
        names = set()
        for url in (redis_server.url, redis_server.url, other.url):
            with (
                Replica(url, partitions=4) as service,
                EventReader(service, alive_ms=ALIVE_MS) as reader,
            ):
                wait_until(lambda reader=reader: alive(reader), "a proof")
                names.add(alive(reader)[0]["keyspace"])

    assert len(names) == 2


def test_a_trip_says_until_when(service: Replica, name: str) -> None:
    with EventReader(service, instance_id=name) as reader:
        service.fail(name, 15)
        (trip,) = reader.wait_for(1)
        service.reset(name)
        reset = reader.wait_for(2)[1]

    assert trip["until_ms"] == trip["at_ms"] + 600_000
    assert reset.get("until_ms") is None


def alive(reader: EventReader) -> list[dict[str, Any]]:
    """What the stream has proven so far."""
    return [event.data for event in reader.events if event.event == "alive"]
