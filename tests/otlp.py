"""An OTLP receiver that keeps what it gets: the collector of a deployment, by gRPC."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.servers import wait_until

__all__ = ["Collector", "Spent"]


class Spent(NamedTuple):
    """A span as it came."""

    service: str
    trace_id: str
    span_id: str
    parent_id: str
    name: str
    #: `internal`, `server` or `client`.
    kind: str
    failed: bool
    began_ns: int
    ended_ns: int
    attributes: dict[str, Any]
    #: Trace and span ids.
    links: list[tuple[str, str]]


class Collector:
    """`with Collector() as collector: …`; `environment` is what an exporter needs to find it."""

    def __init__(self) -> None:
        """Listen on a free port from the start of the context on."""
        self._spans: list[Spent] = []
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(2))
        serve: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        serve(_Taker(self._take), self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    @property
    def spans(self) -> list[Spent]:
        """Everything that has come, by when it began."""
        with self._lock:
            return sorted(self._spans, key=lambda span: span.began_ns)

    def trace(self, trace_id: str) -> list[Spent]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def wait_for(self, matches: Callable[[Spent], bool], what: str) -> Spent:
        """Return the first span that matches, as soon as it comes."""

        def find() -> Spent | None:
            return next(filter(matches, self.spans), None)

        wait_until(lambda: find() is not None, what)
        found = find()
        assert found
        return found

    def __enter__(self) -> Self:
        """Listen."""
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Listen no more."""
        self._server.stop(None).wait()

    def _take(self, request: trace_service_pb2.ExportTraceServiceRequest) -> None:
        with self._lock:
            self._spans.extend(_spans_in(request))


class _Taker(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take = take

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's own name
        del context
        self._take(request)
        return trace_service_pb2.ExportTraceServiceResponse()


_KINDS = {1: "internal", 2: "server", 3: "client"}
_ERROR = 2


def _spans_in(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[Spent]:
    for resource in request.resource_spans:
        service = str(_attributes(resource.resource.attributes)["service.name"])
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Spent(
                    service=service,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    name=span.name,
                    kind=_KINDS[span.kind],
                    failed=span.status.code == _ERROR,
                    began_ns=span.start_time_unix_nano,
                    ended_ns=span.end_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
