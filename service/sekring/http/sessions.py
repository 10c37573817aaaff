"""`/v1/sessions`: which sessions are to be connected, and where they stand."""

from typing import Annotated, Any

from litestar import Controller, Request, delete, get, post
from litestar.params import Body

from sekring.http.bodies import JsonBody
from sekring.http.examples import documented
from sekring.http.options import NEEDS
from sekring.http.origin import origin_of
from sekring.http.parameters import Cursor, Limit, PathId
from sekring.http.runtime import Runtime
from sekring.http.session_examples import DROPPED, SESSION, SESSIONS, WANTED
from sekring.tokens import Permission
from sekring.wire import Session, SessionBody, SessionPage

__all__ = ["SessionRoutes"]


class SessionRoutes(Controller):
    """Sessions are wanted here; gateways claim them at `/v1/leases`."""

    path = "/v1/sessions"
    tags = ["sessions"]
    opt = {NEEDS: Permission.OPERATE}

    @get(
        operation_id="listSessions",
        summary="Sessions that are to be connected, or still owned",
        opt={NEEDS: Permission.READ},
        responses=documented(SessionPage, SESSIONS, 400, 401, 403, 503),
    )
    async def list_them(
        self, runtime: Runtime, cursor: Cursor = None, limit: Limit = 100
    ) -> SessionPage:
        """Go on with `cursor` until it is `null`."""
        return await runtime.wishes.page(cursor, limit)

    @post(
        operation_id="wantSession",
        summary="Have a session connected",
        status_code=200,
        responses=documented(Session, WANTED, 400, 401, 403, 503),
        dto=JsonBody[SessionBody],
        return_dto=None,
    )
    async def want(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        data: Annotated[SessionBody, Body(examples=SESSION)],
    ) -> Session:
        """From now on, by whichever gateway claims it; nothing changes if it is wanted already."""
        return await runtime.wishes.want(data.instance_id, origin_of(request))

    @get(
        "/{instance_id:str}",
        operation_id="getSession",
        summary="One session",
        opt={NEEDS: Permission.READ},
        responses=documented(Session, SESSIONS.sessions[0], 400, 401, 403, 503),
    )
    async def one(self, runtime: Runtime, instance_id: PathId) -> Session:
        """Return the session; one that was never wanted is vacant, with `wanted: false`."""
        return await runtime.wishes.one(instance_id)

    @delete(
        "/{instance_id:str}",
        operation_id="dropSession",
        summary="Have a session connected no more",
        status_code=200,
        responses=documented(Session, DROPPED, 400, 401, 403, 503),
    )
    async def drop(
        self, request: Request[Any, Any, Any], runtime: Runtime, instance_id: PathId
    ) -> Session:
        """Its owner stops it within a third of a lease's time; its device stays paired."""
        return await runtime.wishes.drop(instance_id, origin_of(request))
