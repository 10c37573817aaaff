"""Instances: lists of them, their transitions, and what operators do to them."""

from typing import Annotated

from msgspec import Meta, Struct

from sekring.model import Snapshot, State, Transition
from sekring.wire.fields import ForMs, InstanceIds, Prefix, Reason
from sekring.wire.policies import PolicyAnswer
from sekring.wire.sessions import Session

__all__ = [
    "ForceAnswer",
    "ForceBody",
    "InstanceDetail",
    "InstancePage",
    "ResetAnswer",
    "ResetBody",
    "ResetsAnswer",
    "ResetsBody",
    "TransitionList",
]


class InstancePage(Struct, frozen=True, kw_only=True):
    """Some instances, and where to go on: `cursor` is `null` on the last page."""

    instances: list[Snapshot]
    cursor: str | None = None


class InstanceDetail(Struct, frozen=True, kw_only=True):
    """All that there is to see of an instance."""

    #: With the window's failures, each with its time and kind.
    snapshot: Snapshot
    attempts_in_flight: Annotated[
        int,
        Meta(description="Attempts that were permitted and have neither connected nor ended yet."),
    ]
    #: In force for the instance, and where each value comes from; no sources while Redis is away.
    policy: PolicyAnswer
    #: Who owns its session, and where that stands; `null` while Redis is away.
    session: Session | None


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


class ResetsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which instances to reset: exactly one of `instances`, `state` and `all`.

    `prefix` goes with `state`, or alone.
    """

    instances: InstanceIds | None = None
    state: State | None = None
    all: bool = False
    reason: Reason | None = None
    prefix: Prefix | None = None


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
