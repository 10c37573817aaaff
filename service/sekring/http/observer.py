"""What every request leaves behind: a span, a measurement and a line in the log."""

import logging
import time
from typing import TYPE_CHECKING

import structlog

from sekring.http.spans import ServerSpan
from sekring.telemetry.histogram import Histogram
from sekring.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from litestar.types import Scope

__all__ = ["Observer"]

_log = structlog.get_logger(__name__)


class Observer:
    """Traces, times and logs requests."""

    def __init__(self, tracing: Tracing, durations: Histogram) -> None:
        """Begin spans by `tracing`, and record in `durations`."""
        self.tracing = tracing
        self._durations = durations
        #: Asked once: structlog takes as long for it as a permit takes.
        self._is_debugging = _log.is_enabled_for(logging.DEBUG)

    def finish(
        self, scope: "Scope", span: ServerSpan, status: int, started_s: float, **more: object
    ) -> None:
        """Take note of the answer's status; 0: the client went away before there was one.

        `started_s` is of `time.perf_counter()`; `more` is for the log.
        """
        span.finish(status)
        self.measure(scope, span.route, status, started_s, span, **more)

    def measure(
        self,
        scope: "Scope",
        route: str,
        status: int,
        started_s: float,
        span: ServerSpan | None,
        **more: object,
    ) -> None:
        """Time and log a request as `finish` does; one that needs no span has none."""
        method = str(scope.get("method", ""))
        duration_s = time.perf_counter() - started_s
        # By the route: a path names instances.
        self._durations.record(duration_s, (method, route, str(status or "")), span)
        if self._is_debugging:
            _log.debug(
                "request",
                method=method,
                # The query may hold a token: the path alone is logged.
                path=scope["path"],
                status=status,
                ms=round(duration_s * 1000, 1),
                **more,
            )
