"""`/v1`: reading instances, and what an operator does to them."""

from typing import Annotated, Any

from litestar import Controller, Request, get, post
from litestar.params import Body, Parameter

from sekring.errors import InvalidInput
from sekring.http.bodies import JsonBody
from sekring.http.examples import (
    DISABLED,
    FORCE,
    FORCED,
    HISTORY,
    PAGE,
    RESET,
    RESET_DONE,
    RESETS,
    RESETS_DONE,
    SNAPSHOT,
    documented,
)
from sekring.http.instance_examples import DETAIL
from sekring.http.options import DEADLINE_S, NEEDS
from sekring.http.origin import origin_of
from sekring.http.parameters import Cursor, Limit, Order, PathId, Prefix
from sekring.http.runtime import Runtime
from sekring.model import Snapshot, State
from sekring.store.contract import Forced
from sekring.tokens import Permission
from sekring.wire import (
    ForceAnswer,
    ForceBody,
    InstanceDetail,
    InstancePage,
    ResetAnswer,
    ResetBody,
    ResetsAnswer,
    ResetsBody,
    TransitionList,
)

__all__ = ["Instances", "Operations"]

#: Resetting every instance of a large fleet takes longer than other requests, in seconds.
_RESETS_DEADLINE_S = 60


class Instances(Controller):
    """Instances as they stand; reading changes nothing."""

    path = "/v1/instances"
    tags = ["instances"]
    opt = {NEEDS: Permission.READ}

    @get(
        operation_id="listInstances",
        summary="Instances, all or by state and beginning of their ids",
        responses=documented(InstancePage, PAGE, 400, 401, 403, 503),
    )
    async def list_them(
        self,
        runtime: Runtime,
        *,
        in_state: Annotated[
            State | None, Parameter(query="state", description="Only those in this state.")
        ] = None,
        prefix: Prefix = "",
        order: Annotated[
            Order,
            Parameter(
                description="`open_first`, without a state: open ones before all others, then "
                "those forced open, half-open, disabled, closed."
            ),
        ] = "id",
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> InstancePage:
        """Go on with `cursor` until it is `null`; a page may be short before the last one."""
        page = await runtime.fleet.page(
            in_state, cursor, limit, prefix=prefix, open_first=order == "open_first"
        )
        return InstancePage(instances=page.instances, cursor=page.cursor)

    @get(
        "/{instance_id:str}",
        operation_id="getInstance",
        summary="One instance",
        responses=documented(Snapshot, SNAPSHOT, 400, 401, 403, 503),
    )
    async def one(self, runtime: Runtime, instance_id: PathId) -> Snapshot:
        """Return the instance; one that was never seen is closed, with `known: false`."""
        return (await runtime.breaker.status(instance_id)).snapshot

    @get(
        "/{instance_id:str}/detail",
        operation_id="getInstanceDetail",
        summary="Everything about one instance",
        responses=documented(InstanceDetail, DETAIL, 400, 401, 403, 503),
    )
    async def detail(self, runtime: Runtime, instance_id: PathId) -> InstanceDetail:
        """Return the instance, the policy in force value by value, and who owns its session.

        `policy.sources` says of each value where it comes from: `default`, `global` (the fleet's
        policy) or `instance`.
        """
        return await runtime.detail.of(instance_id)

    @get(
        "/{instance_id:str}/history",
        operation_id="getHistory",
        summary="An instance's latest transitions",
        responses=documented(TransitionList, HISTORY, 400, 401, 403, 503),
    )
    async def history(
        self, runtime: Runtime, instance_id: PathId, limit: Limit = 100
    ) -> TransitionList:
        """Who changed what, why, from where; newest first, the last 100 at most."""
        transitions = await runtime.breaker.history(instance_id, limit)
        return TransitionList(instance_id=instance_id, transitions=transitions)


class Operations(Controller):
    """What only an operator may do."""

    path = "/v1"
    tags = ["operations"]
    opt = {NEEDS: Permission.OPERATE}

    @post(
        "/instances/{instance_id:str}/reset",
        operation_id="resetInstance",
        summary="Close a breaker at once",
        status_code=200,
        responses=documented(ResetAnswer, RESET_DONE, 400, 401, 403, 409, 503),
        dto=JsonBody[ResetBody],
        return_dto=None,
    )
    async def reset(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        instance_id: PathId,
        data: Annotated[ResetBody, Body(examples=RESET)] = ResetBody(),  # noqa: B008,
    ) -> ResetAnswer:
        """Clear failures and retries; what was permitted before no longer counts."""
        done = await runtime.breaker.reset(
            instance_id, origin_of(request, data.reason), force=data.force
        )
        return ResetAnswer(
            instance_id=instance_id,
            was=done.was,
            state=done.state,
            epoch=done.epoch,
            known=done.known,
        )

    @post(
        "/resets",
        operation_id="resetInstances",
        summary="Reset many",
        status_code=200,
        opt={DEADLINE_S: _RESETS_DEADLINE_S},
        responses=documented(ResetsAnswer, RESETS_DONE, 400, 401, 403, 503),
        dto=JsonBody[ResetsBody],
        return_dto=None,
    )
    async def reset_many(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        data: Annotated[ResetsBody, Body(examples=RESETS)],
    ) -> ResetsAnswer:
        """Reset those named, those in a state or with a prefix, or all; banned ones stay banned."""
        filtered = data.state is not None or data.prefix is not None
        if [data.instances is not None, filtered, data.all].count(True) != 1:
            raise InvalidInput(
                "Send exactly one of instances, state and all; prefix goes with state, or alone.",
                "instances",
            )
        origin = origin_of(request, data.reason)
        if data.instances is not None:
            return await runtime.fleet.reset_named(data.instances, origin)
        return await runtime.fleet.reset_all(data.state, origin, prefix=data.prefix or "")

    @post(
        "/instances/{instance_id:str}/trip",
        operation_id="tripInstance",
        summary="Force a breaker open",
        status_code=200,
        responses=documented(ForceAnswer, FORCED, 400, 401, 403, 503),
        dto=JsonBody[ForceBody],
        return_dto=None,
    )
    async def trip(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        instance_id: PathId,
        data: Annotated[ForceBody, Body(examples=FORCE)],
    ) -> ForceAnswer:
        """Refuse every attempt for `for_ms`, or until a reset."""
        origin = origin_of(request, data.reason)
        return _forced(await runtime.breaker.trip(instance_id, data.for_ms, origin))

    @post(
        "/instances/{instance_id:str}/disable",
        operation_id="disableInstance",
        summary="Switch a breaker off",
        status_code=200,
        responses=documented(ForceAnswer, DISABLED, 400, 401, 403, 503),
        dto=JsonBody[ForceBody],
        return_dto=None,
    )
    async def disable(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        instance_id: PathId,
        data: Annotated[ForceBody, Body(examples=FORCE)],
    ) -> ForceAnswer:
        """Permit every attempt for `for_ms`, or until a reset; failures are still recorded."""
        origin = origin_of(request, data.reason)
        return _forced(await runtime.breaker.disable(instance_id, data.for_ms, origin))


def _forced(forced: Forced) -> ForceAnswer:
    return ForceAnswer(
        instance_id=forced.instance_id,
        was=forced.was,
        state=forced.state,
        epoch=forced.epoch,
        remaining_ms=forced.remaining_ms,
    )
