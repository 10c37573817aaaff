"""What an instance's page shows, read from the use-cases."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from msgspec import Struct, structs

from sekring.console.statemachine import Machine
from sekring.console.window import Window
from sekring.errors import StoreUnavailable
from sekring.http.runtime import Runtime
from sekring.model import Snapshot, Transition
from sekring.policies import PolicyInForce
from sekring.policy import Policy
from sekring.wire import Session

__all__ = ["HISTORY_MAX", "HISTORY_SHOWN", "Standing", "read_standing"]

#: Transitions that are kept of an instance, and those that its page shows at first.
HISTORY_MAX = 100
HISTORY_SHOWN = 10

#: Into how many steps the window is divided: the drawing moves on at each.
_STEPS = 60

_Found = TypeVar("_Found")


class Standing(Struct, frozen=True):
    """One instance. What Redis alone knows is `None` where that cannot be reached."""

    snapshot: Snapshot
    #: In force.
    policy: Policy
    #: The same, and where each value comes from.
    in_force: PolicyInForce | None
    #: Newest first.
    history: tuple[Transition, ...] | None
    session: Session | None

    @property
    def banned(self) -> bool:
        """Whether a ban is in force, which a plain reset does not lift."""
        now = self.snapshot
        return now.terminal == "banned" or (now.ban_until_ms or 0) > now.now_ms

    @property
    def lasting(self) -> Snapshot:
        """The snapshot without what time alone changes: to see whether anything else has."""
        return structs.replace(self.snapshot, now_ms=0, remaining_ms=None)

    @property
    def came(self) -> Transition | None:
        """How the present state was reached, if that is still in the history."""
        for transition in self.history or ():
            if transition.before != transition.after:
                return transition if transition.after == self.snapshot.state else None
        return None

    @property
    def machine(self) -> Machine:
        """The state machine as a drawing."""
        came = self.came
        return Machine.of(self.snapshot.state, came.before if came else None, self.policy)

    @property
    def window(self) -> Window:
        """The window's failures as a drawing."""
        return Window.of(self.snapshot, self.policy)

    @property
    def window_step(self) -> int:
        """How far time has moved the window: what its drawing shows changes with it."""
        if not self.snapshot.recent_failures:
            return 0
        return self.snapshot.now_ms // max(1_000, self.policy.window_ms // _STEPS)


async def read_standing(runtime: Runtime, instance_id: str, history: int) -> Standing:
    """Read an instance, with up to `history` transitions; one never seen is closed."""
    found, in_force, transitions, session = await asyncio.gather(
        runtime.breaker.status(instance_id),
        _if_reached(runtime.policies.instance(instance_id)),
        _if_reached(runtime.breaker.history(instance_id, history)),
        _if_reached(runtime.wishes.one(instance_id)),
    )
    return Standing(
        snapshot=found.snapshot,
        policy=found.policy,
        in_force=in_force,
        history=None if transitions is None else tuple(transitions),
        session=session,
    )


async def _if_reached(reading: Awaitable[_Found]) -> _Found | None:
    try:
        return await reading
    except StoreUnavailable:
        return None
