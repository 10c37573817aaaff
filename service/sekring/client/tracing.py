"""Which trace a call, or a report that is kept, belongs to: W3C Trace Context, by OpenTelemetry.

The client does not need OpenTelemetry. Where its API package is installed, a call goes out with the
`traceparent` of the context it is made in, and is a span of its own if that context has one: what
the client does by itself, in its thread, begins no trace. Spans are named and described by the
semantic conventions for HTTP clients, the stable ones. Without the package nothing of this happens.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

if TYPE_CHECKING:
    from opentelemetry import trace

__all__ = ["ERROR_STATUS", "Call", "PlainCall", "Tracing", "attributes_of", "tracing"]

#: The first status code that is an error to a client.
ERROR_STATUS: Final = 400

#: The ports that a URL need not name.
_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


class Call(Protocol):
    """One request, on its way."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What is to be sent with it."""
        ...

    def answered(self, status: int) -> None:
        """Take note of the answer's status code."""
        ...


class Tracing(Protocol):
    """What the client wants of tracing."""

    def traceparent(self) -> str | None:
        """Return the current context as W3C's header has it; `None`: there is none."""
        ...

    def headers(self) -> Mapping[str, str]:
        """Return the headers that take the current context along."""
        ...

    def call(self, method: str, template: str, url: str) -> contextlib.AbstractContextManager[Call]:
        """Enclose a request; `template` is the route, without the names in `url`."""
        ...


def tracing(version: str) -> Tracing:
    """Return tracing by OpenTelemetry if its API is installed; `version` is the client's."""
    try:
        from opentelemetry import trace  # noqa: PLC0415 - may be absent
        from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415
    except ImportError:
        return _Untraced()
    # By way of the globals' proxies: who sets a provider later is served as well.
    return _Traced(
        trace, trace.get_tracer("sekring.client", version),
        tracecontext.TraceContextTextMapPropagator(),
    )  # fmt: skip


def attributes_of(method: str, url: str) -> dict[str, str | int]:
    """Return what a span tells of a request before there is an answer."""
    parts = urlsplit(url)
    return {
        "http.request.method": method,
        "server.address": parts.hostname or "",
        "server.port": parts.port or _PORTS.get(parts.scheme, 0),
        # Whatever its user name and password are, nobody else is to know them.
        "url.full": parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(),
    }


class PlainCall(Struct, frozen=True):
    """A call that is no span."""

    headers: Mapping[str, str]

    def answered(self, status: int) -> None:
        """Nobody wants to know."""


_NO_HEADERS: Final[Mapping[str, str]] = {}


class _Untraced:
    def __init__(self) -> None:
        self._call = contextlib.nullcontext(PlainCall(_NO_HEADERS))

    def traceparent(self) -> None:
        return None

    def headers(self) -> Mapping[str, str]:
        return _NO_HEADERS

    def call(self, method: str, template: str, url: str) -> contextlib.AbstractContextManager[Call]:
        del method, template, url
        return self._call


class _SpanCall:
    def __init__(self, span: "trace.Span", headers: Mapping[str, str]) -> None:
        self._span = span
        self.headers = headers

    def answered(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if status >= ERROR_STATUS:
            self._span.set_attribute("error.type", str(status))
            self._fail()

    def raised(self, error: BaseException) -> None:
        self._span.set_attribute("error.type", type(error).__qualname__)
        self._fail(str(error))

    def _fail(self, words: str | None = None) -> None:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - it is there

        self._span.set_status(Status(StatusCode.ERROR, words))


class _Traced:
    def __init__(self, trace: Any, tracer: "trace.Tracer", propagator: Any) -> None:  # noqa: ANN401
        self._trace = trace
        self._tracer = tracer
        self._propagator = propagator

    def traceparent(self) -> str | None:
        span = self._trace.get_current_span().get_span_context()
        return self.headers().get("traceparent") if span.is_valid else None

    def headers(self) -> Mapping[str, str]:
        headers: dict[str, str] = {}
        self._propagator.inject(headers)
        return headers

    @contextlib.contextmanager
    def call(self, method: str, template: str, url: str) -> Iterator[Call]:
        if not self._trace.get_current_span().get_span_context().is_valid:
            yield PlainCall(_NO_HEADERS)
            return
        with self._tracer.start_as_current_span(
            f"{method} {template}",
            kind=self._trace.SpanKind.CLIENT,
            attributes=attributes_of(method, url),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            call = _SpanCall(span, self.headers())
            try:
                yield call
            except BaseException as error:
                call.raised(error)
                raise
