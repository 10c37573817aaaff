"""`/live`, `/ready` and `/metrics` of a gateway: for a kubelet and for Prometheus."""

from collections.abc import Callable
from typing import Any, Final, Protocol

from litestar import Litestar, Request, Response, get

from sekring.telemetry.exposition import expose
from sekring.telemetry.families import Family
from sekring.wire.probes import Component, Readiness

__all__ = ["Condition", "probes"]

_DRAINING: Final = Component("draining")


class Condition(Protocol):
    """How a gateway is."""

    @property
    def is_turning(self) -> bool:
        """Whether its own work goes on."""
        ...

    @property
    def introduced(self) -> bool:
        """Whether the service has accepted it."""
        ...

    @property
    def service_reachable(self) -> bool:
        """Whether the service has answered the last claim or renewal."""
        ...

    @property
    def draining(self) -> bool:
        """Whether it was told to stop, and ends its sessions."""
        ...


def probes(condition: Condition, gather: Callable[[], list[Family]]) -> Litestar:
    """Return the application; `gather` returns the metrics as they stand."""

    @get("/live", sync_to_thread=False)
    def live() -> Response[Component]:
        """Answer as long as the event loop turns, and 503 if the leases are not looked after."""
        if condition.is_turning:
            return Response(Component("ok"))
        return Response(Component("stuck", "No lease was renewed for too long."), status_code=503)

    @get("/ready", sync_to_thread=False)
    def ready() -> Response[Readiness]:
        """Answer 503 until the service has accepted the gateway, and from SIGTERM on."""
        body = Readiness.of({"service": _service(condition), "gateway": _gateway(condition)})
        return Response(body, status_code=200 if body.status == "ok" else 503)

    @get("/metrics", sync_to_thread=False)
    def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Answer in Prometheus' text format, or in OpenMetrics, whichever is asked for."""
        body, media_type = expose(gather(), request.headers.get("accept", ""))
        # As a header: a media type of text Litestar would give a second charset.
        return Response(body, headers={"content-type": media_type})

    return Litestar([live, ready, metrics], openapi_config=None, logging_config=None)


def _service(condition: Condition) -> Component:
    if condition.service_reachable:
        return Component("ok")
    return Component("unavailable", "The service does not answer.")


def _gateway(condition: Condition) -> Component:
    if condition.draining:
        return _DRAINING
    if not condition.introduced:
        return Component("unavailable", "The service has not accepted this gateway yet.")
    return Component("ok")
