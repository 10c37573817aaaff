"""One attempt, one trace: from the gateway's permit and connect to the script that counts it."""

from collections.abc import Iterator

import httpx
import pytest

from tests.gateways import GatewayProcess, wish
from tests.otlp import Collector, Received
from tests.servers import RedisServer, wait_until
from tests.serving import PATIENT, ServiceProcess

#: Fails twice, connects, breaks, and connects for good: all of it once.
SCENARIO = """
[[rule]]
instances = "s"
[[rule.connect]]
times = 2
steps = [
  { do = "wait", ms = 20 },
  { do = "fail", kind = "dns", detail = "no such host" },
]
[[rule.connect]]
steps = [
  { do = "connect" },
  { do = "wait", ms = 50 },
  { do = "fail", kind = "websocket", detail = "1006" },
]
[[rule.connect]]
steps = [{ do = "connect" }, { do = "stay" }]

[[rule]]
instances = "well"
[[rule.connect]]
steps = [{ do = "connect" }, { do = "stay" }]
"""

PERMIT = "POST /v1/instances/{instance_id}/attempts"
REPORT = "POST /v1/instances/{instance_id}/outcomes"
POLICY = {
    "backoff": {"base_ms": 50, "factor": 1, "cap_ms": 50, "jitter": 0},
    "failure_threshold": 2,
}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def gateway(
    redis_process: RedisServer, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that samples nothing by chance, and what it has done by the time it has ended."""
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "scenario.toml").write_text(SCENARIO)
    environment = collector.settings | {"OTEL_TRACES_SAMPLER_ARG": "0"}
    with redis_process.client() as client:
        client.flushall()  # another file may have left sessions
    with ServiceProcess(redis_process.url, **PATIENT, **environment) as service:
        httpx.put(f"{service.url}/v1/policy", json=POLICY).raise_for_status()
        wish(service.url, ["s", "well"])
        with GatewayProcess("a", service.url, folder, **environment) as gateway:
            url = f"{service.url}/v1/instances/s"
            wait_until(lambda: httpx.get(url).json()["state"] == "open", "the trip", 60)
            httpx.post(f"{url}/reset", json={}).raise_for_status()
            wait_until(lambda: gateway.said("session connected")[2:], "everything", 60)
        gateway.url = service.url
        yield gateway


@pytest.fixture
def failure(gateway: GatewayProcess, collector: Collector) -> list[Received]:
    """The trace of the failure that trips the breaker, by when its spans began."""
    trace_id = gateway.said("session failed")[1]["trace_id"]
    return collector.trace(trace_id)


def below(parent: Received, spans: list[Received]) -> list[Received]:
    return [span for span in spans if span.parent_id == parent.id]


def test_a_failed_attempt_is_one_trace_in_the_order_of_what_happened(
    failure: list[Received],
) -> None:
    connect = failure[0]

    assert (connect.name, connect.kind, connect.parent_id) == ("connect", "internal", "")
    assert [(span.name, span.kind) for span in below(connect, failure)] == [
        (PERMIT, "client"),
        ("wait", "internal"),
        ("worker connect", "internal"),
        (REPORT, "client"),
    ]
    first, *others = below(connect, failure)
    for before, after in zip([first, *others], others, strict=False):
        assert before.end_ns <= after.start_ns
    assert all(span.end_ns <= connect.end_ns for span in others)


def test_it_says_whose_attempt_it_was_and_how_it_failed(failure: list[Received]) -> None:
    [connect] = [span for span in failure if span.name == "connect"]
    [worker] = [span for span in failure if span.name == "worker connect"]

    assert connect.resource["service.name"] == "sekring-gateway"
    assert connect.attributes["sekring.gateway"] == "a"
    assert connect.attributes["sekring.instance_id"] == "s"
    assert connect.attributes["sekring.permitted"] is True
    assert connect.attributes["sekring.epoch"] == 0, "it was never tripped before"
    assert connect.attributes["sekring.backoff_ms"] == 50
    assert worker.attributes["sekring.kind"] == "dns"
    assert worker.attributes["sekring.detail"] == "no such host"
    assert worker.attributes["error.type"] == connect.attributes["error.type"] == "dns"
    assert connect.failed
    assert worker.failed


def test_its_report_is_seen_in_the_service_down_to_the_script(failure: list[Received]) -> None:
    [report] = [span for span in failure if span.name == REPORT and span.kind == "client"]

    [served] = below(report, failure)
    assert (served.name, served.kind) == (REPORT, "server")
    assert served.resource["service.name"] == "sekring"
    scripts = [span for span in below(served, failure) if span.name == "FCALL report"]
    assert [script.attributes["db.stored_procedure.name"] for script in scripts] == ["report"]
    assert report.attributes["http.response.status_code"] == 200
    assert str(report.attributes["url.full"]).endswith("/v1/instances/s/outcomes")


def test_the_trip_is_told_with_the_trace_that_caused_it(
    gateway: GatewayProcess, failure: list[Received]
) -> None:
    history = httpx.get(f"{gateway.url}/v1/instances/s/history").json()["transitions"]

    [trip] = [entry for entry in history if entry["action"] == "trip"]
    assert trip["trace_id"] == failure[0].trace_id


def test_a_connection_that_breaks_is_a_trace_of_its_own_linked_to_its_connect(
    gateway: GatewayProcess, collector: Collector
) -> None:
    broken = gateway.said("session failed")[2]
    connected = gateway.said("session connected")
    trace = collector.trace(broken["trace_id"])

    root = trace[0]
    assert (root.name, root.parent_id) == ("connection failed", "")
    assert root.attributes["sekring.kind"] == "websocket"
    assert root.links[0][0] in {entry["trace_id"] for entry in connected}
    assert (REPORT, "client") in {(span.name, span.kind) for span in below(root, trace)}


def test_what_goes_well_is_sampled_by_the_ratio_alone_and_named_in_the_log(
    gateway: GatewayProcess, collector: Collector
) -> None:
    """The ratio is 0 here, so no trace of it is exported."""
    connected = gateway.said("session connected")

    assert {entry["instance_id"] for entry in connected} == {"s", "well"}
    assert [len(entry["trace_id"]) for entry in connected] == [32] * 3
    assert not any(collector.trace(entry["trace_id"]) for entry in connected)
