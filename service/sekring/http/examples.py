"""What the OpenAPI description shows beside the schemas: examples, and the errors of a route."""

from http import HTTPStatus
from typing import Any

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example

from sekring.wire import Problem

__all__ = ["ATTEMPT", "BATCH", "FORCE", "OUTCOME", "POLICY", "RESET", "RESETS", "errors"]

_DESCRIPTIONS = {
    400: "A field is wrong; `field` names it.",
    401: "No token, or an unknown one.",
    403: "The token's role does not suffice, or the request comes from another site.",
    405: "Another method is needed; `detail` names it.",
    409: "A ban is in force, which this does not override.",
    413: "The body is larger than 1 MiB.",
    503: "Redis cannot be reached; try again after `Retry-After`.",
}

ATTEMPT = [
    Example(summary="A gateway asks", value={"gateway": "gateway-2", "build": "neonize/0.5.2"})
]
OUTCOME = [
    Example(
        summary="A failure",
        value={
            "outcome": "failure",
            "kind": "websocket",
            "attempt_id": "1a1b2c3d4e5-Zm9vYmFy",
            "gateway": "gateway-2",
            "detail": "websocket: close 1006 (abnormal closure)",
        },
    ),
    Example(
        summary="As Baileys has it",
        value={"outcome": "failure", "protocol": "baileys", "code": 428},
    ),
    Example(
        summary="A temporary ban",
        value={"outcome": "failure", "kind": "temporary_ban", "ban_expires_in_ms": 86_400_000},
    ),
    Example(summary="Connected", value={"outcome": "success"}),
]
BATCH = [
    Example(
        summary="Two instances",
        value={
            "outcomes": [
                {"instance_id": "6281234567890", "outcome": "failure", "kind": "dns", "id": "r-1"},
                {"instance_id": "6289876543210", "outcome": "success"},
            ]
        },
    )
]
RESET = [Example(summary="With a reason", value={"reason": "the proxy is back"})]
RESETS = [
    Example(summary="Some", value={"instances": ["6281234567890", "6289876543210"]}),
    Example(summary="All open ones", value={"state": "open", "reason": "WhatsApp is back"}),
    Example(summary="All", value={"all": True}),
]
FORCE = [
    Example(summary="For an hour", value={"reason": "number under review", "for_ms": 3_600_000})
]
POLICY = [
    Example(summary="Stricter", value={"failure_threshold": 10}),
    Example(summary="Probing, growing", value={"probes": 1, "cooldown_factor": 2.0}),
]


def errors(*statuses: int) -> dict[int, ResponseSpec]:
    """Describe the errors that a route may answer."""
    return {
        status: ResponseSpec(
            data_container=Problem,
            generate_examples=False,
            description=_DESCRIPTIONS[status],
            media_type="application/problem+json",
            examples=[Example(value=_example(status))],
        )
        for status in statuses
    }


def _example(status: int) -> dict[str, Any]:
    word = {400: "invalid_input", 401: "not_authenticated", 403: "not_allowed", 409: "refused"}
    example: dict[str, Any] = {
        "type": word.get(status, HTTPStatus(status).name.lower()),
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _DESCRIPTIONS[status],
    }
    if status == HTTPStatus.BAD_REQUEST:
        example |= {"detail": "age_ms: Expected `int` >= 0.", "field": "age_ms"}
    return example
