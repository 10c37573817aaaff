"""The bodies of the guide's routes: what existing clients and scripts read."""

from msgspec import Struct

from sekring.model import State

__all__ = [
    "GuideError",
    "Health",
    "HealthData",
    "Instance",
    "InstanceData",
    "LoggedOut",
    "MessageSent",
    "MessageSentData",
    "QrCode",
    "ResetDone",
    "Status",
    "StatusData",
]


class HealthData(Struct, frozen=True, kw_only=True):
    """The guide's eight fields, then what we add."""

    server_status: str
    total_instances: int
    active_connections: int
    connecting: int
    #: Breakers that refuse now.
    circuit_breaker_activations: int
    total_retry_attempts: int
    total_recent_failures: int
    health_score: int
    half_open: int
    forced_open: int
    disabled: int
    #: The fleet guard, and how many permits a second it paces the fleet to (`null`: to none).
    guard: State
    guard_rate_per_s: float | None
    #: The replica that answers cannot reach Redis, or has yet to tell it what it took meanwhile.
    degraded: bool
    #: What that replica has yet to tell Redis, and what it had to drop since its start.
    queued_reports: int
    dropped_reports: int
    #: Trips and operators' changes that it has yet to see on Redis' replicas.
    unconfirmed_changes: int
    #: Time has changed more than could be counted right away: the sums lag by seconds.
    lagging: bool


class Health(Struct, frozen=True):
    """The fleet."""

    status: str
    message: str
    data: HealthData


class StatusData(Struct, frozen=True, kw_only=True):
    """The guide's seven fields, then what we add. Times are ms since 1970."""

    instance_id: str
    circuit_breaker_active: bool
    recent_failures: int
    retry_attempts: int
    last_failure_timestamps: list[int]
    session_exists: bool
    connecting: bool
    state: State
    threshold: int
    opened_at: int | None
    resets_at: int | None
    remaining_ms: int | None
    cause: str | None
    reason: str | None
    epoch: int
    suppressed: int
    last_failure_kind: str | None
    last_failure_detail: str | None
    #: Redis was away: what was last known, and what the replica that answers has counted since.
    degraded: bool


class Status(Struct, frozen=True):
    """One instance."""

    status: str
    data: StatusData


class ResetDone(Struct, frozen=True, kw_only=True):
    """What a reset did."""

    status: str
    message: str
    instance_id: str
    #: The state before it.
    was: State
    state: State


class QrCode(Struct, frozen=True, kw_only=True):
    """A QR code to be scanned."""

    status: str
    message: str
    #: A PNG as a `data:` URL.
    base64: str


class InstanceData(Struct, frozen=True, kw_only=True):
    """Where a session stands; `id` and `name` as waziper's clients read them."""

    #: The device's JID; `null` as long as no phone is linked.
    id: str | None
    #: The phone's number.
    name: str | None
    instance_id: str
    #: vacant, waiting, connecting, pairing, connected or unpaired.
    phase: str
    connected: bool
    gateway: str | None
    detail: str | None


class Instance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session; `error` with `relogin` as long as it belongs to no phone, as waziper has it."""

    status: str
    message: str
    relogin: bool = False
    data: InstanceData


class LoggedOut(Struct, frozen=True, kw_only=True):
    """What a logout did."""

    status: str
    message: str
    instance_id: str


class MessageSentData(Struct, frozen=True, kw_only=True):
    """A message that was sent."""

    message_id: str


class MessageSent(Struct, frozen=True, kw_only=True):
    """What sending a text did."""

    status: str
    message: str
    data: MessageSentData


class GuideError(Struct, frozen=True, omit_defaults=True, tag="error", tag_field="status"):
    """An error as the guide's clients read it."""

    message: str
    field: str | None = None
    #: True: the breaker refuses.
    circuit_breaker: bool | None = None
    #: Then: when to try again, in seconds; absent if only a person can help.
    retry_after: int | None = None
