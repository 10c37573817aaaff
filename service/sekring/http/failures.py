"""`/v1`: the failures of the last hour, and what another policy would have made of them."""

from typing import Annotated

from litestar import Controller, get, post
from litestar.params import Body

from sekring.http.bodies import JsonBody
from sekring.http.examples import FLEET_POLICY, POLICY, documented
from sekring.http.failure_examples import FAILURES, PREVIEW
from sekring.http.options import DEADLINE_S, NEEDS
from sekring.http.parameters import PathId
from sekring.http.runtime import Runtime
from sekring.policy import PolicyPatch
from sekring.tokens import Permission
from sekring.wire import FailuresAnswer, PreviewAnswer

__all__ = ["FailureRoutes"]

#: A preview of a very bad hour takes longer than other requests, and may have to wait for another
#: one, in seconds.
_PREVIEW_DEADLINE_S = 90


class FailureRoutes(Controller):
    """Reading alone: a preview changes nothing, so a viewer may ask for one."""

    path = "/v1"
    tags = ["failures"]
    opt = {NEEDS: Permission.READ}

    @get(
        "/failures",
        operation_id="getFailures",
        summary="Failures per minute",
        responses=documented(FailuresAnswer, FAILURES, 401, 403, 503),
    )
    async def failures(self, runtime: Runtime) -> FailuresAnswer:
        """Return how many were counted in each of the last 60 minutes, by when they happened."""
        return await runtime.trend.failures()

    @post(
        "/policy/preview",
        operation_id="previewPolicy",
        summary="What a policy would have made of the last hour",
        status_code=200,
        opt={DEADLINE_S: _PREVIEW_DEADLINE_S},
        responses=documented(PreviewAnswer, PREVIEW, 400, 401, 403, 503),
        dto=JsonBody[PolicyPatch],
        return_dto=None,
    )
    async def fleet(
        self,
        runtime: Runtime,
        data: Annotated[PolicyPatch, Body(examples=FLEET_POLICY)],
    ) -> PreviewAnswer:
        """Send what `PUT /v1/policy` takes; nothing is changed.

        The failures on record are played through twice, by the policy in force and by the proposed
        one, each instance with its own policy on top. Compare the two figures with each other, not
        with what did happen: which failures happened was shaped by the policy in force, because
        while a breaker is open nobody attempts. Where the proposed policy opens later or for a
        shorter time, its trips are therefore a lower bound. Attempts and connections are not on
        record: both policies close at the end of the cooldown without probes, and
        `not_considered` names what a preview cannot tell. Failures that a ban, an operator or an
        older epoch kept from counting are left out.
        """
        return await runtime.preview.fleet(data)

    @post(
        "/instances/{instance_id:str}/policy/preview",
        operation_id="previewInstancePolicy",
        summary="What a policy of its own would have made of an instance's last hour",
        status_code=200,
        opt={DEADLINE_S: _PREVIEW_DEADLINE_S},
        responses=documented(PreviewAnswer, PREVIEW, 400, 401, 403, 503),
        dto=JsonBody[PolicyPatch],
        return_dto=None,
    )
    async def instance(
        self,
        runtime: Runtime,
        instance_id: PathId,
        data: Annotated[PolicyPatch, Body(examples=POLICY)],
    ) -> PreviewAnswer:
        """Send what `PUT /v1/instances/{instance_id}/policy` takes; nothing is changed.

        See `POST /v1/policy/preview` for what the figures mean; here they are of one instance.
        """
        return await runtime.preview.instance(instance_id, data)
