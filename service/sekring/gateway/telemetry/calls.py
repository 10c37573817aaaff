"""Calls to the service as spans: HTTP client spans, by OpenTelemetry's semantic conventions."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Self

from sekring.client.tracing import ERROR_STATUS, Call, PlainCall, attributes_of
from sekring.telemetry.spans import Attribute, Kind, Span, current

__all__ = ["ServiceCalls", "traceparent"]


class ServiceCalls:
    """Implements `sekring.client.tracing.Tracing` by the spans of this process."""

    def traceparent(self) -> str | None:
        """Return what W3C's header names the current span by."""
        return traceparent()

    def headers(self) -> Mapping[str, str]:
        """Return the headers that make what the service does a child of the current span."""
        return _headers_of(current())

    @contextlib.contextmanager
    def call(self, method: str, template: str, url: str) -> Iterator[Call]:
        """Enclose a request: a span of its own where it is on behalf of one."""
        parent = current()
        if parent is None or not parent.trace.recording:
            yield PlainCall(_headers_of(parent))
            return
        with _CallSpan(parent, method, template, url) as span:
            yield span


def traceparent() -> str | None:
    """Return what W3C's header names the current span by; `None` where there is none."""
    span = current()
    return None if span is None else span.traceparent


class _CallSpan(Span):
    __slots__ = ("_method", "_status", "_template", "_url")

    kind: Kind = "client"

    def __init__(self, parent: Span, method: str, template: str, url: str) -> None:
        super().__init__("", parent.trace, parent.id)
        self._method = method
        self._template = template
        self._url = url
        self._status = 0

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    @property
    def headers(self) -> Mapping[str, str]:
        return _headers_of(self)

    def answered(self, status: int) -> None:
        self._status = status
        if status >= ERROR_STATUS:
            self.fail(str(status))

    def describe(self) -> tuple[str, dict[str, Attribute]]:
        attributes: dict[str, Attribute] = {**attributes_of(self._method, self._url)}
        if self._status:
            attributes["http.response.status_code"] = self._status
        return f"{self._method} {self._template}", attributes


def _headers_of(span: Span | None) -> Mapping[str, str]:
    return {} if span is None else {"traceparent": span.traceparent}
