"""The contract with the Lua scripts: what each is asked, and what it answers.

A script takes its keys as KEYS and one request, a msgpack map, as ARGV[1]; it answers with a
msgpack map, or with 1 or 0. What gateways send all the time, permits and reports, are arrays in
the order of the fields, and so are the answers. A script that has made transitions adds them to its
answer, as `transitions`, and its wrapper passes them on (`Made`). The Structs here, in
`sekring.requests`, `sekring.store.replies` and `sekring.model` name the fields: a test holds them,
the header of the script and the names that it uses together. All times are milliseconds.
"""

import random

import msgspec
from msgspec import Struct

from sekring.model import FleetTotals, GuardState, Origin, Snapshot, State
from sekring.policy import Policy
from sekring.requests import (
    Forced,
    OfferRequest,
    PermitRequest,
    ReportRequest,
    Request,
    ResetDone,
    ResetRequest,
)

__all__ = [
    "AdvanceWebhookRequest",
    "Announcement",
    "ClaimRequest",
    "ClaimWebhookRequest",
    "CreateWebhookRequest",
    "DeleteWebhookRequest",
    "DisableRequest",
    "DisableWebhookRequest",
    "Facts",
    "Forced",
    "GuardChange",
    "GuardRequest",
    "KeyspaceClaim",
    "Made",
    "MinutesRequest",
    "OfferRequest",
    "OverrideRequest",
    "PaceRequest",
    "PartitionMinutes",
    "PartitionTotals",
    "PartitionView",
    "PermitRequest",
    "PolicyRequest",
    "Reading",
    "RefuseBuildRequest",
    "ReleaseWebhookRequest",
    "ReportRequest",
    "Request",
    "ResetDone",
    "ResetGuardRequest",
    "ResetRequest",
    "SettleRequest",
    "SnapshotRequest",
    "Tail",
    "TailRequest",
    "TotalsRequest",
    "TripGuardRequest",
    "TripRequest",
    "ViewRequest",
    "WebhookClaim",
]


class TripRequest(Request, frozen=True, kw_only=True):
    """`lua/trip.lua`."""

    instance_id: str
    for_ms: int | None = None
    made_epoch: int | None = None
    origin: Origin | None = None


class DisableRequest(Request, frozen=True, kw_only=True):
    """`lua/disable.lua`."""

    instance_id: str
    for_ms: int | None = None
    made_epoch: int | None = None
    origin: Origin | None = None


class SettleRequest(Request, frozen=True, kw_only=True):
    """`lua/settle.lua`."""

    instance_id: str


class SnapshotRequest(Request, frozen=True, kw_only=True):
    """`lua/snapshot.lua`."""

    instance_id: str
    with_failures: bool = False


class OverrideRequest(Request, frozen=True, kw_only=True):
    """`lua/set_override.lua`."""

    instance_id: str
    policy: str | None = None
    version: int
    origin: Origin | None = None


class PolicyRequest(Request, frozen=True, kw_only=True):
    """`lua/set_policy.lua`."""

    policy: str
    version: int
    first: bool = False
    origin: Origin | None = None


class RefuseBuildRequest(Request, frozen=True, kw_only=True):
    """`lua/refuse_build.lua`."""

    build: str
    kind: str | None = None
    for_ms: int | None = None
    first: bool = False
    origin: Origin | None = None


class TotalsRequest(Request, frozen=True, kw_only=True):
    """`lua/totals.lua`."""

    limit: int


class MinutesRequest(Request, frozen=True, kw_only=True):
    """`lua/minutes.lua`."""


class ViewRequest(Request, frozen=True, kw_only=True):
    """`lua/view.lua`."""


class GuardRequest(Request, frozen=True, kw_only=True):
    """`lua/guard.lua`."""

    failing: int
    connected: int


class PaceRequest(Request, frozen=True, kw_only=True):
    """`lua/pace.lua`."""

    random: float = msgspec.field(default_factory=random.random)


class TripGuardRequest(Request, frozen=True, kw_only=True):
    """`lua/trip_guard.lua`."""

    for_ms: int | None = None
    origin: Origin | None = None


class ResetGuardRequest(Request, frozen=True, kw_only=True):
    """`lua/reset_guard.lua`."""

    origin: Origin | None = None


class ClaimRequest(Request, frozen=True, kw_only=True):
    """`lua/claim_keyspace.lua`."""

    partitions: int
    secret: str


class TailRequest(Request, frozen=True, kw_only=True):
    """`lua/tail.lua`."""

    after: str
    limit: int


class CreateWebhookRequest(Request, frozen=True, kw_only=True):
    """`lua/create_webhook.lua`."""

    id: str
    definition: str
    limit: int
    places: dict[str, str]
    origin: Origin | None = None


class DeleteWebhookRequest(Request, frozen=True, kw_only=True):
    """`lua/delete_webhook.lua`."""

    id: str
    origin: Origin | None = None


class DisableWebhookRequest(Request, frozen=True, kw_only=True):
    """`lua/disable_webhook.lua`."""

    id: str
    token: int
    definition: str
    origin: Origin | None = None


class ClaimWebhookRequest(Request, frozen=True, kw_only=True):
    """`lua/claim_webhook.lua`."""

    id: str
    owner: str
    lease_ms: int


class ReleaseWebhookRequest(Request, frozen=True, kw_only=True):
    """`lua/release_webhook.lua`."""

    owner: str
    token: int


class AdvanceWebhookRequest(Request, frozen=True, kw_only=True):
    """`lua/advance_webhook.lua`."""

    id: str
    token: int
    places: dict[str, str]
    delivered: int
    lost: int
    attempts: int
    succeeded: bool = False
    error: str | None = None
    retry_in_ms: int | None = None


class Made(Struct, frozen=True, kw_only=True):
    """A transition that a call has made; exactly one call in the fleet tells of it."""

    #: `*` for the fleet guard's.
    instance_id: str
    #: See `Transition.action`.
    action: str
    before: str
    after: str
    epoch: int
    cause: str
    #: The span whose request led to it (`TRACE-SPAN`, hex digits), also where only time has made
    #: it; empty where that was not traced.
    trace: str


class Tail(Struct, frozen=True, kw_only=True):
    """A part of a partition's stream, and how far the stream reaches."""

    #: Id, and names and values by turns.
    entries: tuple[tuple[str, tuple[str, ...]], ...]
    #: Entries that were ever added, and those that are still there.
    added: int
    kept: int
    #: Ids of the oldest entry that is still there, and of the last that was ever added.
    first: str | None = None
    last: str
    #: The clock of the partition's server.
    now_ms: int


class WebhookClaim(Struct, frozen=True, kw_only=True):
    """What came of a claim."""

    #: Grows with every claim that another replica made; 0: it is held by another, or is no more.
    token: int
    #: JSON; `None` if there is no such webhook (any more).
    definition: str | None = None
    #: Places by partition, `ms-seq ordinal`, and counters by their names.
    state: dict[str, str] = {}


class Reading(Struct, frozen=True, kw_only=True):
    """An instance as it stands now, the policy in force, and its share in the totals."""

    snapshot: Snapshot
    policy: Policy
    #: What the partition's totals hold for it.
    accounted: FleetTotals
    #: What they should hold now.
    effective: FleetTotals


class PartitionTotals(FleetTotals, frozen=True, kw_only=True):
    """A partition's sums, not corrected for what time has changed for the instances in `due`."""

    due: tuple[str, ...] = ()
    #: Number of the last message on the push channel.
    seq: int = 0
    #: Redis' clock.
    now_ms: int = 0
    policy_version: int = 0


class PartitionMinutes(Struct, frozen=True, kw_only=True):
    """How many failures a partition has counted in the last minutes."""

    #: Redis' clock.
    now_ms: int
    #: Minutes since 1970 and counts in turn; a minute without any is not there.
    counts: tuple[str, ...]


class PartitionView(Struct, frozen=True, kw_only=True):
    """What a replica's view of a partition begins with; lists of names and values in turn."""

    #: Number of the last message on the push channel that is contained.
    seq: int
    #: The highest epoch in the partition.
    epoch: int
    now_ms: int
    #: Instances that are not plainly closed, and their `Facts` as JSON.
    instances: tuple[str, ...]
    #: Instances, `*` for the fleet, and their policies as JSON.
    policies: tuple[str, ...]
    #: Gateway builds that are or were refused, and why and until when (`KIND MS`).
    builds: tuple[str, ...]


class Facts(Struct, frozen=True, kw_only=True):
    """What replicas see of an instance that is not plainly closed."""

    state: State
    epoch: int = 0
    cause: str = ""
    reason: str = ""
    #: When the state ends by itself; 0: never.
    until_ms: int = 0
    #: Open only: failures inside the window, until the oldest of them leaves it.
    failures: int = 0
    oldest_leaves_ms: int | None = None


class Announcement(Struct, frozen=True, kw_only=True):
    """A message on a partition's push channel; without instance and bell: read it anew."""

    seq: int
    #: Rings for those who wait for this (`errand:GATEWAY`, …); the view holds nothing of it.
    bell: str | None = None
    #: What the bell is about: an instance, where the topic does not name it.
    about: str = ""
    instance_id: str | None = None
    epoch: int = 0
    #: `None`: the instance is plainly closed.
    facts: Facts | None = None


class GuardChange(Struct, frozen=True, kw_only=True):
    """The fleet guard after a call, and what that very call changed."""

    was: State
    #: The transition (see `Transition.action`); `None` if there was none.
    action: str | None = None
    guard: GuardState


class KeyspaceClaim(Struct, frozen=True, kw_only=True):
    """What the keyspace was made with."""

    partitions: int
    #: Signs cookies and CSRF tokens; the same for every replica.
    secret: str
