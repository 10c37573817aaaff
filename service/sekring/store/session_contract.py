"""The contract with the Lua scripts of sessions, their leases and gateways.

As `sekring.store.contract`; all times are milliseconds, by Redis' clock.
"""

import secrets

import msgspec
from msgspec import Struct

from sekring.model import Origin
from sekring.store.contract import Request

__all__ = [
    "ClaimLeasesRequest",
    "ClaimedLease",
    "ClaimedLeases",
    "DropSessionRequest",
    "JoinGatewaysRequest",
    "ListGatewaysRequest",
    "LiveGateway",
    "LiveGateways",
    "PartitionVacancies",
    "ReadSessionsRequest",
    "ReleaseLeasesRequest",
    "ReleasedLeases",
    "RenewLeasesRequest",
    "RenewedLeases",
    "SessionRead",
    "SessionsRead",
    "SetPhaseRequest",
    "VacanciesRequest",
    "WantSessionRequest",
]


class WantSessionRequest(Request, frozen=True, kw_only=True):
    """`lua/want_session.lua`."""

    instance_id: str
    origin: Origin | None = None


class DropSessionRequest(Request, frozen=True, kw_only=True):
    """`lua/drop_session.lua`."""

    instance_id: str
    origin: Origin | None = None


class ClaimLeasesRequest(Request, frozen=True, kw_only=True):
    """`lua/claim_leases.lua`."""

    gateway: str
    id: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(9))
    limit: int
    ttl_ms: int
    origin: Origin | None = None


class RenewLeasesRequest(Request, frozen=True, kw_only=True):
    """`lua/renew_leases.lua`."""

    gateway: str
    ttl_ms: int
    instance_ids: list[str]
    #: In the order of the instances.
    tokens: list[int]


class ReleaseLeasesRequest(Request, frozen=True, kw_only=True):
    """`lua/release_leases.lua`."""

    gateway: str
    instance_ids: list[str]
    #: In the order of the instances.
    tokens: list[int]


class SetPhaseRequest(Request, frozen=True, kw_only=True):
    """`lua/set_phase.lua`."""

    instance_id: str
    gateway: str
    token: int
    phase: str
    device: str | None = None
    detail: str | None = None


class JoinGatewaysRequest(Request, frozen=True, kw_only=True):
    """`lua/join_gateways.lua`."""

    gateway: str
    capacity: int
    held: int
    draining: bool = False
    devices: str | None = None
    ttl_ms: int


class ListGatewaysRequest(Request, frozen=True, kw_only=True):
    """`lua/list_gateways.lua`."""

    ttl_ms: int


class ReadSessionsRequest(Request, frozen=True, kw_only=True):
    """`lua/read_sessions.lua`."""

    instance_ids: list[str]


class VacanciesRequest(Request, frozen=True, kw_only=True):
    """`lua/vacancies.lua`."""


class ClaimedLease(Struct, frozen=True, kw_only=True):
    """A session that the caller owns from now on."""

    instance_id: str
    token: int
    #: Who owned it until the lease ran out.
    taken_from: str | None = None
    #: Whether errands wait for its owner.
    errands: bool = False


class ClaimedLeases(Struct, frozen=True, kw_only=True):
    """What a claim was given."""

    leases: tuple[ClaimedLease, ...]


class RenewedLeases(Struct, frozen=True, kw_only=True):
    """What became of a renewal, in the order of its instances."""

    held: tuple[bool, ...]
    #: Whether it is still to be connected.
    wanted: tuple[bool, ...]
    #: Whether errands wait for its owner.
    errands: tuple[bool, ...]


class ReleasedLeases(Struct, frozen=True, kw_only=True):
    """Which leases were the caller's, in the order of the request."""

    released: tuple[bool, ...]


class LiveGateway(Struct, frozen=True, kw_only=True):
    """A gateway as it last said."""

    gateway: str
    capacity: int
    held: int
    draining: bool
    seen_ms: int
    #: Where it keeps its devices, if it said so.
    devices: str | None = None


class LiveGateways(Struct, frozen=True, kw_only=True):
    """All gateways that were seen within the time of a lease."""

    gateways: tuple[LiveGateway, ...]
    now_ms: int


class SessionRead(Struct, frozen=True, kw_only=True):
    """What Redis has about one session."""

    instance_id: str
    #: JSON; `None`: it is not to be connected.
    session: str | None = None
    #: JSON; `None`: nobody has owned it yet.
    owner: str | None = None
    #: When its lease ends, or ended; 0: it was released.
    ends_ms: int | None = None


class SessionsRead(Struct, frozen=True, kw_only=True):
    """Some sessions of a partition, in the order in which they were asked for."""

    sessions: tuple[SessionRead, ...]
    now_ms: int


class PartitionVacancies(Struct, frozen=True, kw_only=True):
    """What there is to claim in a partition."""

    #: That are to be connected.
    sessions: int = 0
    #: That are to be connected, or were and have, or had, an owner.
    leases: int = 0
    #: Those of them that nobody owns.
    vacant: int = 0
