"""Permits as gateways get them: the instance's breaker, and above it the fleet guard's pace."""

from msgspec import structs

from sekring.breaker import Breaker, Status
from sekring.fleetguard import Guard
from sekring.model import Admission, Origin, State
from sekring.telemetry.instruments import Instruments

__all__ = ["PacedPermits"]


class PacedPermits:
    """Asks the fleet's bucket first, while the guard is not closed."""

    def __init__(self, breaker: Breaker, guard: Guard, instruments: Instruments) -> None:
        """Permit by `breaker`, at the pace of `guard`."""
        self._count = instruments.note_admission
        self._breaker = breaker
        self._guard = guard

    async def permit(
        self,
        instance_id: str,
        origin: Origin,
        build: str | None = None,
        *,
        strong: bool = False,
    ) -> Admission:
        """Say whether the instance may connect now, as `Breaker.permit` does."""
        if self._guard.is_closed_hint():
            return await self._breaker.permit(instance_id, origin, build, strong=strong)
        return await self._paced(instance_id, origin, build)

    def refusal(self, instance_id: str) -> Admission | None:
        """Return the refusal, if this replica's view alone can tell that it would be refused."""
        return self._breaker.refusal(instance_id)

    async def _paced(self, instance_id: str, origin: Origin, build: str | None) -> Admission:
        """Take a permit of the fleet's bucket first, if the instance itself would get one.

        What an instance has waited for its turn counts as its backoff: of that only the rest is
        left, so that attempts are made at the pace at which they are permitted.
        """
        if refused := self.refusal(instance_id):
            return refused
        status = await self._breaker.status(instance_id)
        snapshot = status.snapshot
        if not _would_connect(status):
            return await self._breaker.permit(instance_id, origin, build, strong=True)
        pacing = self._guard.pace_alone() if snapshot.degraded else await self._guard.pace()
        if not pacing.granted:
            refused = Admission(
                instance_id=instance_id,
                permitted=False,
                epoch=snapshot.epoch,
                state=snapshot.state,
                failures=snapshot.failures,
                retry_after_ms=pacing.retry_after_ms,
                backoff_ms=0,
                cause="fleet",
                degraded=snapshot.degraded,
            )
            return self._count(refused, "alone" if snapshot.degraded else "redis")
        admission = await self._breaker.permit(instance_id, origin, build, strong=True)
        if pacing.state is State.CLOSED:
            return admission
        waited_ms = snapshot.now_ms - (snapshot.last_failure_at_ms or 0)
        return structs.replace(admission, backoff_ms=max(0, admission.backoff_ms - waited_ms))


def _would_connect(status: Status) -> bool:
    """Whether the fleet's bucket concerns it: not if it is refused, or always permitted, anyway."""
    snapshot = status.snapshot
    if snapshot.state is State.HALF_OPEN:
        return snapshot.probes_in_flight < status.policy.probes
    return snapshot.state is State.CLOSED
