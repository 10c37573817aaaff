"""The trace of one attempt to connect a session.

::

    connect                                    sekring.gateway, .instance_id, .epoch, .backoff_ms
    ├── POST /v1/instances/{instance_id}/attempts    the permit
    ├── wait                                   the backoff that the service recommends
    ├── worker connect                         until connected, or failed: sekring.kind, .detail
    └── POST /v1/instances/{instance_id}/outcomes    the report

One that fails is exported whatever the sampling; what the service does on its report goes by that,
down to the script. A connection that breaks later is a trace of its own, `connection failed`, with
a link to the `connect` that made it.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from sekring.model import Admission
from sekring.taxonomy import Kind
from sekring.telemetry.answers import told_of
from sekring.telemetry.spans import Link, Span, child, under
from sekring.telemetry.tracing import Tracing

__all__ = ["AttemptTrace"]

#: Characters of a failure's detail that are told.
_DETAIL: Final = 300


class AttemptTrace:
    """Made when a permit is asked for; used until nothing of its connection is left."""

    def __init__(self, tracing: Tracing, gateway: str, instance_id: str) -> None:
        """Begin, with the question."""
        self._tracing = tracing
        self._gateway = gateway
        self._instance_id = instance_id
        self._made_by: Link | None = None
        self._dialling: Span | None = None
        self._dialled_s = 0.0
        self._span: Span | None = self._begin("connect")

    @property
    def span(self) -> Span | None:
        """On whose behalf everything is done now; `None` while the connection lasts."""
        return self._span

    @contextlib.contextmanager
    def on_behalf(self) -> Iterator[None]:
        """Do something as a part of it."""
        with under(self._span):
            yield

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Enclose the question; what it raises is the end."""
        try:
            with under(self._span):
                yield
        except BaseException as error:
            self._note(error)
            self.end()
            raise

    def answered(self, admission: Admission) -> None:
        """Take the answer; a refusal is the end."""
        if self._span:
            self._span.attributes = {**(self._span.attributes or {}), **told_of(admission)}
            self._span.set(backoff_ms=admission.backoff_ms if admission.permitted else None)
        if not admission.permitted:
            self.end()

    @contextlib.contextmanager
    def attempting(self) -> Iterator[None]:
        """Enclose all that follows on a permit; however that ends, nothing more comes."""
        try:
            with under(self._span):
                yield
        except Exception as error:
            if self._span:
                self._span.trace.keep()
            self._note(error)
            raise
        finally:
            self.end()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Enclose something that takes its time."""
        with under(self._span):
            span = child(name)
            with span or contextlib.nullcontext():
                yield

    def dial(self) -> None:
        """Begin the worker's part: it has the order from now on."""
        self._dialled_s = time.monotonic()
        with under(self._span):
            self._dialling = child("worker connect")

    @property
    def dialling_s(self) -> float:
        """For how long the worker has had the order, in seconds."""
        return time.monotonic() - self._dialled_s

    def connected(self) -> None:
        """End the worker's part; the report comes next, and then `lasts`."""
        self._dialled()

    def lasts(self) -> None:
        """End it: the connection is made and reported."""
        if self._span:
            self._made_by = Link(self._span.trace.id, self._span.id)
        self.end()

    def failed(self, kind: Kind, detail: str) -> None:
        """Tell that it failed, while it was being made or later; the report comes next."""
        if self._span is None:
            self._span = self._begin("connection failed")
            if self._made_by:
                self._span.link(self._made_by.trace_id, self._made_by.span_id)
        failed = self._dialling or self._span
        failed.set(kind=str(kind), detail=detail[:_DETAIL])
        self._span.trace.keep()
        self._span.fail(str(kind))
        self._dialled(str(kind))

    def end(self) -> None:
        """End it, whatever has happened."""
        self._dialled()
        span, self._span = self._span, None
        if span:
            span.end()

    def _note(self, error: BaseException) -> None:
        if self._span and isinstance(error, Exception):
            self._span.fail(type(error).__name__)

    def _dialled(self, error: str | None = None) -> None:
        span, self._dialling = self._dialling, None
        if span:
            if error:
                span.fail(error)
            span.end()

    def _begin(self, name: str) -> Span:
        # A service that is away is no attempt's failure: there would be a trace of every question.
        span = self._tracing.routine(name)
        span.set(gateway=self._gateway, instance_id=self._instance_id)
        return span
