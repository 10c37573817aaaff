"""`/live` and `/ready`, for whoever runs the process."""

from typing import Any

from litestar import Controller, Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example

from sekring.errors import StoreUnavailable
from sekring.http.examples import documented
from sekring.http.options import NEEDS
from sekring.http.runtime import Runtime
from sekring.wire.probes import Component, Readiness

__all__ = ["Probes"]

_READY = Readiness("ok", {"redis": Component("ok"), "server": Component("ok")})
_DRAINING = Readiness("unavailable", {"redis": Component("ok"), "server": Component("draining")})
_ANSWERS = documented(Readiness, _READY) | {
    503: ResponseSpec(
        Readiness,
        generate_examples=False,
        description="It stops soon, or has not reached Redis yet.",
        examples=[Example(value=_DRAINING)],
    )
}


class Probes(Controller):
    """Open to everybody: a kubelet has no token."""

    tags = ["probes"]
    opt = {NEEDS: None}

    @get(
        "/live",
        operation_id="live",
        summary="The process runs",
        responses=documented(Component, Component("ok")),
    )
    async def live(self) -> Component:
        """Answer as long as the event loop turns."""
        return Component("ok")

    @get(
        "/ready",
        operation_id="ready",
        summary="The replica wants requests",
        responses=_ANSWERS,
    )
    async def ready(self, runtime: Runtime) -> Response[Any]:
        """Answer 503 before Redis was reached for the first time, and from SIGTERM on."""
        components = {
            "redis": await _redis(runtime),
            "server": Component("draining") if runtime.draining else Component("ok"),
        }
        # Without Redis it decides by itself: to take it away from its callers would help nobody.
        body = Readiness.of(components)
        return Response(body, status_code=200 if body.status == "ok" else 503)


async def _redis(runtime: Runtime) -> Component:
    if runtime.claim is None:
        return Component("unavailable", "Redis has not been reached since the start.")
    try:
        await runtime.reads.ping()
    except StoreUnavailable as error:
        return Component("degraded", str(error))
    return Component("ok")
