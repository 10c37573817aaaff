"""Which spans are exported: those of sampled traces, and of those with something special."""

import asyncio
import gc
import weakref

import pytest

from sekring.errors import SettingsError
from sekring.telemetry.environment import Otel
from sekring.telemetry.propagation import parse_traceparent, write_traceparent
from sekring.telemetry.spans import Span, Trace, background, child, current, under
from sekring.telemetry.tracing import Tracing

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0{}"


def tracing(**environ: str) -> Tracing:
    return Tracing(Otel(environ, "sekring", "1"))


class Exported(list[str]):
    """The names of what was exported, in order."""

    def __call__(self, span: Span) -> None:
        self.append(span.name)


@pytest.fixture
def exported() -> Exported:
    return Exported()


def work(trace: Trace) -> Span:
    """A request with a call in it, both ended; returns the request."""
    with Span("request", trace) as request:
        call = child("call")
        assert call
        with call:
            pass
    return request


def test_a_sampled_trace_is_exported_as_it_ends(exported: Exported) -> None:
    work(Trace(1, "", exported, sampled=True))
    assert exported == ["call", "request"]


def test_one_that_is_not_is_remembered_until_it_must_be(exported: Exported) -> None:
    request = work(Trace(1, "", exported, sampled=False))
    assert exported == []

    request.trace.keep()
    assert exported == ["call", "request"]


def test_from_then_on_everything_of_it_is_exported(exported: Exported) -> None:
    request = work(Trace(1, "", exported, sampled=False))
    request.trace.keep()

    with under(request):
        later = child("later")
    assert later
    later.end()
    assert exported == ["call", "request", "later"]


def test_an_error_has_its_trace_exported(exported: Exported) -> None:
    trace = Trace(1, "", exported, sampled=False)
    with pytest.raises(ValueError, match="x"), Span("request", trace):
        raise ValueError("x")
    assert exported == ["request"]


def test_an_error_of_what_comes_again_and_again_has_not(exported: Exported) -> None:
    trace = Trace(1, "", exported, sampled=False, routine=True)
    sweep = Span("sweep", trace)
    with pytest.raises(ValueError, match="x"), sweep:
        raise ValueError("x")
    assert exported == []

    trace.keep()
    assert exported == ["sweep"]


def test_what_is_remembered_is_bounded(exported: Exported) -> None:
    with Span("request", Trace(1, "", exported, sampled=False)) as request:
        for _ in range(10_000):
            call = child("call")
            assert call
            call.end()
    request.trace.keep()
    assert 1 <= len(exported) <= 1_000


def test_nothing_of_a_trace_is_left_to_the_garbage_collector(exported: Exported) -> None:
    gc.disable()
    try:
        request = weakref.ref(work(Trace(1, "", exported, sampled=False)))
        assert request() is None
    finally:
        gc.enable()


def test_without_a_collector_there_is_a_trace_id_and_nothing_else() -> None:
    with tracing().root("request") as span:
        assert len(span.trace.hex_id) == 32
        assert child("call") is None


# -------------------------------------------------------------------------------- sampling


@pytest.mark.parametrize(("flag", "sampled"), [(0, False), (1, True)])
def test_a_caller_decides_for_its_trace(flag: int, *, sampled: bool) -> None:
    parent = parse_traceparent(CALLER.format(flag))
    assert parent
    assert parent.sampled is sampled


@pytest.mark.parametrize(("ratio", "least", "most"), [("0", 0, 0), ("1", 1, 1), ("0.5", 0.4, 0.6)])
def test_so_many_of_those_that_begin_here_are_sampled(
    ratio: str, least: float, most: float, exported: Exported
) -> None:
    ours = tracing(OTEL_TRACES_SAMPLER_ARG=ratio)
    ours._export = exported  # type: ignore[assignment] # opened, without a collector
    share = sum(ours.begin().kept for _ in range(4_000)) / 4_000
    assert least <= share <= most


def test_the_same_traces_are_sampled_by_whoever_has_the_same_ratio(exported: Exported) -> None:
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased  # noqa: PLC0415 - slow

    ours, theirs = tracing(OTEL_TRACES_SAMPLER_ARG="0.25"), TraceIdRatioBased(0.25)
    ours._export = exported  # type: ignore[assignment]
    for trace in (ours.begin() for _ in range(1_000)):
        decision = theirs.should_sample(None, trace.id, "").decision
        assert trace.kept is (decision is Decision.RECORD_AND_SAMPLE)


@pytest.mark.parametrize("said", ["much", "-1", "1.1", "nan"])
def test_an_impossible_ratio_is_refused_by_its_name(said: str) -> None:
    with pytest.raises(SettingsError, match=r"OTEL_TRACES_SAMPLER_ARG.*from 0 to 1"):
        tracing(OTEL_TRACES_SAMPLER_ARG=said)


def test_a_protocol_that_is_not_spoken_is_refused_by_its_name() -> None:
    with pytest.raises(SettingsError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL.*grpc or http/protobuf"):
        tracing(OTEL_EXPORTER_OTLP_PROTOCOL="http/json")


# -------------------------------------------------------------------------- the environment


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector"}


@pytest.mark.parametrize(
    ("environ", "traces", "metrics"),
    [
        ({}, False, False),
        (ENDPOINT, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector/v1/traces"}, True, False),
        (ENDPOINT | {"OTEL_METRICS_EXPORTER": "none"}, True, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, False, False),
    ],
    ids=["nothing", "an endpoint", "one of traces", "no metrics", "disabled"],
)
def test_a_signal_is_sent_where_an_endpoint_is_named(
    environ: dict[str, str], *, traces: bool, metrics: bool
) -> None:
    otel = Otel(environ, "sekring", "1")
    assert (otel.exports("traces"), otel.exports("metrics")) == (traces, metrics)


def test_a_service_has_the_name_that_it_is_given() -> None:
    assert Otel({}, "sekring", "1").name == "sekring"
    attributes = "service.name=x,deployment.environment.name=a%20b"
    said = Otel({"OTEL_RESOURCE_ATTRIBUTES": attributes}, "sekring", "1")
    assert said.name == "x"
    assert said.resource_attributes["deployment.environment.name"] == "a b"
    named = {"OTEL_RESOURCE_ATTRIBUTES": attributes, "OTEL_SERVICE_NAME": "y"}
    assert Otel(named, "sekring", "1").name == "y"


# ------------------------------------------------------------------------------ on whose behalf


def test_a_header_names_the_span_for_the_next_process(exported: Exported) -> None:
    span = Span("request", Trace(0x4BF9, "", exported, sampled=True))
    parent = parse_traceparent(span.traceparent)
    assert parent
    assert (parent.trace_id, parent.span_id, parent.sampled) == (0x4BF9, span.id, True)
    assert write_traceparent(1, 2, sampled=False) == f"00-{1:032x}-{2:016x}-00"


async def test_background_work_is_on_nobodys_behalf(exported: Exported) -> None:
    async def whose() -> Span | None:
        return current()

    with Span("request", Trace(1, "", exported, sampled=True)) as span:
        assert await asyncio.create_task(whose()) is span
        assert await background(whose()) is None
