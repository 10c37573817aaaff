"""`/v1/caller`: what a token is for, so that its holder is offered that and no more."""

from typing import Any

from litestar import Controller, Request, get

from sekring.http.examples import documented
from sekring.http.options import NEEDS
from sekring.tokens import Caller, Permission
from sekring.wire import CallerAnswer

__all__ = ["CallerRoutes"]


class CallerRoutes(Controller):
    """The token that was sent."""

    path = "/v1/caller"
    tags = ["tokens"]
    opt = {NEEDS: Permission.READ}

    @get(
        operation_id="getCaller",
        summary="Whose token this is",
        responses=documented(
            CallerAnswer,
            CallerAnswer(name="ops", role="operator", permissions=["read", "report", "operate"]),
            401,
            403,
            503,
        ),
    )
    async def caller(self, request: Request[Any, Caller, Any]) -> CallerAnswer:
        """Its name in the audit trail, its role, and what that role may do."""
        caller = request.auth
        return CallerAnswer(
            name=caller.name,
            role=caller.role.value,
            permissions=[one.value for one in Permission if one in caller.role.permissions],
        )
