"""The guide's routes, wire-compatible: existing clients and scripts go on unchanged."""

import asyncio

from litestar import Controller, get

from sekring.guide import GuideError, Health, HealthData, Status, StatusData
from sekring.http.examples import HEALTH, STATUS, documented
from sekring.http.options import GUIDE, NEEDS
from sekring.http.parameters import PathId
from sekring.http.runtime import Runtime
from sekring.model import REFUSING, health_score
from sekring.tokens import Permission

__all__ = ["Guide"]


class Guide(Controller):
    """`/reset-circuit-breaker/{id}`, the guide's "via browser", is in `sekring.console.reset`."""

    tags = ["guide"]
    opt = {GUIDE: True, NEEDS: Permission.READ}

    @get(
        "/health",
        operation_id="health",
        summary="The fleet's health",
        responses=documented(Health, HEALTH, 401, 403, 503, error=GuideError),
    )
    async def health(self, runtime: Runtime) -> Health:
        """Return exact sums over all instances; the cost does not grow with their number."""
        fleet, guard = await asyncio.gather(runtime.fleet.totals(), runtime.guard.state())
        totals = fleet.sums
        refusing = totals.open + totals.forced_open
        data = HealthData(
            server_status="running",
            total_instances=totals.known,
            active_connections=totals.connected,
            connecting=totals.connecting,
            circuit_breaker_activations=refusing,
            total_retry_attempts=totals.retry_attempts,
            total_recent_failures=totals.failures,
            health_score=health_score(
                breakers_open=refusing,
                retries=totals.retry_attempts,
                failures=totals.failures,
                instances=totals.known,
            ),
            half_open=totals.half_open,
            forced_open=totals.forced_open,
            disabled=totals.disabled,
            guard=guard.state,
            guard_rate_per_s=guard.rate_per_s or None,
            degraded=fleet.degraded or runtime.degraded.partitions > 0,
            queued_reports=runtime.replay.waiting,
            dropped_reports=runtime.replay.dropped,
            unconfirmed_changes=runtime.pledges.waiting,
            lagging=fleet.lagging,
        )
        return Health("success", "Server is running", data)

    @get(
        "/circuit-breaker-status/{instance_id:str}",
        operation_id="circuitBreakerStatus",
        summary="One instance's breaker",
        responses=documented(Status, STATUS, 400, 401, 403, 503, error=GuideError),
    )
    async def status(self, runtime: Runtime, instance_id: PathId) -> Status:
        """Return the breaker as it stands; an instance that was never seen is closed."""
        status = await runtime.breaker.status(instance_id)
        snapshot = status.snapshot
        data = StatusData(
            instance_id=instance_id,
            circuit_breaker_active=snapshot.state in REFUSING,
            recent_failures=snapshot.failures,
            retry_attempts=snapshot.retry_attempts,
            last_failure_timestamps=[failure.at_ms for failure in snapshot.recent_failures],
            session_exists=snapshot.connection == "connected",
            connecting=snapshot.connection == "connecting",
            state=snapshot.state,
            threshold=status.policy.failure_threshold,
            opened_at=snapshot.opened_at_ms,
            resets_at=snapshot.resets_at_ms,
            remaining_ms=snapshot.remaining_ms,
            cause=snapshot.cause,
            reason=snapshot.reason,
            epoch=snapshot.epoch,
            suppressed=snapshot.suppressed,
            last_failure_kind=snapshot.last_failure_kind,
            last_failure_detail=snapshot.last_failure_detail,
            degraded=snapshot.degraded,
        )
        return Status("success", data)
