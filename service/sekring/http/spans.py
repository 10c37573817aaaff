"""The span of a request: an HTTP server span, by OpenTelemetry's semantic conventions."""

from typing import TYPE_CHECKING, Final

from sekring.telemetry.answers import Answer, told_of
from sekring.telemetry.propagation import Remote, parse_traceparent
from sekring.telemetry.spans import Attribute, Kind, Span, current
from sekring.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from litestar.types import Scope

__all__ = ["ServerSpan", "begin", "tell"]

_SERVER_ERRORS: Final = 500


class ServerSpan(Span):
    """Named by method and route template: as many names as there are routes."""

    __slots__ = ("_scheme", "answer", "failure", "method", "path", "refused", "route", "status")

    kind: Kind = "server"

    def __init__(self, tracing: Tracing, scope: "Scope", parent: Remote | None) -> None:
        """Begin, below the caller's span if it names one."""
        trace = tracing.begin(parent)
        super().__init__("", trace, parent.span_id if parent else None, remote=parent is not None)
        self.method = str(scope.get("method", ""))
        self.route: str = scope.get("path_template", "")
        self.path = scope["path"]
        self.status = 0
        #: Whether the breaker refuses, which is an answer and no error, also where the guide has
        #: a 503 for it.
        self.refused = False
        #: What the breaker has answered, and the kind of failure that was reported.
        self.answer: Answer | None = None
        self.failure: str | None = None
        self._scheme: str = scope.get("scheme", "http")

    def finish(self, status: int) -> None:
        """Take note of the answer's status; 0: the client went away before there was one."""
        self.status = status
        if status >= _SERVER_ERRORS and not self.refused and self.error is None:
            self.fail(str(status))

    def describe(self) -> tuple[str, dict[str, Attribute]]:
        """Return `METHOD /route/{template}`, and what came of it."""
        attributes: dict[str, Attribute] = {
            "http.request.method": self.method,
            "http.route": self.route,
            "url.path": self.path,
            "url.scheme": self._scheme,
        }
        if self.status:
            attributes["http.response.status_code"] = self.status
        if self.answer is not None:
            attributes |= told_of(self.answer, self.failure)
        return f"{self.method} {self.route}", attributes | (self.attributes or {})


def begin(tracing: Tracing, scope: "Scope") -> ServerSpan:
    """Begin the span of a request; it is a context manager."""
    header, states = None, []
    for name, value in scope["headers"]:
        if name == b"traceparent":
            # Of two, neither can be trusted.
            header = value.decode("latin-1") if header is None else ""
        elif name == b"tracestate":
            states.append(value.decode("latin-1"))
    parent = parse_traceparent(header, ",".join(states)) if header else None
    return ServerSpan(tracing, scope, parent)


def tell(answer: Answer, failure: str | None = None) -> None:
    """Have the request's span tell what the breaker has answered."""
    span = current()
    if isinstance(span, ServerSpan):
        span.answer = answer
        span.failure = failure
