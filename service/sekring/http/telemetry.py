"""The part of the composition root for what a replica tells of itself: traces and metrics."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from sekring import __version__
from sekring.http.observer import Observer
from sekring.store.contract import Made
from sekring.store.reads import FLEET
from sekring.telemetry.environment import Otel
from sekring.telemetry.instruments import Instruments
from sekring.telemetry.meters import Meters
from sekring.telemetry.process import process_families
from sekring.telemetry.push import Push
from sekring.telemetry.siblings import Siblings, siblings_folder
from sekring.telemetry.tracing import Tracing

__all__ = ["Telemetry"]


class Telemetry:
    """Traces and metrics of one server process, configured by OpenTelemetry's own variables."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Wire; nothing is sent.

        Raises:
            SettingsError: a variable has a value that it does not take.
        """
        self._otel = Otel(environ, "sekring", __version__)
        self.tracing = Tracing(self._otel)
        self.meters = Meters()
        self.siblings = Siblings(
            siblings_folder(), lambda: [*self.meters.gather(), *process_families()]
        )
        self._push = Push(self._otel, lambda: self.siblings.labelled(self.meters.gather()))
        self.instruments = Instruments(self.meters)
        self.observer = Observer(self.tracing, self.instruments.request_duration)

    def note_transition(self, made: Made) -> None:
        """Count a transition of a breaker: other entries of the audit trail change no state."""
        if made.instance_id != FLEET and made.before != made.after:
            self.instruments.transitions[made.before, made.after, made.cause] += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Export, and be found by the siblings, for as long as the process serves."""
        exports = self._otel.exports("traces") or self._otel.exports("metrics")
        resource = self._otel.resource() if exports else None
        self.tracing.open(resource)
        try:
            async with self.siblings.running(), self._push.running(resource):
                yield
        finally:
            await asyncio.to_thread(self.tracing.close)
