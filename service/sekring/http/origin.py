"""Who changes something, from where and in which trace: for the audit trail."""

from typing import Any

from litestar import Request

from sekring.model import Origin
from sekring.telemetry import trace_id_of

__all__ = ["make_origin", "origin_of"]


def origin_of(
    request: Request[Any, Any, Any], reason: str | None = None, gateway: str | None = None
) -> Origin:
    """Return the origin of a change that `request` asks for."""
    return make_origin(
        gateway or request.auth.name,
        request.client.host if request.client else "",
        request.headers.get("traceparent"),
        reason or "",
    )


def make_origin(actor: str, source: str, traceparent: str | None, reason: str = "") -> Origin:
    """Return the origin of a change that `actor` asks for, from the address `source`."""
    return Origin(actor=actor, reason=reason, source=source, trace_id=trace_id_of(traceparent))
