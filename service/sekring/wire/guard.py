"""The fleet guard."""

from msgspec import Struct

from sekring.model import State
from sekring.policy import FleetGuard
from sekring.wire.fields import Reason

__all__ = ["GuardAnswer", "GuardResetBody"]


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
