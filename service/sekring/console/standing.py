"""What an instance's page shows, read from the use-cases."""

import asyncio

from msgspec import Struct, structs

from sekring.console.statemachine import Machine
from sekring.console.window import Window
from sekring.errors import StoreUnavailable
from sekring.http.runtime import Runtime
from sekring.model import Snapshot, Transition
from sekring.policy import Policy
from sekring.wire import InstanceDetail

__all__ = ["HISTORY_MAX", "HISTORY_SHOWN", "Standing", "read_standing"]

#: Transitions that are kept of an instance, and those that its page shows at first.
HISTORY_MAX = 100
HISTORY_SHOWN = 10

#: Into how many steps the window is divided: the drawing moves on at each.
_STEPS = 60


class Standing(Struct, frozen=True):
    """One instance."""

    detail: InstanceDetail
    #: Newest first; `None` where Redis cannot be reached.
    history: tuple[Transition, ...] | None

    @property
    def snapshot(self) -> Snapshot:
        """How it stands."""
        return self.detail.snapshot

    @property
    def policy(self) -> Policy:
        """What it goes by."""
        return self.detail.policy.policy

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
            if transition.before and transition.before != transition.after:
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
    detail, transitions = await asyncio.gather(
        runtime.detail.of(instance_id), _history(runtime, instance_id, history)
    )
    return Standing(detail, transitions)


async def _history(runtime: Runtime, instance_id: str, limit: int) -> tuple[Transition, ...] | None:
    try:
        return tuple(await runtime.breaker.history(instance_id, limit))
    except StoreUnavailable:
        return None
