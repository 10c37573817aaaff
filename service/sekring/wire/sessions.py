"""Sessions that are to be connected, the leases under which gateways own them, and errands."""

from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct

from sekring.model import PATTERN_END, InstanceId
from sekring.wire.fields import Detail, GatewayName

__all__ = [
    "ClaimAnswer",
    "ClaimBody",
    "Errand",
    "ErrandKind",
    "ErrandOutcome",
    "ErrandsAnswer",
    "ErrandsBody",
    "GatewayItem",
    "GatewayList",
    "HeldLease",
    "Lease",
    "MessageBody",
    "MessageSent",
    "OutcomeTaken",
    "PairingBody",
    "PairingCode",
    "Phase",
    "PhaseAnswer",
    "PhaseBody",
    "QrBody",
    "ReleaseAnswer",
    "ReleaseBody",
    "RenewAnswer",
    "RenewBody",
    "RenewedLease",
    "Session",
    "SessionBody",
    "SessionPage",
]


class Phase(StrEnum):
    """Where a session stands, as its owner last said."""

    #: No gateway owns it (any more).
    VACANT = "vacant"
    #: Owned, and not connecting: the breaker refuses, or the backoff is not over.
    WAITING = "waiting"
    CONNECTING = "connecting"
    #: A QR code is shown, or a pairing code was given out.
    PAIRING = "pairing"
    CONNECTED = "connected"
    #: It belongs to no phone: it connects again when somebody asks for a QR code.
    UNPAIRED = "unpaired"


Token = Annotated[
    int,
    Meta(
        ge=1,
        le=9_007_199_254_740_991,
        description="Fencing token: grows with every claim; an older one changes nothing.",
    ),
]
Capacity = Annotated[
    int, Meta(ge=0, le=100_000, description="How many sessions the gateway takes at most.")
]
DeviceId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=rf"^[\x21-\x7e]+{PATTERN_END}",
        description="The device's JID, once it was paired.",
        examples=["6281234567890:7@s.whatsapp.net"],
    ),
]
StoreName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=rf"^[\x21-\x7e]+{PATTERN_END}",
        description="Where the gateway keeps its devices, in a form that gateways compare.",
        examples=["postgresql/5d41402abc4b2a76b9719d911017c592/0123456789abcdef"],
    ),
]
Phone = Annotated[
    str,
    Meta(
        pattern=rf"^[1-9][0-9]{{6,14}}{PATTERN_END}",
        description="International number: digits only, no + and no leading zeros.",
        examples=["6281234567890"],
    ),
]
Text = Annotated[str, Meta(min_length=1, max_length=65_536)]


# --------------------------------------------------------------------- sessions to be connected


class SessionBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which session is to be connected from now on."""

    instance_id: InstanceId


class Session(Struct, frozen=True, kw_only=True):
    """A session: whether it is to be connected, who owns it, where it stands."""

    instance_id: str
    #: Whether it is to be connected.
    wanted: bool
    created_at_ms: int | None = None
    created_by: str | None = None
    #: The gateway that owns it now; `null`: none.
    gateway: str | None = None
    #: The fencing token of the latest lease; 0 before the first.
    token: int = 0
    lease_ends_in_ms: int | None = None
    phase: Phase = Phase.VACANT
    phase_since_ms: int | None = None
    device: str | None = None
    detail: str | None = None


class SessionPage(Struct, frozen=True, kw_only=True):
    """Some sessions, and where to go on: `cursor` is `null` on the last page."""

    sessions: list[Session]
    cursor: str | None = None


class PairingBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The phone that is to be paired."""

    phone: Phone


class PairingCode(Struct, frozen=True):
    """What is typed into the phone."""

    code: str
    expires_in_ms: int


class MessageBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A text message."""

    to: Annotated[str, Meta(min_length=1, max_length=128, description="A phone number or a JID.")]
    text: Text


class MessageSent(Struct, frozen=True):
    """WhatsApp's id of the message."""

    message_id: str


# ------------------------------------------------------------------------------------ leases


class ClaimBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A gateway asks for sessions to own. It is known from then on, for a lease's time."""

    gateway: GatewayName
    capacity: Capacity
    #: How many it owns now.
    held: Capacity
    #: How many more it takes now.
    limit: Annotated[int, Meta(ge=0, le=1_000)] = 10
    devices: StoreName | None = None


class Lease(Struct, frozen=True, kw_only=True):
    """A claimed session."""

    instance_id: str
    token: int
    #: Who owned it before, if its lease was not given back but ran out.
    taken_from: str | None = None
    #: Somebody waits for something that its owner has to do.
    errands: bool = False


class ClaimAnswer(Struct, frozen=True, kw_only=True):
    """The sessions that the gateway owns from now on, for `ttl_ms` from when it asked."""

    leases: list[Lease]
    ttl_ms: int
    #: How many it should own in all, by the capacities of the gateways that live.
    share: int
    #: Sessions that are to be connected, fleet-wide.
    sessions: int
    gateways: int


class HeldLease(Struct, frozen=True, forbid_unknown_fields=True):
    """A lease as its owner names it."""

    instance_id: InstanceId
    token: Token


Held = Annotated[list[HeldLease], Meta(max_length=10_000)]


class RenewBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A gateway says that it lives, and which sessions it still owns."""

    gateway: GatewayName
    capacity: Capacity
    #: It is stopping: it takes no more, and its part goes to the others.
    draining: bool = False
    devices: StoreName | None = None
    leases: Held


class RenewedLease(Struct, frozen=True, kw_only=True):
    """What became of a renewal."""

    instance_id: str
    token: int
    #: False: another gateway owns it, or nobody any more. Its connection is to be stopped at once.
    held: bool
    #: False: it is not to be connected any more. It is to be stopped, then released.
    wanted: bool
    errands: bool = False


class RenewAnswer(Struct, frozen=True, kw_only=True):
    """All leases in the order of the request; those `held` last for `ttl_ms` from its sending."""

    leases: list[RenewedLease]
    ttl_ms: int
    share: int


class ReleaseBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A gateway gives sessions back. Nothing of their connections is left."""

    gateway: GatewayName
    leases: Held


class ReleaseAnswer(Struct, frozen=True):
    """How many leases were the gateway's own."""

    released: int


class PhaseBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The owner says where a session stands."""

    gateway: GatewayName
    token: Token
    phase: Phase
    device: DeviceId | None = None
    detail: Detail | None = None


class PhaseAnswer(Struct, frozen=True):
    """Whether the lease is still the caller's; if not, nothing was written."""

    held: bool


class QrBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The owner shows a QR code: its content, not its picture."""

    gateway: GatewayName
    token: Token
    code: Annotated[str, Meta(min_length=1, max_length=2_000)]
    expires_in_ms: Annotated[int, Meta(ge=1, le=300_000)]


# ----------------------------------------------------------------------------------- gateways


class GatewayItem(Struct, frozen=True, kw_only=True):
    """A gateway that lives."""

    gateway: str
    capacity: int
    held: int
    draining: bool
    seen_ms_ago: int
    devices: str | None = None


class GatewayList(Struct, frozen=True):
    """All gateways that said something within a lease's time."""

    gateways: list[GatewayItem]


# ------------------------------------------------------------------------------------ errands

ErrandKind = Literal["qr", "pair", "send", "log_out", "retry"]


class Errand(Struct, frozen=True, kw_only=True):
    """Something that the owner of a session is asked to do.

    `qr`: connect and show a QR code, if it is not paired. `pair`: give out a pairing code for
    `phone`. `send`: send `text` to `to`. `log_out`: unlink the device. `retry`: the breaker was
    reset, ask for a permit again. Only `pair`, `send` and `log_out` are answered.
    """

    id: str
    instance_id: str
    kind: ErrandKind
    phone: str | None = None
    to: str | None = None
    text: str | None = None
    #: Nobody waits for it any longer then.
    expires_in_ms: int


class ErrandsBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A gateway asks what there is to do, and for how long it waits if there is nothing."""

    wait_ms: Annotated[int, Meta(ge=0, le=60_000)] = 25_000


class ErrandsAnswer(Struct, frozen=True):
    """What there is to do; each errand is handed out once."""

    errands: list[Errand]


class OutcomeTaken(Struct, frozen=True):
    """Whether somebody still waited for it; if not, nothing was written."""

    awaited: bool


class ErrandOutcome(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of an errand: a `result` (the pairing code, the message's id), or an `error`."""

    instance_id: InstanceId
    result: Annotated[str, Meta(max_length=2_000)] | None = None
    error: Detail | None = None
