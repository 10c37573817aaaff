"""The span of a request: an HTTP server span, by OpenTelemetry's semantic conventions."""

import contextlib
from typing import TYPE_CHECKING, Final

from sekring.telemetry.answers import Answer, told_of
from sekring.telemetry.propagation import Remote, parse_traceparent
from sekring.telemetry.spans import Attribute, Kind, Span, Trace, current
from sekring.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from litestar.types import Scope

__all__ = ["ItemSpan", "ServerSpan", "begin", "continued", "tell"]

_SERVER_ERRORS: Final = 500


class _Told(Span):
    """A span that tells what the breaker has answered."""

    __slots__ = ("answer", "failure")

    def __init__(
        self, name: str, trace: Trace, parent_id: int | None, *, remote: bool = False
    ) -> None:
        super().__init__(name, trace, parent_id, remote=remote)
        #: The answer, and the kind of failure that was reported.
        self.answer: Answer | None = None
        self.failure: str | None = None

    def tell(self, answer: Answer, failure: str | None = None) -> None:
        self.answer = answer
        self.failure = failure

    def told(self) -> dict[str, Attribute]:
        return {} if self.answer is None else told_of(self.answer, self.failure)


class ServerSpan(_Told):
    """Named by method and route template: as many names as there are routes."""

    __slots__ = ("_scheme", "method", "path", "refused", "route", "status")

    kind: Kind = "server"

    def __init__(self, trace: Trace, scope: "Scope", parent: Remote | None) -> None:
        """Begin in `trace`, below the caller's span if it names one."""
        super().__init__("", trace, parent.span_id if parent else None, remote=parent is not None)
        self.method = str(scope.get("method", ""))
        self.route: str = scope.get("path_template", "")
        self.path = scope["path"]
        self.status = 0
        #: Whether the breaker refuses, which is an answer and no error, also where the guide has
        #: a 503 for it.
        self.refused = False
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
        return f"{self.method} {self.route}", attributes | self.told() | (self.attributes or {})


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
    return ServerSpan(tracing.begin(parent), scope, parent)


class ItemSpan(_Told):
    """One element of a batch, in the trace that it names; linked to the batch's request."""

    __slots__ = ()

    def describe(self) -> tuple[str, dict[str, Attribute]]:
        """Return what came of it."""
        return self.name, self.told() | (self.attributes or {})


def continued(
    tracing: Tracing, traceparent: str | None
) -> contextlib.AbstractContextManager[ItemSpan | None]:
    """Go on with an item's own trace, if it names one; otherwise with the batch's."""
    batch = current()
    parent = parse_traceparent(traceparent)
    # Also where nothing is recorded: the audit trail names the trace.
    if parent is None:
        return contextlib.nullcontext()
    span = ItemSpan("report", tracing.begin(parent), parent.span_id, remote=True)
    if batch:
        span.link(batch.trace.id, batch.id)
    return span


def tell(answer: Answer, failure: str | None = None) -> None:
    """Have the request's span tell what the breaker has answered."""
    span = current()
    if isinstance(span, _Told):
        span.tell(answer, failure)
