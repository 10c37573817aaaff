"""Who changes something, from where and in which trace: for the audit trail."""

from typing import Any

from litestar import Request

from sekring.model import Origin
from sekring.telemetry.spans import current

__all__ = ["origin_of"]


def origin_of(
    request: Request[Any, Any, Any], reason: str | None = None, gateway: str | None = None
) -> Origin:
    """Return the origin of a change that `request` asks for."""
    span = current()
    return Origin(
        actor=gateway or request.auth.name,
        reason=reason or "",
        source=request.client.host if request.client else "",
        trace_id=span.trace.hex_id if span else "",
        span_id=span.hex_id if span and span.trace.recording else "",
    )
