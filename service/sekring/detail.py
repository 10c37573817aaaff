"""The use-case of looking at one instance closely: all that a person may want to see at once."""

import asyncio

from sekring.breaker import Breaker
from sekring.errors import StoreUnavailable
from sekring.model import Snapshot, State
from sekring.policies import Policies
from sekring.policy import PolicyPatch
from sekring.sessions.wishes import Wishes
from sekring.wire import InstanceDetail, PolicyAnswer, Session

__all__ = ["Detail"]


class Detail:
    """Reads what the breaker, the policies and the sessions know of an instance."""

    def __init__(self, breaker: Breaker, policies: Policies, wishes: Wishes) -> None:
        """Ask these three."""
        self._breaker = breaker
        self._policies = policies
        self._wishes = wishes

    async def of(self, instance_id: str) -> InstanceDetail:
        """Return the instance as it stands, its policy value by value, and its session.

        Without Redis it is what this replica knows: the snapshot says so (`degraded`), the policy
        has no sources, and of the session nothing is known.
        """
        status, policy, session = await asyncio.gather(
            self._breaker.status(instance_id),
            self._policy(instance_id),
            self._session(instance_id),
        )
        bare = PolicyAnswer(policy=status.policy, set=PolicyPatch(), sources={}, version=0)
        return InstanceDetail(
            snapshot=status.snapshot,
            attempts_in_flight=_in_flight(status.snapshot),
            policy=policy or bare,
            session=session,
        )

    async def _policy(self, instance_id: str) -> PolicyAnswer | None:
        try:
            return (await self._policies.instance(instance_id)).answer()
        except StoreUnavailable:
            return None

    async def _session(self, instance_id: str) -> Session | None:
        try:
            return await self._wishes.one(instance_id)
        except StoreUnavailable:
            return None


def _in_flight(snapshot: Snapshot) -> int:
    """Count attempts that were permitted and whose end is not known yet."""
    if snapshot.state is State.HALF_OPEN:
        return snapshot.probes_in_flight
    return int(snapshot.connection == "connecting")
