"""The short way of permits and outcomes answers as the framework's way does, headers included."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx
import pytest

from sekring.tokens import NewToken, Role
from tests.servers import RedisServer, wait_until
from tests.serving import PATIENT, ServiceProcess

GATEWAY = NewToken.make("a-gateway", Role.GATEWAY)
VIEWER = NewToken.make("a-viewer", Role.VIEWER)
OPERATOR = NewToken.make("an-operator", Role.OPERATOR)

#: A request with it goes the framework's way, and means the same.
DETOUR = {"sec-fetch-site": "none"}

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    tokens = ",".join(
        f"{one.entry.name}={one.entry.role}:{one.entry.hash}" for one in (GATEWAY, VIEWER, OPERATOR)
    )
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as redis,
        ServiceProcess(redis.url, tokens=tokens, log_level="debug", **PATIENT) as service,
    ):
        yield service


@pytest.fixture(scope="module")
def http(service: ServiceProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30, headers=bearer(GATEWAY)) as client:
        yield client


def bearer(token: NewToken) -> dict[str, str]:
    return {"authorization": f"Bearer {token.token}"}


class Sent(NamedTuple):
    """A request; `{id}` in its path and body is an instance of its own for each way."""

    path: str
    body: bytes = b""
    headers: Mapping[str, str] = {}
    method: str = "POST"


ATTEMPTS = "/v1/instances/{id}/attempts"
OUTCOMES = "/v1/instances/{id}/outcomes"
FAILURE = b'{"outcome": "failure", "kind": "websocket", "id": "one"}'


def batch(*elements: str) -> bytes:
    return b'{"outcomes": [%s]}' % ", ".join(elements).encode()


ORDINARY = {
    "a permit": Sent(ATTEMPTS),
    "a permit with a body": Sent(ATTEMPTS, b'{"gateway": "gw-1", "build": "2.3000"}', JSON),
    "a strong permit": Sent(ATTEMPTS, b'{"strong": true}', JSON),
    "a permit in a trace": Sent(ATTEMPTS, headers={"traceparent": TRACE}),
    "a failure": Sent(OUTCOMES, FAILURE, JSON),
    "a failure called a form": Sent(
        OUTCOMES, FAILURE, {"content-type": "application/x-www-form-urlencoded"}
    ),
    "a failure by its code": Sent(
        OUTCOMES, b'{"outcome": "failure", "protocol": "baileys", "code": 428}', JSON
    ),
    "a ban": Sent(
        OUTCOMES,
        b'{"outcome": "failure", "kind": "temporary_ban", "ban_expires_in_ms": 3600000}',
        JSON,
    ),
    "a success": Sent(OUTCOMES, b'{"outcome": "success"}', JSON),
    "a batch": Sent(
        "/v1/outcomes",
        batch(
            '{"instance_id": "{id}", "outcome": "failure", "kind": "dns", "id": "a"}',
            '{"instance_id": "{id}", "outcome": "failure", "kind": "dns", "id": "a"}',
            '{"instance_id": "{id}", "outcome": "attempt", "attempt_id": "0-abcdefgh"}',
            '{"instance_id": "{id}", "outcome": "failure", "kind": "rain"}',
            '{"instance_id": "no spaces", "outcome": "success"}',
            "7",
        ),
        JSON,
    ),
    "a batch of a megabyte": Sent(
        "/v1/outcomes",
        batch(
            *(
                f'{{"instance_id":"{{id}}-{number}","outcome":"failure","detail":"{number:890}"}}'
                for number in range(1_000)
            )
        ),
        JSON,
    ),
}

UNUSUAL = {
    "no token": Sent(ATTEMPTS, headers={"authorization": ""}),
    "an unknown token": Sent(ATTEMPTS, headers=bearer(NewToken.make("nobody", Role.OPERATOR))),
    "a token that may not": Sent(ATTEMPTS, headers=bearer(VIEWER)),
    "another scheme": Sent(ATTEMPTS, headers={"authorization": "Basic abc"}),
    "no JSON": Sent(OUTCOMES, b"{", JSON),
    "no UTF-8": Sent(OUTCOMES, b'{"outcome": "\xff"}', JSON),
    "an unknown field": Sent(ATTEMPTS, b'{"gatewy": "gw-1"}', JSON),
    "an unknown kind": Sent(OUTCOMES, b'{"outcome": "failure", "kind": "rain"}', JSON),
    "fields that contradict": Sent(OUTCOMES, b'{"outcome": "success", "kind": "dns"}', JSON),
    "an outcome without a body": Sent(OUTCOMES),
    "an empty batch": Sent("/v1/outcomes", batch(), JSON),
    "deep nesting": Sent(OUTCOMES, b'{"outcome": ' + b"[" * 100_000, JSON),
    "deep nesting in a batch": Sent("/v1/outcomes", batch('{"x":' * 5_000 + "1" + "}" * 5_000)),
    # Answered before it was read, so that its connection is of no use afterwards.
    "a body of more than a megabyte": Sent(
        OUTCOMES, b" " * 1_100_000 + FAILURE, {**JSON, "connection": "close"}
    ),
    "an id that is none": Sent("/v1/instances/a b/attempts"),
    "an empty id": Sent("/v1/instances//attempts"),
    "an id that is too long": Sent(f"/v1/instances/{'a' * 129}/attempts"),
    "an id with a line's end": Sent("/v1/instances/a%0A/attempts"),
    "an unknown verb": Sent("/v1/instances/{id}/attempt"),
    "another method": Sent(ATTEMPTS, method="GET"),
}


def ask(http: httpx.Client, sent: Sent, instance_id: str, detour: Mapping[str, str]) -> Any:
    answer = http.request(
        sent.method,
        sent.path.replace("{id}", instance_id),
        content=sent.body.replace(b"{id}", instance_id.encode()),
        headers={**sent.headers, **detour},
    )
    # Ids and numbers differ in length; and whether a body that is too long has come by then
    # decides what becomes of the connection.
    own = {"date", "content-length", "connection"}
    headers = {name: text for name, text in answer.headers.items() if name not in own}
    text = answer.text.replace(instance_id, "ID")
    text = re.sub(r'"attempt_id":"[0-9a-f]+-[\w-]{8}"', '"attempt_id":"…"', text)
    text = re.sub(r'"epoch":\d+', '"epoch":…', text)
    text = re.sub(r'"(retry_after_ms|backoff_ms)":[1-9]\d*', r'"\1":…', text)
    return answer.status_code, headers, text


def ways(service: ServiceProcess, path: str) -> list[str]:
    entries = [json.loads(line) for line in service.log_text().splitlines()]
    return [
        entry.get("way", "framework")
        for entry in entries
        if entry["event"] == "request" and entry["path"] == path
    ]


@pytest.mark.parametrize("sent", ORDINARY.values(), ids=ORDINARY)
def test_what_is_ordinary_goes_the_short_way_and_is_answered_alike(
    service: ServiceProcess, http: httpx.Client, request: pytest.FixtureRequest, sent: Sent
) -> None:
    name = re.sub(r"\W", "-", request.node.callspec.id)
    before = len(ways(service, "/v1/outcomes"))

    short = ask(http, sent, f"short-{name}", {})
    framework = ask(http, sent, f"long-{name}", DETOUR)

    assert short == framework
    assert short[0] == 200
    if sent.path == "/v1/outcomes":
        wait_until(lambda: len(ways(service, sent.path)) == before + 2, "both in the log")
        assert ways(service, sent.path)[before:] == ["short", "framework"]
    else:
        paths = [sent.path.replace("{id}", f"{way}-{name}") for way in ("short", "long")]
        wait_until(lambda: all(ways(service, path) for path in paths), "both in the log")
        assert [ways(service, path) for path in paths] == [["short"], ["framework"]]


@pytest.mark.parametrize("sent", UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_not_ordinary_is_answered_alike(
    http: httpx.Client, request: pytest.FixtureRequest, sent: Sent
) -> None:
    name = re.sub(r"\W", "-", request.node.callspec.id)
    short = ask(http, sent, f"odd-{name}", {})
    assert short == ask(http, sent, f"odd-{name}", DETOUR)
    assert 400 <= short[0] < 500


@pytest.mark.parametrize("chunks", [[b""], [FAILURE], [FAILURE[:20], b"", FAILURE[20:]]])
def test_a_body_in_chunks_is_put_together(http: httpx.Client, chunks: list[bytes]) -> None:
    answers = [
        http.post(
            f"/v1/instances/chunks-{len(chunks)}-{len(chunks[0])}-{bool(detour)}/outcomes",
            content=iter(chunks),
            headers={**JSON, **detour},
        )
        for detour in ({}, DETOUR)
    ]
    short, framework = answers
    assert short.status_code == framework.status_code == (200 if any(chunks) else 400)
    assert short.json().keys() == framework.json().keys()


def test_the_audit_trail_says_the_same_of_both_ways(http: httpx.Client) -> None:
    trails = []
    for instance_id, detour in (("trail-short", {}), ("trail-framework", DETOUR)):
        body = {"outcome": "failure", "kind": "logged_out", "gateway": "gw-7"}
        headers = {"traceparent": TRACE, **detour}
        http.post(f"/v1/instances/{instance_id}/outcomes", json=body, headers=headers)
        (entry,) = http.get(f"/v1/instances/{instance_id}/history").json()["transitions"]
        own = ("id", "instance_id", "at_ms", "epoch")
        trails.append({name: entry[name] for name in entry.keys() - own})
    short, framework = trails
    assert short == framework
    assert (short["actor"], short["source"]) == ("gw-7", "127.0.0.1")
    assert short["trace_id"] == TRACE.split("-")[1]
