"""The breaker's own words as types: states, requests to it and what it answers.

The request and answer Structs are the contract with the Lua scripts: a script reads the
request's fields by these names and answers with these (`sekring.store.contract`).
All times are milliseconds; points in time are milliseconds since 1970 by Redis' clock.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = [
    "INSTANCE_ID_PATTERN",
    "PATTERN_END",
    "PREFIX_PATTERN",
    "REFUSING",
    "Admission",
    "Connection",
    "Failure",
    "Filter",
    "FleetTotals",
    "GuardState",
    "InstanceId",
    "Origin",
    "Pacing",
    "Snapshot",
    "State",
    "Transition",
    "Verdict",
    "Why",
    "health_score",
]

#: The end of a text, as Python's regular expressions and ECMAScript's (JSON Schema) both have it:
#: Python's `$` would let a newline follow, and ECMAScript knows no `\\Z`.
PATTERN_END = r"(?![\s\S])"

#: What names an instance; anything else is refused.
INSTANCE_ID_PATTERN = rf"^[A-Za-z0-9._:@-]{{1,128}}{PATTERN_END}"

#: The beginning of such a name, which may be empty.
PREFIX_PATTERN = rf"^[A-Za-z0-9._:@-]{{0,128}}{PATTERN_END}"

InstanceId = Annotated[
    str,
    Meta(
        pattern=INSTANCE_ID_PATTERN,
        description="Name of a WhatsApp session: 1 to 128 of A-Z a-z 0-9 . _ : @ -",
        examples=["6281234567890"],
    ),
]


class State(StrEnum):
    """The state of an instance's breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"


#: States in which every attempt is refused.
REFUSING = frozenset({State.OPEN, State.FORCED_OPEN})

#: The instance's connection, as its gateway last reported it.
Connection = Literal["", "connecting", "connected"]

#: Why a report was or was not counted:
#:
#: - `counted`: a failure inside the window, counted now
#: - `duplicate`: a report of that id was counted before
#: - `late`: it belongs to an older epoch; nothing changed
#: - `stale`: it is older than the window; nothing was counted
#: - `open`: the breaker is open; counted as suppressed only
#: - `permanent`: a terminal kind; permits are refused until a person re-pairs
#: - `ban`: a temporary ban; open until it ends
#: - `build`: this build of the gateway is refused from now on; the instance is not blamed
#: - `conflict`: another connection replaced this one; open for a short while
#: - `ignored`: a kind that never counts
#: - `success`: the connection is up; credited once it has been stable
#: - `disconnected`: the connection ended on purpose
Why = Literal[
    "counted",
    "duplicate",
    "late",
    "stale",
    "open",
    "permanent",
    "ban",
    "build",
    "conflict",
    "ignored",
    "success",
    "disconnected",
]


class Origin(Struct, frozen=True):
    """Who changes something, why and from where: kept in the audit trail."""

    #: Name of the token, or of the gateway.
    actor: str = ""
    #: What the actor said.
    reason: str = ""
    #: Client address, or the part of the service that acted.
    source: str = ""
    #: W3C trace id (32 hex digits), if the request was traced, and the id of its span (16).
    trace_id: str = ""
    span_id: str = ""


class Admission(Struct, frozen=True, kw_only=True):
    """The answer to one attempt."""

    instance_id: str
    permitted: bool
    #: Names the attempt in its outcome; `None` where it was refused.
    attempt_id: str | None = None
    epoch: int
    state: State
    #: Failures inside the window now.
    failures: int
    #: Refused: when to ask again; `None` if only a person can help. Permitted: 0.
    retry_after_ms: int | None = None
    #: Permitted: how long to wait before connecting. Refused: 0.
    backoff_ms: int
    #: Why it was refused: `failures`, `probe_failed`, `probing`, `operator`, a kind, or `fleet`:
    #: the fleet guard is open, and it was not this instance's turn.
    cause: str | None = None
    #: What the operator said who opened the breaker.
    reason: str | None = None
    degraded: bool = False


class Verdict(Struct, frozen=True, kw_only=True):
    """The answer to one report."""

    instance_id: str
    counted: bool
    why: Why
    state: State
    failures: int
    #: As many open the breaker.
    threshold: int
    retry_attempts: int
    #: Whether this very report opened the breaker.
    tripped: bool
    #: When to attempt again: the time left while open (`None` if only a person can help), else
    #: the recommended backoff.
    retry_after_ms: int | None = None
    epoch: int
    degraded: bool = False


class Failure(Struct, frozen=True):
    """One failure inside the window."""

    at_ms: int
    kind: str


class Snapshot(Struct, frozen=True, kw_only=True):
    """An instance as it stands now; reading it changes nothing."""

    instance_id: str
    #: Whether anything is known of the instance; an unknown one is closed.
    known: bool
    state: State
    epoch: int
    failures: int
    #: As many open the breaker, by the policy in force.
    failure_threshold: int
    #: Attempts permitted since the last proven connection, less the first.
    retry_attempts: int
    #: Failures that were reported while open, since it opened.
    suppressed: int
    #: Why it is open; `None` when closed.
    cause: str | None = None
    reason: str | None = None
    opened_at_ms: int | None = None
    #: When it recovers by itself; `None` when closed, or if only a person can help.
    resets_at_ms: int | None = None
    remaining_ms: int | None = None
    ban_until_ms: int | None = None
    #: The terminal kind that only a person can lift.
    terminal: str | None = None
    connection: Connection
    connection_since_ms: int | None = None
    #: Attempts in flight, and successes credited, while half-open.
    probes_in_flight: int
    probe_successes: int
    last_failure_at_ms: int | None = None
    last_failure_kind: str | None = None
    last_failure_detail: str | None = None
    #: The window's failures, oldest first; empty in listings.
    recent_failures: tuple[Failure, ...]
    #: Redis' clock when this was read.
    now_ms: int
    #: Redis was away: what was last known, and what this replica has counted since.
    degraded: bool = False


class Transition(Struct, frozen=True, kw_only=True):
    """One entry of the audit trail."""

    #: The entry's id in its stream; in the feed with the partition in front, `PP-ms-sequence`,
    #: and so unique in the whole fleet.
    id: str
    instance_id: str
    at_ms: int
    #: trip, reopen, recover, half_open, close, reset, force_open, disable, enable, ban,
    #: permanent, conflict, policy, want_session, drop_session, takeover; of the fleet
    #: (instance `*`): policy, refuse_build, permit_build,
    #: create_webhook, delete_webhook, disable_webhook
    #: guard_trip, guard_ramp, guard_recover, guard_reset, guard_force_open
    action: str
    before: str = ""
    after: str = ""
    epoch: int = 0
    cause: str = ""
    #: When the state that it leads to ends by itself; `None`: never, or it is closed.
    until_ms: int | None = None
    actor: str = ""
    reason: str = ""
    source: str = ""
    trace_id: str = ""
    #: Of the fleet guard: permits a second from then on.
    rate_per_s: float | None = None


class Filter(Struct, frozen=True):
    """Which transitions are wanted; where nothing is named, all."""

    #: Instances, and `*` for the events of the whole fleet.
    instances: frozenset[str] = frozenset()
    #: States that the transition leads to.
    states: frozenset[State] = frozenset()

    def passes(self, transition: Transition) -> bool:
        """Tell whether the transition is wanted."""
        return (not self.instances or transition.instance_id in self.instances) and (
            not self.states or transition.after in self.states
        )


class FleetTotals(Struct, frozen=True, kw_only=True):
    """Sums over all instances, exact at the time of reading."""

    known: int = 0
    connected: int = 0
    connecting: int = 0
    open: int = 0
    half_open: int = 0
    forced_open: int = 0
    disabled: int = 0
    retry_attempts: int = 0
    failures: int = 0
    #: Instances that are not connected and have failures in the window, or are open because of
    #: failures: what the fleet guard goes by.
    failing: int = 0

    @classmethod
    def sum(cls, parts: Sequence["FleetTotals"]) -> "FleetTotals":
        """Add up the sums of several parts of the fleet."""
        names = FleetTotals.__struct_fields__
        return FleetTotals(**{name: sum(getattr(part, name) for part in parts) for name in names})


class GuardState(Struct, frozen=True, kw_only=True):
    """The fleet guard, as it was evaluated last."""

    #: `closed`; `open`: permits are paced at the first rate; `half_open`: the ramp;
    #: `forced_open`: an operator's, paced at the first rate.
    state: State = State.CLOSED
    #: Why it is not closed: `failures` or `operator`.
    cause: str = ""
    reason: str = ""
    #: Grows with every change of state or rate.
    epoch: int = 0
    since_ms: int = 0
    #: Forced open: when the ramp begins. Closed by a reset: until then it does not open by itself.
    #: 0: no such time.
    until_ms: int = 0
    #: Permits a second now, fleet-wide; 0 while closed.
    rate_per_s: float = 0.0
    #: When the present step of the ramp began, what the bucket gave and refused since, and how
    #: many instances were connected and failing then.
    step_ms: int = 0
    granted: int = 0
    refused: int = 0
    connected: int = 0
    failing: int = 0


class Pacing(Struct, frozen=True, kw_only=True):
    """What the fleet's bucket says to one permit."""

    granted: bool
    #: The guard's; while it is closed everything is granted.
    state: State
    rate_per_s: float
    #: Refused: when to ask again, spread by chance over all who were refused.
    retry_after_ms: int


def health_score(*, breakers_open: int, retries: int, failures: int, instances: int) -> int:
    """Return the fleet's health, 0 to 100.

    `max(0, round(100 - (20*A + 2*R + 2*F) / max(1, N)))`: the guide's example
    (2 open, 15 retries, 20 failures, 2 instances) gives 45, and unlike a sum it means the same
    on 2 instances and on 200,000. A half rounds to the even neighbour.
    """
    burden = 20 * breakers_open + 2 * retries + 2 * failures
    return max(0, round(100 - burden / max(1, instances)))
