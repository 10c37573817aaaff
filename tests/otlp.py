"""A collector of traces and metrics: receives OTLP by gRPC or HTTP, and keeps what it gets.

`with Collector("grpc") as collector: ServiceProcess(redis.url, **collector.settings)`. It may be
closed and opened again on its port, and told to let everybody wait.
"""

import contextlib
import socket
import threading
from collections.abc import Iterable, Mapping
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import grpc  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.servers import free_port, wait_until

__all__ = ["Collector", "Received"]

Protocol = Literal["grpc", "http/protobuf"]

_KINDS = {
    Span.SPAN_KIND_INTERNAL: "internal",
    Span.SPAN_KIND_SERVER: "server",
    Span.SPAN_KIND_CLIENT: "client",
}


class Received(NamedTuple):
    """A span as it came; ids are in hex."""

    name: str
    kind: str
    trace_id: str
    id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, object]
    #: Names and attributes.
    events: list[tuple[str, Mapping[str, object]]]
    #: Traces and spans.
    links: list[tuple[str, str]]
    failed: bool
    state: str
    #: Attributes of who has sent it.
    resource: Mapping[str, object]
    #: All of it, for what must not be in it.
    raw: bytes


class Collector:
    """Listens in threads of this process."""

    def __init__(self, protocol: Protocol = "grpc") -> None:
        """Prepare; nothing listens yet."""
        self.protocol = protocol
        self.port = free_port()
        self.spans: list[Received] = []
        #: The latest state of each metric, and the attributes of who has sent it last.
        self.metrics: dict[str, Metric] = {}
        self.resource: Mapping[str, object] = {}
        #: Cleared: whoever sends waits.
        self.takes = threading.Event()
        self.takes.set()
        self._server: _Grpc | _Http | None = None

    @property
    def settings(self) -> dict[str, object]:
        """What has a service send here, all traces, and soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
            "OTEL_BSP_SCHEDULE_DELAY": 20,
        }

    def trace(self, trace_id: str) -> list[Received]:
        """Return a trace's spans, in the order in which they began."""
        mine = [span for span in list(self.spans) if span.trace_id == trace_id]
        return sorted(mine, key=lambda span: span.start_ns)

    def wait_for(self, trace_id: str, *names: str) -> list[Received]:
        """Wait until a trace has spans of these names, a name as often as it is given."""

        def has_come() -> bool:
            found = [span.name for span in self.trace(trace_id)]
            return all(found.count(name) >= names.count(name) for name in names)

        wait_until(has_come, f"{names} in {trace_id}")
        return self.trace(trace_id)

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep what a request holds."""
        for group in request.resource_spans:
            resource = _plain(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [_received(span, resource) for span in scope.spans]

    def take_metrics(self, request: ExportMetricsServiceRequest) -> None:
        """Keep what a request holds, in place of what came before."""
        for group in request.resource_metrics:
            self.resource = _plain(group.resource.attributes)
            for scope in group.scope_metrics:
                self.metrics |= {metric.name: metric for metric in scope.metrics}

    def points(self, name: str, **attributes: object) -> list[Any]:
        """Return the points of a metric that have these attributes (`__` stands for a dot)."""
        metric = self.metrics.get(name)
        if metric is None:
            return []
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        points = getattr(metric, metric.WhichOneof("data") or "gauge").data_points
        return [point for point in points if wanted.items() <= _plain(point.attributes).items()]

    def open(self) -> None:
        """Listen."""
        self._server = (_Grpc if self.protocol == "grpc" else _Http)(self)

    def close(self) -> None:
        """Stop listening, and break what is under way."""
        self.takes.set()
        if self._server:
            self._server.close()
        self._server = None

    def __enter__(self) -> Self:
        """Listen."""
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening."""
        self.close()


class _Grpc(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]
            self, self._server
        )
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(  # type: ignore[no-untyped-call]
            _GrpcMetrics(collector), self._server
        )
        self._server.add_insecure_port(f"127.0.0.1:{collector.port}")
        self._server.start()

    def Export(  # noqa: N802 - the protocol's name
        self, request: ExportTraceServiceRequest, _: object
    ) -> ExportTraceServiceResponse:
        self._collector.takes.wait()
        self._collector.take(request)
        return ExportTraceServiceResponse()

    def close(self) -> None:
        self._server.stop(grace=None).wait()


class _GrpcMetrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(  # noqa: N802 - the protocol's name
        self, request: ExportMetricsServiceRequest, _: object
    ) -> ExportMetricsServiceResponse:
        self._collector.takes.wait()
        self._collector.take_metrics(request)
        return ExportMetricsServiceResponse()


class _Http:
    def __init__(self, collector: Collector) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                collector.takes.wait()
                if self.path == "/v1/traces":
                    collector.take(ExportTraceServiceRequest.FromString(raw))
                    body = ExportTraceServiceResponse().SerializeToString()
                else:
                    assert self.path == "/v1/metrics"
                    collector.take_metrics(ExportMetricsServiceRequest.FromString(raw))
                    body = ExportMetricsServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        connections = self._connections = list[socket.socket]()

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def process_request(self, request: Any, client_address: Any) -> None:
                connections.append(request)
                super().process_request(request, client_address)

            def handle_error(self, *_: object) -> None:
                pass  # a sender that went away

        self._server = Server(("127.0.0.1", collector.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _received(span: Span, resource: Mapping[str, object]) -> Received:
    return Received(
        name=span.name,
        kind=_KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_plain(span.attributes),
        events=[(event.name, _plain(event.attributes)) for event in span.events],
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        state=span.trace_state,
        resource=resource,
        raw=span.SerializeToString(),
    )


def _plain(attributes: Iterable[Any]) -> dict[str, object]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
