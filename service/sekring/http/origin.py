"""Who changes something, from where and in which trace: for the audit trail."""

from typing import Any

from litestar import Request

from sekring.model import Origin
from sekring.telemetry.spans import current

__all__ = ["make_origin", "origin_of"]


def origin_of(
    request: Request[Any, Any, Any], reason: str | None = None, gateway: str | None = None
) -> Origin:
    """Return the origin of a change that `request` asks for."""
    source = request.client.host if request.client else ""
    return make_origin(gateway or request.auth.name, source, reason or "")


def make_origin(actor: str, source: str, reason: str = "") -> Origin:
    """Return the origin of a change that `actor` asks for now, from the address `source`."""
    span = current()
    return Origin(
        actor=actor,
        reason=reason,
        source=source,
        trace_id=span.trace.hex_id if span else "",
        span_id=span.hex_id if span and span.trace.recording else "",
    )
