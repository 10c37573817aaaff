"""Asking for an attempt, and saying how it ended: what gateways send all the time."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from sekring.model import InstanceId, State, Why
from sekring.taxonomy import Kind, Protocol
from sekring.wire.fields import (
    AgeMs,
    BanExpire,
    BanMs,
    BuildName,
    Code,
    Detail,
    Epoch,
    GatewayName,
    ReportId,
)
from sekring.wire.problem import Problem

__all__ = [
    "AttemptBody",
    "Batch",
    "BatchAnswer",
    "BatchItem",
    "BatchResult",
    "Outcome",
    "OutcomeBody",
]

Outcome = Literal["failure", "success", "disconnected"]


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
    """One report of a batch.

    The outcome `attempt` says that an attempt has begun, `age_ms` ago, which the client's own view
    has permitted. Its `attempt_id` is made like the service's: the latest time by Redis' clock (ms)
    up to which the view knew everything, in hex, `-` and 8 random characters.
    """

    instance_id: InstanceId
    outcome: Outcome | Literal["attempt"]  # type: ignore[assignment]
    #: W3C `traceparent` of what is reported, where each element belongs to a trace of its own; a
    #: malformed one is ignored.
    traceparent: str | None = None


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """1 to 1,000 reports (`BatchItem`), each judged by itself."""

    outcomes: Annotated[list[Raw], Meta(min_length=1, max_length=1_000)]


class BatchResult(Struct, frozen=True, kw_only=True):
    """The answer to one element of a batch: a verdict's fields, or `error` alone."""

    #: `null` where the element named none.
    instance_id: str | None
    error: Problem | UnsetType = UNSET
    #: Of an attempt alone: false if the breaker had opened or moved on by then.
    permitted: bool | UnsetType = UNSET
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
