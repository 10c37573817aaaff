"""A collector that is away, hangs or returns: nobody waits for it, and the log says so once."""

import itertools
import json
import logging
import secrets
import signal
from collections.abc import Callable, Iterator

import pytest
import structlog
from structlog.testing import capture_logs

from sekring.telemetry.environment import Otel
from sekring.telemetry.export import Export
from sekring.telemetry.spans import Span as LeanSpan
from sekring.telemetry.spans import Trace
from tests.otlp import Collector, Protocol, Received
from tests.replicas import Replica
from tests.servers import RedisServer, wait_until
from tests.serving import PATIENT

Send = Callable[[], str]

#: How long the exporters try, in seconds.
TIMEOUT = {"OTEL_EXPORTER_OTLP_TIMEOUT": 1}


@pytest.fixture(params=["grpc", "http/protobuf"])
def collector(request: pytest.FixtureRequest) -> Iterator[Collector]:
    protocol: Protocol = request.param
    with Collector(protocol) as collector:
        yield collector


@pytest.fixture
def export(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Export]:
    environ = {name: str(value) for name, value in (collector.settings | TIMEOUT).items()}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    otel = Otel(environ, "sekring", "1")
    structlog.reset_defaults()
    export = Export(otel, otel.resource())
    yield export
    export.close(0)


@pytest.fixture
def send(export: Export) -> Send:
    """Export a span, now; return its trace."""
    numbers = itertools.count(1)

    def one() -> str:
        span = LeanSpan("something", Trace(next(numbers), "", export, sampled=True))
        span.end()
        export._processor.force_flush()
        return span.trace.hex_id

    return one


@pytest.fixture
def chatter() -> Iterator[list[logging.LogRecord]]:
    """What libraries have written to the log, from warnings on."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append  # type: ignore[assignment,method-assign]
    logging.getLogger().addHandler(handler)
    yield records
    logging.getLogger().removeHandler(handler)


def test_what_is_sent_arrives(collector: Collector, send: Send) -> None:
    (span,) = collector.wait_for(send(), "something")
    assert span.resource["service.name"] == "sekring"


def test_while_it_is_away_the_log_says_so_once_and_once_that_it_is_back(
    collector: Collector, send: Send, chatter: list[logging.LogRecord]
) -> None:
    send()
    collector.close()
    with capture_logs() as lines:
        for _ in range(2):
            send()
        (line,) = lines
        assert (line["log_level"], line["event"]) == (
            "warning", "no traces arrive at the collector",
        )  # fmt: skip
        assert str(collector.port) in line["endpoint"]
        assert line["error"]

        collector.open()

        def arrives() -> bool:
            # A connection that was refused is tried again in its own time.
            return bool(collector.trace(send()))

        wait_until(arrives, "the collector to be found again")
        assert lines[-1]["event"] == "traces arrive at the collector again"
        assert len(lines) == 2
    # Nor do the libraries say anything by themselves.
    assert chatter == []


def test_whoever_ends_does_not_wait_for_one_that_hangs(
    collector: Collector, export: Export
) -> None:
    collector.takes.clear()
    for number in range(1, 1_000):
        LeanSpan("something", Trace(number, "", export, sampled=True)).end()

    export.close(0.1)


# ------------------------------------------------------------------------------- a service


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("redis")
    with RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


def test_a_service_serves_and_stops_though_the_collector_hangs(server: RedisServer) -> None:
    with Collector("http/protobuf") as collector:
        settings = {**PATIENT, **collector.settings, "OTEL_TRACES_SAMPLER_ARG": 1}
        with Replica(server.url, **settings) as replica:
            collector.takes.clear()
            assert [verdict["counted"] for verdict in replica.fail("hangs", 5)] == [True] * 5

            replica.signal(signal.SIGTERM)
            assert replica.wait() == 0
            assert replica.log_text().count("collector") <= 1


def test_what_waits_is_sent_at_the_stop(server: RedisServer) -> None:
    with Collector("http/protobuf") as collector:
        later = {"OTEL_BSP_SCHEDULE_DELAY": 600_000, "OTEL_TRACES_SAMPLER_ARG": 1}
        settings: dict[str, object] = {**PATIENT, **collector.settings, **later}
        with Replica(server.url, log_level="debug", **settings) as replica:
            replica.report("stops")
            assert collector.spans == []
        (request,) = (span for span in collector.spans if span.kind == "server"
                      and span.attributes.get("sekring.instance_id") == "stops")  # fmt: skip

        # And each line in the log names the trace that it belongs to.
        lines = map(json.loads, replica.log_text().splitlines())
        (line,) = (line for line in lines if line.get("trace_id") == request.trace_id
                   and line["event"] == "circuit breaker status")  # fmt: skip
        assert line["span_id"] == request.id


def test_a_trip_by_a_report_that_had_to_wait_is_in_its_trace(server: RedisServer) -> None:
    with Collector("http/protobuf") as collector:
        settings = {**collector.settings, "OTEL_TRACES_SAMPLER_ARG": 0}
        with Replica(server.url, **settings) as replica:
            instance_id = f"i-{secrets.token_hex(4)}"
            replica.fail(instance_id, 14)
            with server.away("stopped"):
                wait_until(lambda: replica.permit("other")["degraded"], "the replica to notice")
                (verdict,) = replica.fail(instance_id, 1)
                assert verdict["degraded"]
            wait_until(lambda: replica.whole, "the replay to be over", 60)

            (entry,) = replica.get(f"/v1/instances/{instance_id}/history")["transitions"]
            # The trip was made twice: by the replica alone, which is told of in the request, and,
            # after that had ended, at Redis.
            route = "POST /v1/instances/{instance_id}/outcomes"
            wait_until(lambda: trips(collector, entry["trace_id"])[1:], "both to arrive")
            request, script = trips(collector, entry["trace_id"])
            assert (request.name, script.name) == (route, "FCALL report")
            assert request.attributes["sekring.degraded"] is True
            assert request.end_ns < script.start_ns
            assert script.parent_id == request.id


def trips(collector: Collector, trace_id: str) -> list[Received]:
    """Return the spans in which the breaker opened, in their order."""
    return [
        span
        for span in collector.trace(trace_id)
        if "open" in [attributes["sekring.to"] for _, attributes in span.events]
    ]
