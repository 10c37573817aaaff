"""The guide's routes, wire-compatible: existing clients and scripts go on unchanged."""

from typing import Any

from litestar import Controller, Request, get, post
from msgspec import Struct

from sekring.http.options import GUIDE, NEEDS
from sekring.http.origin import origin_of
from sekring.http.parameters import PathId
from sekring.http.runtime import Runtime
from sekring.model import State, health_score
from sekring.tokens import Permission

__all__ = ["Guide", "Health", "ResetDone", "Status"]

_REFUSING = frozenset({State.OPEN, State.FORCED_OPEN})


class HealthData(Struct, frozen=True, kw_only=True):
    """The guide's eight fields, then what we add."""

    server_status: str
    total_instances: int
    active_connections: int
    connecting: int
    #: Breakers that refuse now.
    circuit_breaker_activations: int
    total_retry_attempts: int
    total_recent_failures: int
    health_score: int
    half_open: int
    forced_open: int
    disabled: int
    degraded: bool


class Health(Struct, frozen=True):
    """The fleet."""

    status: str
    message: str
    data: HealthData


class StatusData(Struct, frozen=True, kw_only=True):
    """The guide's seven fields, then what we add. Times are ms since 1970."""

    instance_id: str
    circuit_breaker_active: bool
    recent_failures: int
    retry_attempts: int
    last_failure_timestamps: list[int]
    session_exists: bool
    connecting: bool
    state: State
    threshold: int
    opened_at: int | None
    resets_at: int | None
    remaining_ms: int | None
    cause: str | None
    reason: str | None
    epoch: int
    suppressed: int
    last_failure_kind: str | None
    last_failure_detail: str | None


class Status(Struct, frozen=True):
    """One instance."""

    status: str
    data: StatusData


class ResetDone(Struct, frozen=True, kw_only=True):
    """What a reset did."""

    status: str
    message: str
    instance_id: str
    #: The state before it.
    was: State
    state: State


class Guide(Controller):
    """`GET /reset-circuit-breaker/{id}`, the guide's "via browser", is in `sekring.http.pages`."""

    tags = ["guide"]
    opt = {GUIDE: True, NEEDS: Permission.READ}

    @get("/health", operation_id="health", summary="The fleet's health")
    async def health(self, runtime: Runtime) -> Health:
        """Return exact sums over all instances; the cost does not grow with their number."""
        totals = await runtime.fleet.totals()
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
            degraded=False,
        )
        return Health("success", "Server is running", data)

    @get(
        "/circuit-breaker-status/{instance_id:str}",
        operation_id="circuitBreakerStatus",
        summary="One instance's breaker",
    )
    async def status(self, runtime: Runtime, instance_id: PathId) -> Status:
        """Return the breaker as it stands; an instance that was never seen is closed."""
        status = await runtime.breaker.status(instance_id)
        snapshot = status.snapshot
        data = StatusData(
            instance_id=instance_id,
            circuit_breaker_active=snapshot.state in _REFUSING,
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
        )
        return Status("success", data)

    @post(
        "/reset-circuit-breaker/{instance_id:str}",
        operation_id="resetCircuitBreaker",
        summary="Reset one instance's breaker",
        status_code=200,
        opt={GUIDE: True, NEEDS: Permission.OPERATE},
    )
    async def reset(
        self, request: Request[Any, Any, Any], runtime: Runtime, instance_id: PathId
    ) -> ResetDone:
        """Close the breaker at once and clear failures and retries."""
        done = await runtime.breaker.reset(instance_id, origin_of(request))
        return ResetDone(
            status="success",
            message=reset_words(instance_id, done.was, known=done.known),
            instance_id=instance_id,
            was=done.was,
            state=done.state,
        )


def reset_words(instance_id: str, was: State, *, known: bool) -> str:
    """Say in a sentence what a reset did."""
    if not known:
        return f"Nothing is known of {instance_id}: its circuit breaker is closed."
    if was is State.CLOSED:
        return f"Circuit breaker for {instance_id} was closed; failures and retries are cleared."
    return f"Circuit breaker for {instance_id} has been reset; it was {was}."
