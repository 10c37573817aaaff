"""What is asked of an instance's breaker, and what it answers beside the model's own answers.

The Lua scripts take these (`sekring.store.contract` has their other requests), and so does the
breaker in plain Python (`sekring.local`). All times are milliseconds.
"""

import random

import msgspec
from msgspec import Struct

from sekring.model import Origin, State
from sekring.taxonomy import Effect

__all__ = [
    "Forced",
    "OfferRequest",
    "PermitRequest",
    "ReportRequest",
    "Request",
    "ResetDone",
    "ResetRequest",
]


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every request may have."""

    #: Redis' clock in ms as a test wants it; production leaves it to Redis.
    now_ms: int | None = None


class PermitRequest(Request, frozen=True, kw_only=True, array_like=True):
    """`lua/permit.lua`, which takes the fields by their order."""

    instance_id: str
    #: Tells the attempts of an instance in one epoch apart; it is no secret.
    token: str = msgspec.field(default_factory=lambda: f"{random.getrandbits(32):08x}")
    build: str | None = None
    epoch: int | None = None
    age_ms: int = 0
    sent_ms: int | None = None
    random: float = msgspec.field(default_factory=random.random)
    origin: Origin | None = None


class ReportRequest(Request, frozen=True, kw_only=True, array_like=True):
    """`lua/report.lua`, which takes the fields by their order."""

    instance_id: str
    id: str
    outcome: str
    effect: Effect | None = None
    kind: str | None = None
    detail: str | None = None
    attempt_id: str | None = None
    epoch: int | None = None
    age_ms: int = 0
    ban_ms: int | None = None
    gateway: str | None = None
    sent_ms: int | None = None
    random: float = msgspec.field(default_factory=random.random)
    origin: Origin | None = None


class ResetRequest(Request, frozen=True, kw_only=True):
    """`lua/reset.lua`."""

    instance_id: str
    only_state: State | None = None
    force: bool = False
    made_epoch: int | None = None
    origin: Origin | None = None


class OfferRequest(Request, frozen=True, kw_only=True):
    """`lua/offer.lua`."""

    instance_id: str
    epoch: int
    cause: str
    for_ms: int | None = None
    made_epoch: int | None = None
    origin: Origin | None = None


class ResetDone(Struct, frozen=True, kw_only=True):
    """What a reset did. `done` is false where it changed nothing."""

    instance_id: str
    known: bool
    was: State
    state: State
    epoch: int
    done: bool
    #: A ban forbade it.
    banned: bool
    ban_remaining_ms: int


class Forced(Struct, frozen=True, kw_only=True):
    """What an operator's trip or disable did; `remaining_ms` is `None` where it has no end."""

    instance_id: str
    was: State
    state: State
    epoch: int
    remaining_ms: int | None = None
