"""Tracing: where traces begin or go on, which of them are sampled, and where they go."""

import random
from typing import TYPE_CHECKING, Final

from sekring.telemetry.environment import Otel
from sekring.telemetry.propagation import Remote, parse_traceparent
from sekring.telemetry.spans import Span, Trace

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from sekring.telemetry.export import Export

__all__ = ["Tracing"]

#: How long a stop waits for the collector, in seconds.
_PATIENCE_S: Final = 3.0

_TRACE_ID_BITS: Final = 128

#: A trace is sampled by the lower half of its id, as OpenTelemetry's `TraceIdRatioBased` does it:
#: whoever goes by the same ratio samples the same traces.
_SAMPLED_BY: Final = (1 << 64) - 1


class Tracing:
    """Made once a process by its composition root, and passed on to whoever begins traces.

    A trace that goes on from elsewhere is sampled if it is there; one that begins here, by
    `OTEL_TRACES_SAMPLER_ARG`. Transitions and errors have any of them exported (`Trace.keep`).
    """

    def __init__(self, otel: Otel) -> None:
        """Prepare; nothing is exported before `open`.

        Raises:
            SettingsError: a variable has a value that it does not take.
        """
        otel.check()
        self._otel = otel
        self._bound = 0 if otel.disabled else round(otel.ratio * (_SAMPLED_BY + 1))
        self._export: Export | None = None

    def open(self, resource: "Resource | None" = None) -> None:
        """Begin to export, if the environment names an endpoint; `resource` says who does."""
        if not self._otel.exports("traces"):
            return
        from sekring.telemetry.export import Export  # noqa: PLC0415 - half a second, for who exports

        self._export = Export(self._otel, resource or self._otel.resource())

    def close(self) -> None:
        """Send what waits, and end; blocks for a few seconds at most."""
        export, self._export = self._export, None
        if export:
            export.close(_PATIENCE_S)

    def begin(self, parent: Remote | None = None) -> Trace:
        """Return a new trace, or this process's part of the one that `parent` belongs to."""
        if parent is not None:
            return Trace(parent.trace_id, parent.state, self._export, sampled=parent.sampled)
        return self._new(routine=False)

    def routine(self, name: str) -> Span:
        """Begin work that comes again and again; an error does not have it exported."""
        return Span(name, self._new(routine=True))

    def _new(self, *, routine: bool) -> Trace:
        trace_id = random.getrandbits(_TRACE_ID_BITS) or 1
        sampled = trace_id & _SAMPLED_BY < self._bound
        return Trace(trace_id, "", self._export, sampled=sampled, routine=routine)

    def root(self, name: str, traceparent: str | None = None, state: str | None = None) -> Span:
        """Begin what is done here: a span, to be used as a context manager.

        It is a child of the span that `traceparent` names, if that is well formed.
        """
        parent = parse_traceparent(traceparent, state)
        trace = self.begin(parent)
        return Span(name, trace, parent.span_id if parent else None, remote=parent is not None)
