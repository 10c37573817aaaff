"""`/v1`: policies, and the gateway builds that WhatsApp refused."""

from typing import Annotated, Any

from litestar import Controller, Request, delete, get, put
from litestar.params import Body, Parameter

from sekring.http.bodies import JsonBody
from sekring.http.examples import BUILDS, FLEET_POLICY, IN_FORCE, POLICY, documented
from sekring.http.options import NEEDS
from sekring.http.origin import origin_of
from sekring.http.parameters import PathId
from sekring.http.runtime import Runtime
from sekring.policy import PolicyPatch
from sekring.tokens import Permission
from sekring.wire import BuildList, PolicyAnswer

__all__ = ["Builds", "PolicyRoutes"]

_READS: dict[str, Any] = {NEEDS: Permission.READ}
_CHANGES: dict[str, Any] = {NEEDS: Permission.OPERATE}


class PolicyRoutes(Controller):
    """Policies are changed at run time; every replica goes by a change at once."""

    path = "/v1"
    tags = ["policies"]

    @get(
        "/policy",
        operation_id="getPolicy",
        summary="The fleet's policy",
        opt=_READS,
        responses=documented(PolicyAnswer, IN_FORCE, 401, 403, 503),
    )
    async def fleet(self, runtime: Runtime) -> PolicyAnswer:
        """Return every field in force, what was set, and where each value comes from."""
        return (await runtime.policies.fleet()).answer()

    @put(
        "/policy",
        operation_id="changePolicy",
        summary="Change the fleet's policy",
        opt=_CHANGES,
        responses=documented(PolicyAnswer, IN_FORCE, 400, 401, 403, 503),
        dto=JsonBody[PolicyPatch],
        return_dto=None,
    )
    async def change_fleet(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        data: Annotated[PolicyPatch, Body(examples=FLEET_POLICY)],
    ) -> PolicyAnswer:
        """Send any subset of the fields; the others stay as they are."""
        return (await runtime.policies.change_fleet(data, origin_of(request))).answer()

    @delete(
        "/policy",
        operation_id="dropPolicy",
        summary="Go by the defaults again",
        status_code=200,
        opt=_CHANGES,
        responses=documented(PolicyAnswer, IN_FORCE, 401, 403, 503),
    )
    async def drop_fleet(self, request: Request[Any, Any, Any], runtime: Runtime) -> PolicyAnswer:
        """Remove everything that was set for the fleet; answers what is in force then."""
        return (await runtime.policies.drop_fleet(origin_of(request))).answer()

    @get(
        "/instances/{instance_id:str}/policy",
        operation_id="getInstancePolicy",
        summary="The policy in force for an instance",
        opt=_READS,
        responses=documented(PolicyAnswer, IN_FORCE, 400, 401, 403, 503),
    )
    async def instance(self, runtime: Runtime, instance_id: PathId) -> PolicyAnswer:
        """Return every field in force; `set` has what the instance alone has."""
        return (await runtime.policies.instance(instance_id)).answer()

    @put(
        "/instances/{instance_id:str}/policy",
        operation_id="changeInstancePolicy",
        summary="Give an instance a policy of its own",
        opt=_CHANGES,
        responses=documented(PolicyAnswer, IN_FORCE, 400, 401, 403, 503),
        dto=JsonBody[PolicyPatch],
        return_dto=None,
    )
    async def change_instance(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        instance_id: PathId,
        data: Annotated[PolicyPatch, Body(examples=POLICY)],
    ) -> PolicyAnswer:
        """Send any subset of the fields; the others come from the fleet's policy."""
        origin = origin_of(request)
        return (await runtime.policies.change_instance(instance_id, data, origin)).answer()

    @delete(
        "/instances/{instance_id:str}/policy",
        operation_id="dropInstancePolicy",
        summary="Go by the fleet's policy again",
        status_code=200,
        opt=_CHANGES,
        responses=documented(PolicyAnswer, IN_FORCE, 400, 401, 403, 503),
    )
    async def drop_instance(
        self, request: Request[Any, Any, Any], runtime: Runtime, instance_id: PathId
    ) -> PolicyAnswer:
        """Remove what the instance alone has; answers what is in force then."""
        origin = origin_of(request)
        return (await runtime.policies.drop_instance(instance_id, origin)).answer()


class Builds(Controller):
    """Gateway builds that WhatsApp refused as outdated, for everybody who runs them."""

    path = "/v1/builds"
    tags = ["builds"]

    @get(
        operation_id="listBuilds",
        summary="Gateway builds that are refused",
        opt=_READS,
        responses=documented(BuildList, BUILDS, 401, 403, 503),
    )
    async def refused(self, runtime: Runtime) -> BuildList:
        """Return each build, why it is refused, and until when."""
        return await _refused(runtime)

    @delete(
        operation_id="permitBuild",
        summary="Permit a build again",
        status_code=200,
        opt=_CHANGES,
        responses=documented(BuildList, BUILDS, 400, 401, 403, 503),
    )
    async def permit(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        build: Annotated[str, Parameter(min_length=1, max_length=128)],
    ) -> BuildList:
        """Lift the refusal of the build in the query; answers what is still refused."""
        await runtime.breaker.permit_build(build, origin_of(request))
        return await _refused(runtime)


async def _refused(runtime: Runtime) -> BuildList:
    return BuildList(await runtime.reads.refused_builds())
