"""`/metrics`, for Prometheus."""

import asyncio
from typing import Any

from litestar import Controller, Request, Response, get

from sekring.http.examples import METRICS, documented
from sekring.http.options import NEEDS
from sekring.http.runtime import Runtime
from sekring.telemetry.exposition import expose

__all__ = ["Metrics"]

_MEDIA_TYPE = "text/plain"


class Metrics(Controller):
    """Open to everybody, like `/live`: a scraper has no token, and no instance is named."""

    tags = ["probes"]
    opt = {NEEDS: None}

    @get(
        "/metrics",
        operation_id="metrics",
        summary="Metrics of this replica, and of the fleet as it knows it",
        media_type=_MEDIA_TYPE,
        responses=documented(str, METRICS, media_type=_MEDIA_TYPE),
    )
    async def metrics(self, request: Request[Any, Any, Any], runtime: Runtime) -> Response[bytes]:
        """Answer in Prometheus' text format, or in OpenMetrics, with exemplars, if asked for that.

        Nothing is asked of Redis for it.
        """
        families = await runtime.siblings.gather()
        # In a thread: thousands of lines take tens of milliseconds, which no permit is to wait.
        body, media_type = await asyncio.to_thread(
            expose, families, request.headers.get("accept", "")
        )
        # As a header: a media type of text Litestar would give a second charset.
        return Response(body, headers={"content-type": media_type})
