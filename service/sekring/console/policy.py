"""`/policy` and `/instances/{id}/policy`: what is set, and what that would have made of an hour."""

from typing import Any

from litestar import Controller, MediaType, Response, get, post
from litestar.plugins.htmx import HTMXRequest

from sekring.console.policypage import PolicyPage
from sekring.console.policyscope import FLEET, Scope
from sekring.http.options import DEADLINE_S, NEEDS, PAGE
from sekring.http.parameters import PathId
from sekring.tokens import Permission

__all__ = ["FleetPolicy", "InstancePolicy"]

_OF_INSTANCE = "/instances/{instance_id:str}/policy"

#: A preview of a very bad hour takes longer than other requests, and may have to wait for another
#: one, in seconds.
_PREVIEW_DEADLINE_S = 90

_READS: dict[str, Any] = {NEEDS: Permission.READ}


class FleetPolicy(Controller):
    """The fleet's; who may not change it may read it."""

    path = "/policy"
    opt = {NEEDS: Permission.OPERATE, PAGE: True}
    include_in_schema = False
    request_class = HTMXRequest

    @get("/", media_type=MediaType.HTML, opt=_READS)
    async def show(self, request: HTMXRequest) -> Response[str]:
        """Show it."""
        return await PolicyPage(request, FLEET).show()

    @post("/", media_type=MediaType.HTML, status_code=200)
    async def save(self, request: HTMXRequest) -> Response[Any]:
        """Change it."""
        return await PolicyPage(request, FLEET).save()

    @post(
        "/preview",
        media_type=MediaType.HTML,
        status_code=200,
        opt={DEADLINE_S: _PREVIEW_DEADLINE_S},
    )
    async def preview(self, request: HTMXRequest) -> Response[str]:
        """Say what it would have made of the last hour."""
        return await PolicyPage(request, FLEET).preview()

    @get("/drop", media_type=MediaType.HTML)
    async def ask_drop(self, request: HTMXRequest) -> Response[Any]:
        """Ask whether to go back to the defaults."""
        return await PolicyPage(request, FLEET).ask_drop()

    @post("/drop", media_type=MediaType.HTML, status_code=200)
    async def drop(self, request: HTMXRequest) -> Response[Any]:
        """Go back to the defaults."""
        return await PolicyPage(request, FLEET).drop()


class InstancePolicy(Controller):
    """What an instance has of its own, over the fleet's."""

    path = _OF_INSTANCE
    opt = {NEEDS: Permission.OPERATE, PAGE: True}
    include_in_schema = False
    request_class = HTMXRequest

    @get("/", media_type=MediaType.HTML, opt=_READS)
    async def show(self, request: HTMXRequest, instance_id: PathId) -> Response[str]:
        """Show it."""
        return await PolicyPage(request, Scope(instance_id)).show()

    @post("/", media_type=MediaType.HTML, status_code=200)
    async def save(self, request: HTMXRequest, instance_id: PathId) -> Response[Any]:
        """Change it."""
        return await PolicyPage(request, Scope(instance_id)).save()

    @post(
        "/preview",
        media_type=MediaType.HTML,
        status_code=200,
        opt={DEADLINE_S: _PREVIEW_DEADLINE_S},
    )
    async def preview(self, request: HTMXRequest, instance_id: PathId) -> Response[str]:
        """Say what it would have made of the instance's last hour."""
        return await PolicyPage(request, Scope(instance_id)).preview()

    @get("/drop", media_type=MediaType.HTML)
    async def ask_drop(self, request: HTMXRequest, instance_id: PathId) -> Response[Any]:
        """Ask whether to go by the fleet's policy again."""
        return await PolicyPage(request, Scope(instance_id)).ask_drop()

    @post("/drop", media_type=MediaType.HTML, status_code=200)
    async def drop(self, request: HTMXRequest, instance_id: PathId) -> Response[Any]:
        """Go by the fleet's policy again."""
        return await PolicyPage(request, Scope(instance_id)).drop()
