"""Spans on their way out: OTLP by gRPC or HTTP, in batches, by a thread of its own.

A collector that is away, or hangs, costs nobody anything: what does not fit into the batch
processor's queue (`OTEL_BSP_MAX_QUEUE_SIZE`) is dropped, and one line in the log says that nothing
arrives, another that it does so again.
"""

import os
import threading
from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from sekring.telemetry.chatter import Chatter, Outage
from sekring.telemetry.environment import Otel
from sekring.telemetry.spans import Span

__all__ = ["Export"]

_KINDS: Final = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
}
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)


class Export:
    """The way to the collector; takes lean spans (`sekring.telemetry.spans.Sink`)."""

    def __init__(self, otel: Otel, resource: Resource) -> None:
        """Begin; starts a thread, sends nothing yet."""
        self._resource = resource
        self._scope = InstrumentationScope("sekring", otel.version)
        self._chatter = Chatter()
        outage = Outage("traces", otel.endpoint("traces") or "", self._chatter)
        self._processor = BatchSpanProcessor(_OneLine(_exporter(otel), outage))

    def __call__(self, span: Span) -> None:
        """Queue a span that has ended."""
        self._processor.on_end(self._readable(span))

    def close(self, patience_s: float) -> None:
        """Send what waits; what cannot be sent within `patience_s` is lost. Blocks as long."""
        # The processor's own patience is half a minute, and cannot be told otherwise.
        closing = threading.Thread(target=self._processor.shutdown, daemon=True)
        closing.start()
        closing.join(patience_s)
        self._chatter.remove()

    def _readable(self, span: Span) -> ReadableSpan:
        name, attributes = span.describe()
        if span.error:
            attributes["error.type"] = span.error
        trace = span.trace
        state = TraceState.from_header([trace.state]) if trace.state else None
        parent = None
        if span.parent_id is not None:
            parent = SpanContext(trace.id, span.parent_id, span.remote, _SAMPLED, state)
        return ReadableSpan(
            name=name,
            context=SpanContext(
                trace.id, span.id, is_remote=False, trace_flags=_SAMPLED, trace_state=state
            ),
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            events=[
                Event(event.name, event.attributes, event.at_ns) for event in span.events or ()
            ],
            links=[
                Link(SpanContext(link.trace_id, link.span_id, is_remote=True))
                for link in span.links or ()
            ],
            kind=_KINDS[span.kind],
            status=_ERROR if span.error else _UNSET,
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=self._scope,
        )


def _exporter(otel: Otel) -> SpanExporter:
    """Return the exporter of the protocol; gRPC takes a second to import and is for who uses it."""
    if otel.protocol("traces") == "grpc":
        # Else its C core writes lines of its own between ours, at each restart of the collector.
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc  # noqa: PLC0415

        return grpc.OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http  # noqa: PLC0415

    return http.OTLPSpanExporter()


class _OneLine(SpanExporter):
    """An exporter that says once that it cannot, and once that it can again."""

    def __init__(self, exporter: SpanExporter, outage: Outage) -> None:
        self._exporter = exporter
        self._outage = outage

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self._outage.note(arrived=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
