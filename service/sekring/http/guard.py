"""`/v1/guard`: the breaker above the instances."""

import asyncio
from typing import Annotated, Any

from litestar import Controller, Request, get, post
from litestar.params import Body

from sekring.http.bodies import JsonBody
from sekring.http.examples import GUARD, GUARD_HISTORY, GUARD_RESET, GUARD_TRIP, documented
from sekring.http.options import NEEDS
from sekring.http.origin import origin_of
from sekring.http.parameters import Limit
from sekring.http.runtime import Runtime
from sekring.model import GuardState
from sekring.tokens import Permission
from sekring.wire import ForceBody, GuardAnswer, GuardResetBody, TransitionList

__all__ = ["GuardRoutes"]

_READS: dict[str, Any] = {NEEDS: Permission.READ}
_CHANGES: dict[str, Any] = {NEEDS: Permission.OPERATE}


class GuardRoutes(Controller):
    """When many fail at once it is not the instances' matter: the fleet guard paces them all."""

    path = "/v1/guard"
    tags = ["guard"]

    @get(
        operation_id="getGuard",
        summary="The fleet guard",
        opt=_READS,
        responses=documented(GuardAnswer, GUARD, 401, 403, 503),
    )
    async def state(self, runtime: Runtime) -> GuardAnswer:
        """Return its state, the pace it keeps, and the sums that it goes by."""
        return await _answer(runtime, await runtime.guard.state())

    @get(
        "/history",
        operation_id="getGuardHistory",
        summary="The fleet guard's latest transitions",
        opt=_READS,
        responses=documented(TransitionList, GUARD_HISTORY, 400, 401, 403, 503),
    )
    async def history(self, runtime: Runtime, limit: Limit = 100) -> TransitionList:
        """When it opened, changed its rate and closed, and why; newest first, the last 100."""
        transitions = await runtime.guard.history(limit)
        return TransitionList(instance_id="*", transitions=transitions)

    @post(
        "/trip",
        operation_id="tripGuard",
        summary="Pace the fleet now",
        status_code=200,
        opt=_CHANGES,
        responses=documented(GuardAnswer, GUARD, 400, 401, 403, 503),
        dto=JsonBody[ForceBody],
        return_dto=None,
    )
    async def trip(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        data: Annotated[ForceBody, Body(examples=GUARD_TRIP)],
    ) -> GuardAnswer:
        """Open it before the figures do: for `for_ms`, then the ramp begins; or until a reset."""
        origin = origin_of(request, data.reason)
        return await _answer(runtime, await runtime.guard.trip(data.for_ms, origin))

    @post(
        "/reset",
        operation_id="resetGuard",
        summary="Stop pacing the fleet",
        status_code=200,
        opt=_CHANGES,
        responses=documented(GuardAnswer, GUARD, 400, 401, 403, 503),
        dto=JsonBody[GuardResetBody],
        return_dto=None,
    )
    async def reset(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        data: Annotated[GuardResetBody, Body(examples=GUARD_RESET)],
    ) -> GuardAnswer:
        """Close it at once. What fails now does not open it again: until few fail, or a window."""
        origin = origin_of(request, data.reason)
        return await _answer(runtime, await runtime.guard.reset(origin))


async def _answer(runtime: Runtime, guard: GuardState) -> GuardAnswer:
    totals, fleet = await asyncio.gather(runtime.fleet.totals(), runtime.policies.fleet())
    return GuardAnswer(
        state=guard.state,
        cause=guard.cause or None,
        reason=guard.reason or None,
        epoch=guard.epoch,
        since_ms=guard.since_ms or None,
        until_ms=guard.until_ms or None,
        rate_per_s=guard.rate_per_s or None,
        granted=guard.granted,
        refused=guard.refused,
        failing=totals.sums.failing,
        connected=totals.sums.connected,
        known=totals.sums.known,
        policy=fleet.policy.fleet_guard,
    )
