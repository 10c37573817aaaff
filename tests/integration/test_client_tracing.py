"""Whose trace the client's calls and reports belong to: the one they are made in, then or later."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from sekring.client import AsyncClient, Sekring
from sekring.errors import InvalidInput, ServiceUnavailable
from sekring.wire import OutcomeBody
from tests.clients import client_of, fail
from tests.replicas import Replica
from tests.servers import RedisServer, free_port, wait_until

FAILURE = OutcomeBody(outcome="failure")


@pytest.fixture(scope="module")
def service(redis_process: RedisServer) -> Iterator[Replica]:
    """One for all tests, each of which has instances of its own."""
    with Replica(redis_process.url, partitions=4) as service:
        yield service


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """What ends in this process, whose provider is set as an application does it: once."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> InMemorySpanExporter:
    exporter.clear()
    return exporter


def tracer() -> trace.Tracer:
    return trace.get_tracer("the application")


def calls(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT]


def id_of(span: trace.Span) -> str:
    return f"{span.get_span_context().trace_id:032x}"


def traces_of(service: Replica, instance_id: str, action: str) -> list[str]:
    """Return the trace ids of those transitions, as the audit trail has them."""
    events = service.get(f"/v1/instances/{instance_id}/history")["transitions"]
    return [event["trace_id"] for event in events if event["action"] == action]


# ---------------------------------------------------------------------------- calls, at once


async def test_a_call_goes_out_in_the_trace_that_it_is_made_in(
    service: Replica, spans: InMemorySpanExporter
) -> None:
    async with AsyncClient(service.url) as client:
        with tracer().start_as_current_span("the 15th failure") as span:
            for _ in range(15):
                await client.report("s", FAILURE)

    assert traces_of(service, "s", "trip") == [id_of(span)]
    reports = calls(spans)
    assert len(reports) == 15
    assert {report.name for report in reports} == {"POST /v1/instances/{instance_id}/outcomes"}
    assert all(report.parent == span.get_span_context() for report in reports)
    assert dict(reports[0].attributes or {}) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "localhost",
        "server.port": service.port,
        "url.full": f"{service.url}/v1/instances/s/outcomes",
    }


@pytest.mark.parametrize(
    ("answers", "raised", "told"),
    [(True, InvalidInput, "400"), (False, ServiceUnavailable, "ServiceUnavailable")],
)
async def test_a_call_that_is_refused_or_not_answered_is_a_span_that_failed(
    service: Replica,
    spans: InMemorySpanExporter,
    answers: bool,  # noqa: FBT001 - a row of the table
    raised: type[Exception],
    told: str,
) -> None:
    url = service.url if answers else f"http://localhost:{free_port()}"
    async with AsyncClient(url) as client:
        with tracer().start_as_current_span("a mistake"), pytest.raises(raised):
            await client.permit("no good")

    [call] = calls(spans)
    assert call.status.status_code is StatusCode.ERROR
    assert call.attributes
    assert call.attributes["error.type"] == told


async def test_outside_of_a_trace_no_call_begins_one(
    service: Replica, spans: InMemorySpanExporter
) -> None:
    async with AsyncClient(service.url) as client:
        for _ in range(15):
            await client.report("untraced", FAILURE)

    assert spans.get_finished_spans() == ()


# -------------------------------------------------------------------------- reports, later


def test_a_report_that_is_sent_later_keeps_the_trace_that_it_was_made_in(
    service: Replica, spans: InMemorySpanExporter
) -> None:
    """Two instances fail in two traces; the reports of both go in the same batches."""
    with client_of(service.url, flush_every=0.2) as breaker:
        with tracer().start_as_current_span("one") as one:
            fail(breaker, "s1", 15)
        with tracer().start_as_current_span("the other") as other:
            fail(breaker, "s2", 15)
        fail(breaker, "s3", 15)
        breaker.flush()

    assert traces_of(service, "s1", "trip") == [id_of(one)]
    assert traces_of(service, "s2", "trip") == [id_of(other)]
    assert not {id_of(one), id_of(other)} & set(traces_of(service, "s3", "trip"))
    assert all(span.parent for span in calls(spans)), "batches are nobody's trace"


def test_a_question_that_the_client_thread_asks_is_in_the_trace_of_the_guard(
    service: Replica, spans: InMemorySpanExporter
) -> None:
    with Sekring(service.url, patience=5.0) as breaker:
        # Its view is not current yet: it asks.
        with tracer().start_as_current_span("the guard") as span, breaker.guard("asked"):
            pass
        wait_until(lambda: calls(spans), "the question's span")

    [question] = calls(spans)
    assert question.name == "POST /v1/instances/{instance_id}/attempts"
    assert question.parent == span.get_span_context()
