"""Failures of the last hour: how many each minute had, and what another policy would have done."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["FailuresAnswer", "Minute", "PreviewAnswer", "PreviewChange", "PreviewSide"]


class Minute(Struct, frozen=True):
    """How many failures were counted in a minute."""

    start_ms: Annotated[
        int, Meta(description="When the minute began, by Redis' clock (ms since 1970).")
    ]
    failures: int


class FailuresAnswer(Struct, frozen=True, kw_only=True):
    """The last 60 minutes of the whole fleet, the present one included, oldest first."""

    minutes: list[Minute]
    now_ms: Annotated[int, Meta(description="Redis' clock.")]
    since_ms: Annotated[
        int, Meta(description="Before this time nothing was recorded: the service was not there.")
    ]
    degraded: Annotated[
        bool,
        Meta(description="A part of the Redis is away: its counts are the last known ones."),
    ]


class PreviewSide(Struct, frozen=True, kw_only=True):
    """What one policy makes of the failures on record."""

    instances: Annotated[int, Meta(description="How many instances trip, once or more often.")]
    trips: Annotated[int, Meta(description="How often they trip in all.")]


class PreviewChange(Struct, frozen=True, kw_only=True):
    """Instances that trip by one policy and not by the other."""

    count: int
    instances: Annotated[list[str], Meta(description="The first of them, ten at most.")]


class PreviewAnswer(Struct, frozen=True, kw_only=True):
    """What the last hour would have been like with another policy."""

    failures: Annotated[int, Meta(description="Failures on record that were considered.")]
    instances: Annotated[int, Meta(description="How many instances they are of.")]
    in_force: PreviewSide
    proposed: PreviewSide
    gained: Annotated[
        PreviewChange, Meta(description="Trip by the proposed policy, not by the one in force.")
    ]
    lost: Annotated[
        PreviewChange, Meta(description="Trip by the policy in force, not by the proposed one.")
    ]
    complete: Annotated[
        bool, Meta(description="Whether every failure of the last hour was considered.")
    ]
    missing: Annotated[
        Literal["young", "capped", "unfinished"] | None,
        Meta(
            description="Why not: `young`, recording began less than an hour ago; `capped`, there "
            "were more failures than are kept; `unfinished`, there was no time for all instances."
        ),
    ]
    since_ms: Annotated[
        int, Meta(description="From when on every failure is on record (ms since 1970).")
    ]
    now_ms: Annotated[int, Meta(description="Redis' clock.")]
    not_considered: Annotated[
        list[str],
        Meta(description="Fields of the policies that matter and that the record cannot tell of."),
    ]
