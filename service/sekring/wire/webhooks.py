"""Webhooks, and the gaps of the feed."""

from typing import Annotated

from msgspec import Meta, Struct

from sekring.model import PATTERN_END, State
from sekring.wire.fields import FeedName

__all__ = [
    "Delivery",
    "GapNotice",
    "Secret",
    "Url",
    "WebhookBody",
    "WebhookCreated",
    "WebhookItem",
    "WebhookList",
    "WebhookTested",
]


class GapNotice(Struct, frozen=True, kw_only=True):
    """Transitions that the feed cannot show any more: Redis keeps the last 5,000 of a partition."""

    partition: int
    #: The time of the last transition of it that was shown, or of the cursor.
    after_ms: int
    #: The time of the oldest one that is still there; the feed goes on with it.
    until_ms: int
    #: How many are missing; `null` if that is not known.
    lost: int | None


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
