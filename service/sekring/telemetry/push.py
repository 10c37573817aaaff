"""Metrics on their way out: pushed by OTLP, if the environment names an endpoint.

They are gathered on the event loop and sent by a thread of their own, so a collector that is away,
or hangs, costs nobody anything. What could not be sent is not lost: totals are cumulative.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from sekring.telemetry.chatter import Chatter, Outage
from sekring.telemetry.environment import Otel
from sekring.telemetry.families import Family

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter, MetricsData
    from opentelemetry.sdk.resources import Resource

__all__ = ["Push"]

#: How long a stop waits for the collector to take the last figures, in seconds.
_PATIENCE_S = 3.0


class Push:
    """Made once a process; does nothing where no endpoint is named."""

    def __init__(self, otel: Otel, gather: Callable[[], list[Family]]) -> None:
        """Push what `gather` returns."""
        self._otel = otel
        self._gather = gather
        self._since_ns = time.time_ns()

    @contextlib.asynccontextmanager
    async def running(self, resource: "Resource | None" = None) -> AsyncIterator[None]:
        """Push every `OTEL_METRIC_EXPORT_INTERVAL`, and at the end; `resource` says who does."""
        if not self._otel.exports("metrics"):
            yield
            return
        way = _Way(self._otel, resource or self._otel.resource())
        pushing = asyncio.create_task(self._push(way))
        try:
            yield
        finally:
            pushing.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await way.send(self._gather(), self._since_ns)
            way.close()

    async def _push(self, way: "_Way") -> None:
        interval_s = self._otel.metric_interval_s
        while True:
            await asyncio.sleep(interval_s)
            await way.send(self._gather(), self._since_ns)


class _Way:
    """The way to the collector."""

    def __init__(self, otel: Otel, resource: "Resource") -> None:
        self._version = otel.version
        self._resource = resource
        self._exporter = _exporter(otel)
        self._chatter = Chatter()
        self._outage = Outage("metrics", otel.endpoint("metrics") or "", self._chatter)

    async def send(self, families: list[Family], since_ns: int) -> None:
        """Send, and return when that has succeeded or failed."""
        # Half a second to import, for who pushes.
        from sekring.telemetry.otlp import metrics_data  # noqa: PLC0415

        now_ns = time.time_ns()
        data = metrics_data(
            families, self._resource, self._version, since_ns=since_ns, now_ns=now_ns
        )
        loop = asyncio.get_running_loop()
        sent = asyncio.Event()

        def export() -> None:
            try:
                self._export(data)
            finally:
                with contextlib.suppress(RuntimeError):  # nobody waits any more
                    loop.call_soon_threadsafe(sent.set)

        # Not one of the loop's own threads: those are waited for at the end of the process.
        threading.Thread(target=export, name="metrics push", daemon=True).start()
        await sent.wait()

    def close(self) -> None:
        """End; a push under way is given up."""
        # It waits for one that is under way, for as long as that takes.
        threading.Thread(target=self._exporter.shutdown, daemon=True).start()
        self._chatter.remove()

    def _export(self, data: "MetricsData") -> None:
        from opentelemetry.sdk.metrics.export import MetricExportResult  # noqa: PLC0415

        result = self._exporter.export(data)
        self._outage.note(arrived=result is MetricExportResult.SUCCESS)


def _exporter(otel: Otel) -> "MetricExporter":
    """Return the exporter of the protocol; gRPC takes a second to import and is for who uses it."""
    if otel.protocol("metrics") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc  # noqa: PLC0415

        return grpc.OTLPMetricExporter()
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as http  # noqa: PLC0415

    return http.OTLPMetricExporter()
