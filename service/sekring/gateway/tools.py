"""What the sessions of a gateway share."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from sekring.client import AsyncClient
from sekring.gateway.devices.store import DeviceStore
from sekring.gateway.leases import Holding
from sekring.gateway.phases import Phases
from sekring.gateway.reports import Reports
from sekring.gateway.telemetry.metrics import GatewayMetrics
from sekring.gateway.workers.connection import Workers
from sekring.telemetry.tracing import Tracing

__all__ = ["Telemetry", "Tools"]


class Telemetry(Struct, frozen=True):
    """What a gateway tells of itself."""

    tracing: Tracing
    metrics: GatewayMetrics


class Tools(Struct, frozen=True, kw_only=True):
    """Made once, by the supervisor."""

    gateway: str
    client: AsyncClient
    reports: Reports
    phases: Phases
    workers: Workers
    telemetry: Telemetry
    devices: DeviceStore
    #: Asks the service whether a lease is still ours; raises `ServiceUnavailable`.
    still_held: Callable[[Holding], Awaitable[bool]]
    proxy: str | None = None
