"""What the OpenAPI description shows beside the schemas: examples, and the errors of a route."""

import base64
from http import HTTPStatus
from typing import Any

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from msgspec import structs

from sekring.guide import Health, HealthData, ResetDone, Status, StatusData
from sekring.model import Admission, Failure, Snapshot, State, Transition, Verdict
from sekring.policy import FleetGuard, Policy, PolicyPatch, sources
from sekring.wire import (
    BatchAnswer,
    BatchResult,
    BuildList,
    Delivery,
    ForceAnswer,
    GuardAnswer,
    InstancePage,
    PolicyAnswer,
    Problem,
    RefusedBuildItem,
    ResetAnswer,
    ResetsAnswer,
    TransitionList,
    WebhookCreated,
    WebhookItem,
    WebhookList,
    WebhookTested,
)

__all__ = [
    "ADMISSION",
    "ATTEMPT",
    "BATCH",
    "BUILDS",
    "DISABLED",
    "EVENTS",
    "FLEET_POLICY",
    "FORCE",
    "FORCED",
    "GUARD",
    "GUARD_HISTORY",
    "GUARD_RESET",
    "GUARD_TRIP",
    "GUIDE_RESET",
    "HEALTH",
    "HISTORY",
    "IN_FORCE",
    "METRICS",
    "OUTCOME",
    "PAGE",
    "POLICY",
    "RESET",
    "RESETS",
    "RESETS_DONE",
    "RESET_DONE",
    "SNAPSHOT",
    "STATUS",
    "VERDICT",
    "VERDICTS",
    "WEBHOOK",
    "WEBHOOKS",
    "WEBHOOK_CREATED",
    "WEBHOOK_TESTED",
    "documented",
]

_DESCRIPTIONS = {
    400: "A field is wrong; `field` names it.",
    401: "No token, or an unknown one.",
    403: "The token's role does not suffice, or the request comes from another site.",
    404: "What was named is not there.",
    405: "Another method is needed; `detail` names it.",
    409: "A ban is in force, or a bound is reached; `cause` says which.",
    413: "The body is larger than 1 MiB.",
    502: "The gateway, or WhatsApp, could not do it; `detail` is in its words.",
    503: "Redis cannot be reached, or a breaker refuses; try again after `Retry-After`.",
    504: "It did not come in time; `detail` says what is known about why.",
}

_WORDS = {
    400: "invalid_input",
    401: "not_authenticated",
    403: "not_allowed",
    404: "not_found",
    409: "refused",
    502: "gateway_failed",
    504: "timed_out",
    503: "store_unavailable",
}

_ID = "6281234567890"
_EPOCH = 1_795_446_878_959

ADMISSION = Admission(
    instance_id=_ID,
    permitted=True,
    attempt_id="1a209b1d76f-Zm9vYmFy",
    epoch=_EPOCH,
    state=State.CLOSED,
    failures=2,
    retry_after_ms=0,
    backoff_ms=1_850,
)
VERDICT = Verdict(
    instance_id=_ID,
    counted=True,
    why="counted",
    state=State.OPEN,
    failures=15,
    threshold=15,
    retry_attempts=14,
    tripped=True,
    retry_after_ms=600_000,
    epoch=_EPOCH,
)
VERDICTS = BatchAnswer(
    [
        BatchResult(**{name: getattr(VERDICT, name) for name in VERDICT.__struct_fields__}),
        BatchResult(
            instance_id="6289876543210",
            permitted=True,
            state=State.CLOSED,
            failures=0,
            retry_after_ms=0,
            epoch=_EPOCH,
            degraded=False,
        ),
        BatchResult(
            instance_id="no id",
            error=Problem(
                type="invalid_input",
                title="Bad Request",
                status=400,
                detail="instance_id takes 1 to 128 of A-Z a-z 0-9 . _ : @ -.",
                field="instance_id",
            ),
        ),
    ]
)
SNAPSHOT = Snapshot(
    instance_id=_ID,
    known=True,
    state=State.OPEN,
    epoch=_EPOCH,
    failures=15,
    failure_threshold=15,
    retry_attempts=14,
    suppressed=3,
    cause="failures",
    opened_at_ms=_EPOCH,
    resets_at_ms=_EPOCH + 600_000,
    remaining_ms=555_000,
    connection="",
    probes_in_flight=0,
    probe_successes=0,
    last_failure_at_ms=_EPOCH,
    last_failure_kind="websocket",
    recent_failures=(Failure(_EPOCH, "websocket"),),
    now_ms=_EPOCH + 45_000,
)
PAGE = InstancePage(instances=[SNAPSHOT], cursor="12:6281234567890")
HISTORY = TransitionList(
    instance_id=_ID,
    transitions=[
        Transition(
            id=f"{_EPOCH}-0",
            instance_id=_ID,
            at_ms=_EPOCH,
            action="trip",
            before="closed",
            after="open",
            epoch=_EPOCH,
            cause="failures",
            until_ms=_EPOCH + 600_000,
            actor="gateway-2",
            source="10.0.3.7",
        )
    ],
)
EVENTS = (
    "id: AcP2mN3YMwcCAM0oqA\n"
    "event: transition\n"
    f"data: {msgspec.json.encode(HISTORY.transitions[0]).decode()}\n\n"
    "event: alive\n"
    'data: {"keyspace":"5ab1d3c0f2e94a76","since_ms":4100000,"sent_ms":4200500,"proven_ms":4200020,'
    f'"redis_ms":{_EPOCH + 480}}}\n\n'
)
METRICS = (
    "# HELP sekring_permits_total Attempts that were permitted, by who answered.\n"
    "# TYPE sekring_permits_total counter\n"
    'sekring_permits_total{source="view"} 812.0\n'
)
RESET_DONE = ResetAnswer(
    instance_id=_ID, was=State.OPEN, state=State.CLOSED, epoch=_EPOCH, known=True
)
RESETS_DONE = ResetsAnswer(requested=12, reset=10, unchanged=1, banned=1)
FORCED = ForceAnswer(
    instance_id=_ID,
    was=State.CLOSED,
    state=State.FORCED_OPEN,
    epoch=_EPOCH,
    remaining_ms=3_600_000,
)
DISABLED = structs.replace(FORCED, state=State.DISABLED)
IN_FORCE = PolicyAnswer(
    policy=Policy(failure_threshold=10),
    set=PolicyPatch(failure_threshold=10),
    sources=sources(PolicyPatch(failure_threshold=10), PolicyPatch()),
    version=1,
)
GUARD = GuardAnswer(
    state=State.HALF_OPEN,
    cause="failures",
    reason=None,
    epoch=_EPOCH + 305_000,
    since_ms=_EPOCH + 300_000,
    until_ms=None,
    rate_per_s=80.0,
    granted=212,
    refused=1_408,
    failing=18_730,
    connected=1_270,
    known=20_000,
    policy=FleetGuard(),
)
GUARD_HISTORY = TransitionList(
    instance_id="*",
    transitions=[
        Transition(
            id=f"{_EPOCH}-0",
            instance_id="*",
            at_ms=_EPOCH,
            action="guard_trip",
            before="closed",
            after="open",
            epoch=_EPOCH,
            cause="failures",
            rate_per_s=20.0,
        )
    ],
)
BUILDS = BuildList([RefusedBuildItem("neonize/0.5.1", "client_outdated", _EPOCH + 21_600_000)])

_HOOK = WebhookItem(
    id="wh_5f1c09d2ab7e",
    url="http://localhost:9000/sekring",
    description="the pager",
    states=[State.OPEN, State.FORCED_OPEN],
    instances=[],
    created_at_ms=_EPOCH,
    created_by="ops",
    disabled=None,
    delivery=Delivery(
        replica="sekring-0:8000",
        waiting=0,
        delivered=12,
        lost=0,
        attempts=0,
        last_success_at_ms=_EPOCH + 45_000,
        last_error="answered 503",
        last_error_at_ms=_EPOCH + 30_000,
        next_try_at_ms=None,
    ),
)
WEBHOOKS = WebhookList([_HOOK])
WEBHOOK_CREATED = WebhookCreated(
    **(structs.asdict(_HOOK) | {"secret": f"whsec_{base64.b64encode(bytes(24)).decode()}"})
)
WEBHOOK_TESTED = WebhookTested(
    delivered=True, status=204, error=None, body="", took_ms=31, event_id="test-Zm9vYmFyYmF6"
)

HEALTH = Health(
    "success",
    "Server is running",
    HealthData(
        server_status="running",
        total_instances=2,
        active_connections=0,
        connecting=0,
        circuit_breaker_activations=2,
        total_retry_attempts=15,
        total_recent_failures=20,
        health_score=45,
        half_open=0,
        forced_open=0,
        disabled=0,
        guard=State.CLOSED,
        guard_rate_per_s=None,
        degraded=False,
        queued_reports=0,
        dropped_reports=0,
        unconfirmed_changes=0,
        lagging=False,
    ),
)
STATUS = Status(
    "success",
    StatusData(
        instance_id=_ID,
        circuit_breaker_active=True,
        recent_failures=15,
        retry_attempts=14,
        last_failure_timestamps=[_EPOCH],
        session_exists=False,
        connecting=False,
        state=State.OPEN,
        threshold=15,
        opened_at=_EPOCH,
        resets_at=_EPOCH + 600_000,
        remaining_ms=555_000,
        cause="failures",
        reason=None,
        epoch=_EPOCH,
        suppressed=3,
        last_failure_kind="websocket",
        last_failure_detail="websocket: close 1006 (abnormal closure)",
        degraded=False,
    ),
)
GUIDE_RESET = ResetDone(
    status="success",
    message=f"Circuit breaker for {_ID} has been reset; it was open.",
    instance_id=_ID,
    was=State.OPEN,
    state=State.CLOSED,
)

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
        summary="An attempt that the client's view has permitted, and how it ended",
        value={
            "outcomes": [
                {
                    "instance_id": "6289876543210",
                    "outcome": "attempt",
                    "attempt_id": "1a209b1d76f-Zm9vYmFy",
                    "age_ms": 1_250,
                },
                {
                    "instance_id": "6289876543210",
                    "outcome": "success",
                    "attempt_id": "1a209b1d76f-Zm9vYmFy",
                    "age_ms": 30,
                },
            ]
        },
    ),
    Example(
        summary="Two instances",
        value={
            "outcomes": [
                {"instance_id": "6281234567890", "outcome": "failure", "kind": "dns", "id": "r-1"},
                {"instance_id": "6289876543210", "outcome": "success"},
            ]
        },
    ),
]
RESET = [Example(summary="With a reason", value={"reason": "the proxy is back"})]
RESETS = [
    Example(summary="Some", value={"instances": ["6281234567890", "6289876543210"]}),
    Example(summary="All open ones", value={"state": "open", "reason": "WhatsApp is back"}),
    Example(summary="Open ones of one country", value={"state": "open", "prefix": "62"}),
    Example(summary="All", value={"all": True}),
]
FORCE = [
    Example(summary="For an hour", value={"reason": "number under review", "for_ms": 3_600_000})
]
WEBHOOK = [
    Example(
        summary="What opens, to a pager",
        value={
            "url": "http://localhost:9000/sekring",
            "states": ["open", "forced_open"],
            "description": "the pager",
        },
    ),
    Example(summary="Everything", value={"url": "http://localhost:9000/events"}),
]
GUARD_TRIP = [
    Example(
        summary="For a quarter of an hour",
        value={"reason": "WhatsApp announces an outage", "for_ms": 900_000},
    )
]
GUARD_RESET = [Example(summary="With a reason", value={"reason": "the proxy was at fault"})]
POLICY = [
    Example(summary="Stricter", value={"failure_threshold": 10}),
    Example(summary="Probing, growing", value={"probes": 1, "cooldown_factor": 2.0}),
]
FLEET_POLICY = [
    *POLICY,
    Example(summary="A large fleet", value={"fleet_guard": {"rate_per_s": 100, "burst": 100}}),
]


def documented(
    answer: type[Any],
    example: msgspec.Struct | dict[str, Any] | str,
    *statuses: int,
    error: type[Any] = Problem,
    media_type: str = "application/json",
) -> dict[int, ResponseSpec]:
    """Describe what a route answers: 200 with an example, and the errors with these statuses."""
    described = {
        200: ResponseSpec(
            data_container=answer,
            generate_examples=False,
            description="Done.",
            media_type=media_type,
            # As the Struct that it is: of plain data Litestar drops what is null.
            examples=[Example(value=example)],
        )
    }
    for status in statuses:
        described[status] = ResponseSpec(
            data_container=error,
            generate_examples=False,
            description=_DESCRIPTIONS[status],
            media_type="application/problem+json" if error is Problem else "application/json",
            examples=[Example(value=_example(status, error))],
        )
    return described


def _example(status: int, error: type[Any]) -> dict[str, Any]:
    wrong_field = status == HTTPStatus.BAD_REQUEST
    detail = "age_ms: Expected `int` >= 0." if wrong_field else _DESCRIPTIONS[status]
    example: dict[str, Any] = {"field": "age_ms"} if wrong_field else {}
    if error is not Problem:
        return {"status": "error", "message": detail} | example
    return {
        "type": _WORDS.get(status, HTTPStatus(status).name.lower()),
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    } | example
