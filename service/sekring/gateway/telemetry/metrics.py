"""The metrics of a gateway, by OpenTelemetry's names; no label ever names a session."""

from collections.abc import Mapping
from typing import Final, Protocol

from sekring.gateway.telemetry.attempts import AttemptTrace
from sekring.telemetry.meters import Meters
from sekring.wire import Phase

__all__ = ["GatewayMetrics", "Readings"]

#: Upper bounds of how long a connect takes, in seconds: a worker process starts in one or two, a
#: QR code is scanned within minutes.
_CONNECT_BOUNDS_S: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180)

#: Where a session that is owned may stand.
_PHASES: Final = tuple(phase for phase in Phase if phase is not Phase.VACANT)


class Readings(Protocol):
    """What is read of a gateway whenever somebody asks."""

    @property
    def capacity(self) -> int:
        """How many sessions it owns at most."""
        ...

    @property
    def phases(self) -> Mapping[Phase, int]:
        """How many sessions stand where."""
        ...

    @property
    def workers(self) -> int:
        """How many worker processes there are."""
        ...

    @property
    def service_reachable(self) -> bool:
        """Whether the service has answered the last claim or renewal."""
        ...


class GatewayMetrics:
    """Made once a process. What is counted is counted here, what is read comes from `watch`."""

    def __init__(self, meters: Meters) -> None:
        """Declare what is counted."""
        self._meters = meters
        self._attempts = meters.counter(
            "sekring.gateway.attempts",
            "Attempts to connect that were permitted, by how they ended: connected, or the kind of"
            " failure.",
            ["result"],
            known=[("connected",)],
        )
        self._connect_duration = meters.histogram(
            "sekring.gateway.connect.duration",
            "How long a worker took until a session was connected, or had failed to be.",
            ["result"],
            bounds=_CONNECT_BOUNDS_S,
        )
        self._worker_exits = meters.counter(
            "sekring.gateway.worker.exits",
            "Worker processes that have ended: retired after their last session, crashed, killed"
            " for taking too long, or never started.",
            ["reason"],
            known=[("retired",), ("crashed",), ("killed",), ("not_started",)],
        )
        self._lease_losses = meters.counter(
            "sekring.gateway.lease.losses",
            "Leases that were lost: not renewed in time (expired), owned by another gateway"
            " (taken), or left to run out after an error of the gateway (abandoned).",
            ["reason"],
            known=[("expired",), ("taken",), ("abandoned",)],
        )

    def watch(self, readings: Readings) -> None:
        """Declare what is read."""
        gauge = self._meters.gauge
        gauge(
            "sekring.gateway.sessions",
            "Sessions that this gateway owns, by where they stand.",
            lambda: {(phase.value,): readings.phases.get(phase, 0) for phase in _PHASES},
            ["phase"],
        )
        gauge(
            "sekring.gateway.capacity",
            "Sessions that this gateway owns at most.",
            lambda: readings.capacity,
        )
        gauge(
            "sekring.gateway.workers",
            "Worker processes that there are now.",
            lambda: readings.workers,
        )
        gauge(
            "sekring.gateway.service.reachable",
            "Whether the service has answered the last claim or renewal.",
            lambda: int(readings.service_reachable),
        )

    def attempt_ended(self, result: str, trace: AttemptTrace) -> None:
        """Count an attempt that is connected, or has failed to be (`result`: the kind)."""
        self._attempts[result,] += 1
        how = "connected" if result == "connected" else "failed"
        self._connect_duration.record(trace.dialling_s, (how,), trace.span)

    def worker_exited(self, reason: str) -> None:
        """Count a worker process that is gone."""
        self._worker_exits[reason,] += 1

    def lease_lost(self, reason: str) -> None:
        """Count a lease that was lost."""
        self._lease_losses[reason,] += 1
