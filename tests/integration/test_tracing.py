"""One request, seen from outside to each script: what is exported, of what, and when."""

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.eventstream import EventReader
from tests.otlp import Collector, Received
from tests.replicas import Replica
from tests.servers import RedisServer, wait_until
from tests.serving import PATIENT

CALLER = "00f067aa0ba902b7"
TOKEN = "skr_a-token-that-must-not-be-told"
DETAIL = "what the library said"

ASK = "POST /v1/instances/{instance_id}/attempts"
REPORT = "POST /v1/instances/{instance_id}/outcomes"
BATCH = "POST /v1/outcomes"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector("grpc") as collector:
        yield collector


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def replica(server: RedisServer, collector: Collector) -> Iterator[Replica]:
    """One that samples nothing of its own: what is exported is asked for, or must be."""
    settings = {**PATIENT, **collector.settings, "OTEL_TRACES_SAMPLER_ARG": 0}
    with Replica(server.url, **settings) as replica:
        yield replica


@pytest.fixture
def name() -> str:
    """An instance of the test's own."""
    return f"i-{secrets.token_hex(4)}"


class Caller:
    """Sends requests in a trace of its own."""

    def __init__(self, *, sampled: bool = True) -> None:
        self.trace_id = secrets.token_hex(16)
        self.traceparent = f"00-{self.trace_id}-{CALLER}-{'01' if sampled else '00'}"

    def post(self, replica: Replica, path: str, body: object, **headers: str) -> httpx.Response:
        headers = {"traceparent": self.traceparent} | headers
        return httpx.post(replica.url + path, json=body, headers=headers, timeout=20)

    def fail(self, replica: Replica, instance_id: str, **body: object) -> dict[str, Any]:
        body = {"outcome": "failure", "kind": "dns"} | body
        answer = self.post(replica, f"/v1/instances/{instance_id}/outcomes", body)
        assert answer.status_code == 200, answer.text
        verdict: dict[str, Any] = answer.json()
        return verdict


def one(spans: list[Received], name: str) -> Received:
    (found,) = (span for span in spans if span.name == name)
    return found


def transition(span: Received) -> dict[str, object]:
    ((event, attributes),) = span.events
    assert event == "sekring.transition"
    return dict(attributes)


def history(replica: Replica, instance_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = replica.get(f"/v1/instances/{instance_id}/history")["transitions"]
    return list(reversed(found))


def is_flushed(replica: Replica, collector: Collector) -> None:
    """What ended before now has arrived: spans are sent in the order in which they end."""
    caller = Caller()
    caller.fail(replica, "flush", id="flush")
    collector.wait_for(caller.trace_id, REPORT)


# ------------------------------------------------------------------------ from caller to script


def test_a_request_leads_to_its_script(
    replica: Replica, collector: Collector, name: str, server: RedisServer
) -> None:
    caller = Caller()
    caller.fail(replica, name)

    request, script = collector.wait_for(caller.trace_id, REPORT, "FCALL report")
    assert (request.name, request.kind, request.parent_id) == (REPORT, "server", CALLER)
    assert (script.name, script.kind, script.parent_id) == ("FCALL report", "client", request.id)
    assert request.start_ns <= script.start_ns <= script.end_ns <= request.end_ns
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/instances/{instance_id}/outcomes",
        "http.response.status_code": 200,
        "url.path": f"/v1/instances/{name}/outcomes",
        "url.scheme": "http",
        "sekring.instance_id": name,
        "sekring.kind": "dns",
        "sekring.why": "counted",
        "sekring.epoch": 0,
    }
    partition = script.attributes["sekring.partition"]
    assert isinstance(partition, int)
    assert 0 <= partition < 64
    assert script.attributes == {
        "db.system.name": "redis",
        "db.operation.name": "FCALL",
        "db.stored_procedure.name": "report",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "sekring.partition": partition,
        "sekring.instance_id": name,
        "sekring.kind": "dns",
        "sekring.why": "counted",
        "sekring.epoch": 0,
    }


def test_who_sends_is_said(replica: Replica, collector: Collector, name: str) -> None:
    caller = Caller()
    caller.fail(replica, name)

    span = collector.wait_for(caller.trace_id, REPORT)[0]
    assert span.resource["service.name"] == "sekring"
    assert span.resource["service.version"]
    assert span.resource["service.instance.id"]


def test_the_callers_tracestate_goes_on(replica: Replica, collector: Collector, name: str) -> None:
    caller = Caller()
    caller.post(replica, f"/v1/instances/{name}/attempts", {}, tracestate="a=1,b=2")

    for span in collector.wait_for(caller.trace_id, ASK, "FCALL permit"):
        assert span.state == "a=1,b=2"


def test_an_attempt_registered_later_stays_in_its_trace(
    replica: Replica, collector: Collector, name: str
) -> None:
    caller = Caller()
    permitted = caller.post(replica, f"/v1/instances/{name}/attempts", {}).json()

    spans = collector.wait_for(caller.trace_id, ASK, "FCALL permit")
    request, script = one(spans, ASK), one(spans, "FCALL permit")
    assert script.parent_id == request.id
    assert request.attributes["sekring.permitted"] is permitted["permitted"] is True


def test_a_stream_is_one_span_until_it_ends(replica: Replica, collector: Collector) -> None:
    stream = "GET /v1/events"
    before = len(collector.spans)
    caller = Caller()
    headers = {"traceparent": caller.traceparent}
    with httpx.stream("GET", f"{replica.url}/v1/events", headers=headers, timeout=20) as answer:
        lines = answer.iter_lines()
        next(lines)
        is_flushed(replica, collector)
        assert stream not in [span.name for span in collector.spans[before:]]
    assert one(collector.wait_for(caller.trace_id, stream), stream).parent_id == CALLER


@pytest.mark.parametrize("header", ["nonsense", f"00-{'0' * 32}-{CALLER}-01", ""])
def test_a_malformed_parent_is_none(
    replica: Replica, collector: Collector, name: str, header: str
) -> None:
    body = {"outcome": "failure", "kind": "dns"}
    path = f"{replica.url}/v1/instances/{name}/outcomes"
    for _ in range(15):
        assert httpx.post(path, json=body, headers={"traceparent": header}).status_code == 200

    (entry,) = history(replica, name)
    request = one(collector.wait_for(entry["trace_id"], REPORT), REPORT)
    assert request.parent_id == ""


# ---------------------------------------------------------------------------------- batches


def test_each_report_of_a_batch_is_in_the_trace_of_its_own(
    replica: Replica, collector: Collector, name: str
) -> None:
    batch, mine, other = Caller(), Caller(), Caller()
    item = {"instance_id": name, "outcome": "failure", "kind": "dns"}
    items = [
        item | {"traceparent": mine.traceparent},
        item | {"traceparent": other.traceparent},
        item | {"traceparent": "nonsense"},
        item,
    ]
    results = batch.post(replica, "/v1/outcomes", {"outcomes": items}).json()["results"]
    assert [result["why"] for result in results] == ["counted"] * 4

    spans = collector.wait_for(batch.trace_id, BATCH, "FCALL report", "FCALL report")
    request = one(spans, BATCH)
    # Those without a trace of their own are the batch's.
    assert [span.parent_id for span in spans] == [CALLER, request.id, request.id]
    for caller in (mine, other):
        report, script = collector.wait_for(caller.trace_id, "report", "FCALL report")
        assert (report.name, report.parent_id) == ("report", CALLER)
        assert report.links == [(batch.trace_id, request.id)]
        assert report.attributes["sekring.instance_id"] == name
        assert script.parent_id == report.id


def test_a_report_of_a_batch_is_sampled_as_its_own_trace_is(
    replica: Replica, collector: Collector, name: str
) -> None:
    batch, sampled, unsampled = Caller(), Caller(), Caller(sampled=False)
    item = {"instance_id": name, "outcome": "failure", "kind": "dns"}
    items = [item | {"traceparent": caller.traceparent} for caller in (sampled, unsampled)]
    batch.post(replica, "/v1/outcomes", {"outcomes": items})

    collector.wait_for(sampled.trace_id, "report")
    is_flushed(replica, collector)
    assert collector.trace(unsampled.trace_id) == []


# ------------------------------------------------------------------------------ transitions


def test_a_trip_is_an_event_of_the_script_that_made_it(
    replica: Replica, collector: Collector, name: str
) -> None:
    replica.fail(name, 14)
    caller = Caller()
    verdict = caller.fail(replica, name)
    assert verdict["tripped"]

    script = one(collector.wait_for(caller.trace_id, "FCALL report"), "FCALL report")
    assert transition(script) == {
        "sekring.instance_id": name,
        "sekring.from": "closed",
        "sekring.to": "open",
        "sekring.cause": "failures",
        "sekring.epoch": verdict["epoch"],
    }
    # It is its own trace's.
    assert script.links == []


def test_a_recovery_is_linked_to_the_trace_whose_report_tripped(
    replica: Replica, collector: Collector, name: str
) -> None:
    policy = {"failure_threshold": 1, "cooldown_ms": 1_000}
    httpx.put(f"{replica.url}/v1/instances/{name}/policy", json=policy).raise_for_status()
    caller = Caller()
    caller.fail(replica, name)
    tripped = one(collector.wait_for(caller.trace_id, REPORT), REPORT)

    def is_told() -> list[Received]:
        return [span for span in collector.spans if recovers(span, name)]

    wait_until(is_told, "a recovery")
    (span,) = is_told()
    assert span.name == "FCALL settle"
    assert span.links == [(caller.trace_id, tripped.id)]
    # It is the sweep's own trace, and all of it is exported.
    assert "sweep" in [one.name for one in collector.wait_for(span.trace_id, "sweep")]


def recovers(span: Received, name: str) -> bool:
    return any(
        (event["sekring.instance_id"], event["sekring.to"]) == (name, "closed")
        for _, event in span.events
    )


@pytest.mark.parametrize("sampled", [None, False])
def test_a_transition_is_exported_whoever_does_not_sample(
    replica: Replica,
    collector: Collector,
    name: str,
    sampled: bool | None,  # noqa: FBT001 - a parameter of the test
) -> None:
    replica.fail(name, 14)
    body = {"outcome": "failure", "kind": "dns"}
    caller = Caller(sampled=False)
    headers = {} if sampled is None else {"traceparent": caller.traceparent}
    httpx.post(f"{replica.url}/v1/instances/{name}/outcomes", json=body, headers=headers)

    (entry,) = history(replica, name)
    request, script = collector.wait_for(entry["trace_id"], REPORT, "FCALL report")
    assert script.parent_id == request.id
    assert request.start_ns <= script.start_ns <= script.end_ns <= request.end_ns
    assert transition(script)["sekring.to"] == "open"
    assert entry["trace_id"] == caller.trace_id or sampled is None
    # The 14 before were nothing special.
    is_flushed(replica, collector)
    told = [span for span in collector.spans if span.attributes.get("sekring.instance_id") == name]
    assert {span.trace_id for span in told} == {entry["trace_id"]}


def test_an_operators_reset_says_in_which_trace_it_was_made(
    replica: Replica, collector: Collector, name: str
) -> None:
    replica.fail(name, 15)
    caller = Caller(sampled=False)
    caller.post(replica, f"/v1/instances/{name}/reset", {})

    script = one(collector.wait_for(caller.trace_id, "FCALL reset"), "FCALL reset")
    assert transition(script)["sekring.from"] == "open"
    assert history(replica, name)[-1]["trace_id"] == caller.trace_id


def test_the_span_that_asked_is_nothing_for_the_audit_trail(
    replica: Replica, server: RedisServer, name: str
) -> None:
    replica.fail(name, 15)

    with server.client() as client:
        (key,) = client.keys(f"sekring:*:history:{name}")
        ((_, entry),) = client.xrange(key)
    assert b"trace_id" in entry
    assert b"span_id" not in entry


# ------------------------------------------------------------------------------- sampling


def test_what_is_neither_sampled_nor_special_is_not_exported(
    replica: Replica, collector: Collector, name: str
) -> None:
    caller = Caller(sampled=False)
    caller.fail(replica, name)
    replica.fail(name, 3)

    is_flushed(replica, collector)
    assert collector.trace(caller.trace_id) == []
    assert name not in [span.attributes.get("sekring.instance_id") for span in collector.spans]


def test_what_redis_refuses_is_exported(
    replica: Replica, collector: Collector, server: RedisServer, name: str
) -> None:
    replica.fail(name, 1)
    with server.client() as client:
        (key,) = client.keys(f"sekring:*:instance:{name}")
        client.delete(key)
        client.set(key, "not a hash", px=60_000)
        caller = Caller(sampled=False)
        answer = caller.post(replica, f"/v1/instances/{name}/reset", {})
        client.delete(key)
    assert answer.status_code == 503

    request, script = collector.wait_for(
        caller.trace_id, "POST /v1/instances/{instance_id}/reset", "FCALL reset"
    )
    for span in (request, script):
        assert span.failed
        assert span.attributes["error.type"] == "StoreUnavailable"
    assert request.attributes["http.response.status_code"] == 503


def test_a_refusal_of_the_breaker_is_no_error(
    replica: Replica, collector: Collector, name: str
) -> None:
    replica.fail(name, 15)
    path = f"{replica.url}/instance?instance_id={name}&access_token={TOKEN}"
    sampled, unsampled = Caller(), Caller(sampled=False)
    for caller in (unsampled, sampled):
        answer = httpx.get(path, headers={"traceparent": caller.traceparent})
        assert answer.status_code == 503

    assert not one(collector.wait_for(sampled.trace_id, "GET /instance"), "GET /instance").failed
    is_flushed(replica, collector)
    assert collector.trace(unsampled.trace_id) == []


# ------------------------------------------------------------------------------- secrecy


def test_nothing_that_somebody_wrote_is_in_a_span(
    replica: Replica, collector: Collector, name: str
) -> None:
    caller = Caller()
    caller.fail(replica, name, detail=DETAIL)
    caller.post(
        replica,
        f"/v1/instances/{name}/trip",
        {"reason": DETAIL},
        authorization=f"Bearer {TOKEN}",
    )
    httpx.get(
        f"{replica.url}/instance?instance_id={name}&access_token={TOKEN}",
        headers={"traceparent": caller.traceparent},
    )

    collector.wait_for(caller.trace_id, REPORT, "FCALL trip", "GET /instance")
    for span in list(collector.spans):
        assert TOKEN.encode() not in span.raw
        assert DETAIL.encode() not in span.raw


# --------------------------------------------------------------------------------- others


def test_the_feed_of_events_tells_the_trace(
    replica: Replica, collector: Collector, name: str
) -> None:
    with EventReader(replica, instance_id=name) as reader:
        reader.wait_begun()
        replica.fail(name, 15)
        (event,) = reader.wait_for(1)

    collector.wait_for(event["trace_id"], REPORT, "FCALL report")
