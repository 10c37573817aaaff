"""What the OpenAPI description shows of sessions, leases and gateways."""

from litestar.openapi.spec import Example
from msgspec import structs

from sekring.wire import (
    ClaimAnswer,
    GatewayItem,
    GatewayList,
    Lease,
    Phase,
    PhaseAnswer,
    ReleaseAnswer,
    RenewAnswer,
    RenewedLease,
    Session,
    SessionPage,
)

__all__ = [
    "CLAIM",
    "CLAIMED",
    "DROPPED",
    "GATEWAYS",
    "PHASE",
    "PHASE_SET",
    "RELEASE",
    "RELEASED",
    "RENEW",
    "RENEWED",
    "SESSION",
    "SESSIONS",
    "WANTED",
]

_ID = "6281234567890"
_TOKEN = 1_795_446_878_959
_GATEWAY = "gateway-2"
_HELD = {"instance_id": _ID, "token": _TOKEN}

_SESSION = Session(
    instance_id=_ID,
    wanted=True,
    created_at_ms=_TOKEN - 5_000,
    created_by="ops",
    gateway=_GATEWAY,
    token=_TOKEN,
    lease_ends_in_ms=12_300,
    phase=Phase.CONNECTED,
    phase_since_ms=_TOKEN + 3_000,
    device="6281234567890:7@s.whatsapp.net",
    detail=None,
)
SESSIONS = SessionPage(sessions=[_SESSION], cursor="12:6281234567890")
DROPPED = structs.replace(_SESSION, wanted=False, created_at_ms=None, created_by=None)
WANTED = Session(
    instance_id=_ID, wanted=True, created_at_ms=_TOKEN - 5_000, created_by="ops", token=0
)
CLAIMED = ClaimAnswer(
    leases=[Lease(instance_id=_ID, token=_TOKEN, taken_from="gateway-1", errands=False)],
    ttl_ms=15_000,
    share=38,
    sessions=300,
    gateways=8,
)
RENEWED = RenewAnswer(
    leases=[RenewedLease(instance_id=_ID, token=_TOKEN, held=True, wanted=True, errands=False)],
    ttl_ms=15_000,
    share=38,
)
RELEASED = ReleaseAnswer(released=1)
PHASE_SET = PhaseAnswer(held=True)
GATEWAYS = GatewayList(
    [GatewayItem(gateway=_GATEWAY, capacity=100, held=38, draining=False, seen_ms_ago=850)]
)

SESSION = [Example(summary="One number", value={"instance_id": _ID})]
CLAIM = [
    Example(
        summary="A gateway with room",
        value={"gateway": _GATEWAY, "capacity": 100, "held": 12, "limit": 10},
    )
]
RENEW = [
    Example(
        summary="At a third of the time",
        value={"gateway": _GATEWAY, "capacity": 100, "leases": [_HELD]},
    ),
    Example(
        summary="While stopping",
        value={"gateway": _GATEWAY, "capacity": 100, "draining": True, "leases": [_HELD]},
    ),
]
RELEASE = [Example(summary="After a disconnect", value={"gateway": _GATEWAY, "leases": [_HELD]})]
PHASE = [
    Example(
        summary="Connected",
        value={
            "gateway": _GATEWAY,
            "token": _TOKEN,
            "phase": "connected",
            "device": "6281234567890:7@s.whatsapp.net",
        },
    ),
    Example(
        summary="Waiting",
        value={
            "gateway": _GATEWAY,
            "token": _TOKEN,
            "phase": "waiting",
            "detail": "the breaker is open",
        },
    ),
]
