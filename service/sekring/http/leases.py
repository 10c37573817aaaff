"""`/v1/leases`: which gateway owns which sessions."""

from typing import Annotated, Any

from litestar import Controller, Request, post, put
from litestar.params import Body

from sekring.http.bodies import JsonBody
from sekring.http.examples import documented
from sekring.http.options import NEEDS
from sekring.http.origin import origin_of
from sekring.http.parameters import PathId
from sekring.http.runtime import Runtime
from sekring.http.session_examples import (
    CLAIM,
    CLAIMED,
    PHASE,
    PHASE_SET,
    RELEASE,
    RELEASED,
    RENEW,
    RENEWED,
)
from sekring.tokens import Permission
from sekring.wire import (
    ClaimAnswer,
    ClaimBody,
    PhaseAnswer,
    PhaseBody,
    ReleaseAnswer,
    ReleaseBody,
    RenewAnswer,
    RenewBody,
)

__all__ = ["LeaseRoutes"]


class LeaseRoutes(Controller):
    """What gateways call: without a lease a session is not to be connected."""

    path = "/v1/leases"
    tags = ["leases"]
    opt = {NEEDS: Permission.REPORT}

    @post(
        "/claim",
        operation_id="claimLeases",
        summary="Own sessions that nobody owns",
        status_code=200,
        responses=documented(ClaimAnswer, CLAIMED, 400, 401, 403, 503),
        dto=JsonBody[ClaimBody],
        return_dto=None,
    )
    async def claim(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        data: Annotated[ClaimBody, Body(examples=CLAIM)],
    ) -> ClaimAnswer:
        """Ask about once a second while `share` is more than what is held.

        What is answered is owned for `ttl_ms` from the *sending* of the request, by the gateway's
        own monotonic clock. No more are given than `limit`, and than are missing to `share`: the
        gateway's part of all sessions by its part of all living gateways' capacity.
        """
        runtime.claimed()
        return await runtime.claims.claim(data, origin_of(request, gateway=data.gateway))

    @post(
        "/renew",
        operation_id="renewLeases",
        summary="Go on owning sessions",
        status_code=200,
        responses=documented(RenewAnswer, RENEWED, 400, 401, 403, 503),
        dto=JsonBody[RenewBody],
        return_dto=None,
    )
    async def renew(
        self, runtime: Runtime, data: Annotated[RenewBody, Body(examples=RENEW)]
    ) -> RenewAnswer:
        """Send all leases at a third of `ttl_ms`, also when there are none: it is a sign of life.

        A lease that is missing in the answer was neither prolonged nor lost, for its part of Redis
        could not be reached: it ends when it would have. So do all after a 503. Who cannot renew
        stops its sessions before `ttl_ms` has passed since the last renewal was sent.
        """
        runtime.claimed()
        return await runtime.leases.renew(data)

    @post(
        "/release",
        operation_id="releaseLeases",
        summary="Give sessions back",
        status_code=200,
        responses=documented(ReleaseAnswer, RELEASED, 400, 401, 403, 503),
        dto=JsonBody[ReleaseBody],
        return_dto=None,
    )
    async def release(
        self, runtime: Runtime, data: Annotated[ReleaseBody, Body(examples=RELEASE)]
    ) -> ReleaseAnswer:
        """Only when nothing is left of their connections: others claim them at once."""
        runtime.claimed()
        return ReleaseAnswer(await runtime.leases.release(data))

    @put(
        "/{instance_id:str}/phase",
        operation_id="setPhase",
        summary="Say where a session stands",
        responses=documented(PhaseAnswer, PHASE_SET, 400, 401, 403, 503),
        dto=JsonBody[PhaseBody],
        return_dto=None,
    )
    async def set_phase(
        self,
        runtime: Runtime,
        instance_id: PathId,
        data: Annotated[PhaseBody, Body(examples=PHASE)],
    ) -> PhaseAnswer:
        """Show people where it stands.

        `device` is kept until another one, or `unpaired`, is said.
        """
        runtime.claimed()
        return PhaseAnswer(await runtime.leases.set_phase(instance_id, data))
