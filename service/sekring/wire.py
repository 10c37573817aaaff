"""The bodies of the HTTP API (`/v1`): what clients send and, beside the model, what they get.

Unknown fields are refused, so that a misspelt one is not silently without effect.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from sekring.model import PATTERN_END, InstanceId, Snapshot, State, Transition, Why
from sekring.policy import FleetGuard, Policy, PolicyPatch, Source
from sekring.taxonomy import Kind, Protocol

__all__ = [
    "AttemptBody",
    "Batch",
    "BatchAnswer",
    "BatchItem",
    "BatchResult",
    "BuildList",
    "Delivery",
    "FeedName",
    "ForceAnswer",
    "ForceBody",
    "GapNotice",
    "GuardAnswer",
    "GuardResetBody",
    "InstancePage",
    "Outcome",
    "OutcomeBody",
    "PolicyAnswer",
    "Problem",
    "RefusedBuildItem",
    "ResetAnswer",
    "ResetBody",
    "ResetsAnswer",
    "ResetsBody",
    "TransitionList",
    "WebhookBody",
    "WebhookCreated",
    "WebhookItem",
    "WebhookList",
    "WebhookTested",
]

#: The longest time an operator may ask for, and the longest ban: a year, in ms.
_YEAR_MS = 31_536_000_000
_WEEK_MS = 604_800_000

_PRINTABLE = rf"^[\x21-\x7e]+{PATTERN_END}"

FeedName = Annotated[
    str,
    Meta(
        pattern=rf"^([*]|[A-Za-z0-9._:@-]{{1,128}}){PATTERN_END}",
        description="Name of a WhatsApp session, or `*` for the events of the whole fleet.",
        examples=["6281234567890"],
    ),
]
Outcome = Literal["failure", "success", "disconnected"]
GatewayName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=_PRINTABLE,
        description="Name of the gateway replica: printable ASCII without spaces.",
        examples=["gateway-2"],
    ),
]
BuildName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=_PRINTABLE,
        description="The gateway's library and version: what WhatsApp refuses when it refuses a "
        "client as outdated.",
        examples=["neonize/0.5.2"],
    ),
]
ReportId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=_PRINTABLE,
        description="Names the report: a repeated one counts once. Default: the attempt's id.",
    ),
]
Reason = Annotated[
    str, Meta(min_length=1, max_length=500, description="For the audit trail, in words.")
]


class AttemptBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks to connect."""

    gateway: GatewayName | None = None
    build: BuildName | None = None
    strong: Annotated[
        bool,
        Meta(
            description="Ask Redis, not the view of the replica that answers, which may be as old "
            "as its staleness bound."
        ),
    ] = False


Code = Annotated[int, Meta(ge=0, le=65_535, description="The protocol's own disconnect code.")]
Detail = Annotated[
    str, Meta(max_length=2_000, description="What the library said; 300 characters are kept.")
]
Epoch = Annotated[
    int,
    Meta(
        ge=0,
        le=9_007_199_254_740_991,
        description="Under which it was permitted. Default: the one in `attempt_id`.",
    ),
]
AgeMs = Annotated[
    int, Meta(ge=0, le=_WEEK_MS, description="How long ago it happened; never a wall clock.")
]
BanMs = Annotated[
    int, Meta(ge=0, le=_YEAR_MS, description="How long a temporary ban lasts; 0 is unknown.")
]
BanExpire = Annotated[
    int,
    Meta(
        ge=0,
        le=32_503_680_000,
        description="The same as whatsmeow gives it: seconds, or above 10^9 a Unix time.",
    ),
]
ForMs = Annotated[int, Meta(ge=1, le=_YEAR_MS, description="How long; default: until a reset.")]


class OutcomeBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an attempt, or a live connection, ended.

    A failure has a `kind`, or a `protocol` with its `code`; without either it is `unknown`.
    A gateway repeats `success` at least daily for a connection that lasts.
    """

    outcome: Outcome
    kind: Kind | None = None
    protocol: Protocol | None = None
    code: Code | None = None
    detail: Detail | None = None
    id: ReportId | None = None
    attempt_id: ReportId | None = None
    epoch: Epoch | None = None
    age_ms: AgeMs = 0
    gateway: GatewayName | None = None
    build: BuildName | None = None
    ban_expires_in_ms: BanMs | None = None
    ban_expire: BanExpire | None = None


class BatchItem(OutcomeBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One report of a batch."""

    instance_id: InstanceId


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """1 to 1,000 reports (`BatchItem`), each judged by itself."""

    outcomes: Annotated[list[Raw], Meta(min_length=1, max_length=1_000)]


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as RFC 9457 (problem details) has it."""

    #: A word that a program can compare.
    type: str
    title: str
    status: int
    #: One sentence: what was wrong, what was expected, how to go on.
    detail: str
    #: Path of the offending field, where one is.
    field: str | None = None
    #: Which rule refused, where one did.
    cause: str | None = None


class BatchResult(Struct, frozen=True, kw_only=True):
    """The answer to one element of a batch: a verdict's fields, or `error` alone."""

    #: `null` where the element named none.
    instance_id: str | None
    error: Problem | UnsetType = UNSET
    counted: bool | UnsetType = UNSET
    why: Why | UnsetType = UNSET
    state: State | UnsetType = UNSET
    failures: int | UnsetType = UNSET
    threshold: int | UnsetType = UNSET
    retry_attempts: int | UnsetType = UNSET
    tripped: bool | UnsetType = UNSET
    retry_after_ms: int | UnsetType | None = UNSET
    epoch: int | UnsetType = UNSET
    degraded: bool | UnsetType = UNSET


class BatchAnswer(Struct, frozen=True):
    """The answers to a batch, in its order."""

    results: list[BatchResult]


class InstancePage(Struct, frozen=True, kw_only=True):
    """Some instances, and where to go on: `cursor` is `null` on the last page."""

    instances: list[Snapshot]
    cursor: str | None = None


class GapNotice(Struct, frozen=True, kw_only=True):
    """Transitions that the feed cannot show any more: Redis keeps the last 5,000 of a partition."""

    partition: int
    #: The time of the last transition of it that was shown, or of the cursor.
    after_ms: int
    #: The time of the oldest one that is still there; the feed goes on with it.
    until_ms: int
    #: How many are missing; `null` if that is not known.
    lost: int | None


class TransitionList(Struct, frozen=True, kw_only=True):
    """The latest transitions of an instance, or of the fleet guard (`*`), newest first."""

    instance_id: str
    transitions: list[Transition]


class ResetBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why, and whether a ban is to be lifted as well."""

    reason: Reason | None = None
    force: Annotated[
        bool, Meta(description="Lift a ban as well; needs a reason. WhatsApp's own ban stays.")
    ] = False


class ResetAnswer(Struct, frozen=True, kw_only=True):
    """What the state was, and is now."""

    instance_id: str
    was: State
    state: State
    epoch: int
    #: False for an instance that was never seen.
    known: bool


InstanceIds = Annotated[list[InstanceId], Meta(min_length=1, max_length=1_000)]


class ResetsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which instances to reset: exactly one of `instances`, `state` and `all`."""

    instances: InstanceIds | None = None
    state: State | None = None
    all: bool = False
    reason: Reason | None = None


class ResetsAnswer(Struct, frozen=True, kw_only=True):
    """How many were asked for, and what became of them."""

    requested: int
    reset: int
    #: Never seen, or no longer in the state that was asked for.
    unchanged: int
    #: Left as they are because a ban is in force.
    banned: int


class ForceBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An operator's word: why, and for how long (without `for_ms`: until a reset)."""

    reason: Reason
    for_ms: ForMs | None = None


class ForceAnswer(Struct, frozen=True, kw_only=True):
    """What the state was, and is now."""

    instance_id: str
    was: State
    state: State
    epoch: int
    #: `null`: until a reset.
    remaining_ms: int | None


class GuardResetBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why the fleet guard is closed by hand."""

    reason: Reason


class GuardAnswer(Struct, frozen=True, kw_only=True):
    """The fleet guard. Times are ms since 1970 by Redis' clock."""

    #: `closed`; `open`: permits are paced at the first rate; `half_open`: the ramp;
    #: `forced_open`: an operator's, paced at the first rate.
    state: State
    #: Why it is not closed: `failures` or `operator`.
    cause: str | None
    #: What the operator said who opened it.
    reason: str | None
    #: Grows with every change of state or rate.
    epoch: int
    #: Since when it is in this state; `null` if it never opened.
    since_ms: int | None
    #: Forced open: when the ramp begins. Closed by a reset: until then it does not open by itself.
    until_ms: int | None
    #: Permits a second now, for the whole fleet; `null` while closed.
    rate_per_s: float | None
    #: What was permitted, and refused until later, in the present step of the ramp.
    granted: int
    refused: int
    #: The sums that it goes by, as of now.
    failing: int
    connected: int
    known: int
    #: Its part of the fleet's policy.
    policy: FleetGuard


class PolicyAnswer(Struct, frozen=True, kw_only=True):
    """A policy: in force, as it was set here, and where each value comes from."""

    policy: Policy
    set: PolicyPatch
    sources: dict[str, Source]
    #: Grows at every change; 0 if nothing was ever set here.
    version: int


class RefusedBuildItem(Struct, frozen=True):
    """A gateway build whose attempts are refused, until a time by Redis' clock (ms)."""

    build: str
    kind: str
    until_ms: int


class BuildList(Struct, frozen=True):
    """Gateway builds that WhatsApp refused."""

    builds: list[RefusedBuildItem]


Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2_000,
        pattern=rf"^[\x21-\x7e]*{PATTERN_END}",
        description="Where to POST: http or https, printable ASCII, no user and no password.",
    ),
]
Secret = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        description="`whsec_` and the base64 of 24 to 64 random bytes. Default: one is made.",
    ),
]


class WebhookBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to send transitions, and which: without `states` and `instances`, all."""

    url: Url
    secret: Secret | None = None
    #: That the transition leads to.
    states: Annotated[list[State], Meta(max_length=len(State))] = []
    #: `*` stands for the events of the whole fleet.
    instances: Annotated[list[FeedName], Meta(max_length=100)] = []
    description: Annotated[str, Meta(max_length=200)] = ""


class Delivery(Struct, frozen=True, kw_only=True):
    """How the delivery of a webhook goes."""

    #: Who delivers it; `null` while nobody does.
    replica: str | None
    #: Transitions, wanted or not, that are behind the last one up to which all were delivered.
    waiting: int
    delivered: int
    #: Transitions that Redis no longer held when their turn came.
    lost: int
    #: Attempts that failed since the last success.
    attempts: int
    last_success_at_ms: int | None
    last_error: str | None
    last_error_at_ms: int | None
    #: When the next attempt is made after one that failed.
    next_try_at_ms: int | None


class WebhookItem(Struct, frozen=True, kw_only=True):
    """A webhook; its secret is never shown again."""

    id: str
    url: str
    description: str
    states: list[State]
    instances: list[str]
    created_at_ms: int
    created_by: str
    #: Why it is delivered no more; `null` as long as it is.
    disabled: str | None
    delivery: Delivery


class WebhookCreated(WebhookItem, frozen=True, kw_only=True):
    """A new webhook, and its secret: kept in Redis to sign with, and shown only now."""

    secret: str


class WebhookList(Struct, frozen=True):
    """All webhooks, the oldest first."""

    webhooks: list[WebhookItem]


class WebhookTested(Struct, frozen=True, kw_only=True):
    """What came back when a test event was sent."""

    #: Whether the receiver took it: a status of 200 to 299.
    delivered: bool
    #: `null` where no answer came.
    status: int | None
    #: What was the matter; `null` if nothing was.
    error: str | None
    #: The beginning of the answer's body.
    body: str
    took_ms: int
    #: The event's `webhook-id`.
    event_id: str
