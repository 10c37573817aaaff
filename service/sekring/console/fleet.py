"""`/`: the fleet at a glance, and one page of its instances."""

import asyncio
from typing import Any

from litestar import Controller, MediaType, Request, Response, get
from msgspec import Struct

from sekring import __version__
from sekring.console.overview import read_listing, read_overview
from sekring.console.selection import LABELS, Selection
from sekring.console.views import Views
from sekring.http.auth import may
from sekring.http.browser import accepts_html
from sekring.http.options import NEEDS, PAGE
from sekring.http.runtime import Runtime
from sekring.tokens import Permission

__all__ = ["FleetPage", "Index"]


class Index(Struct, frozen=True):
    """What a program finds at `/`: where it goes on."""

    service: str = "sekring"
    version: str = __version__
    health: str = "/health"
    instances: str = "/v1/instances"
    events: str = "/v1/events"
    openapi: str = "/schema/openapi.json"


class FleetPage(Controller):
    """Reading it changes nothing; `sekring.console.live` keeps it current."""

    opt = {NEEDS: Permission.READ, PAGE: True}
    include_in_schema = False

    @get("/", media_type=MediaType.HTML)
    async def show(
        self, request: Request[Any, Any, Any], runtime: Runtime, views: Views
    ) -> Response[Any]:
        """Show the page to browsers; tell programs where the API is."""
        if not accepts_html(request) and "hx-request" not in request.headers:
            return Response(Index(), media_type=MediaType.JSON)
        selection = Selection.of(request.query_params)
        overview, listing = await asyncio.gather(
            read_overview(runtime), read_listing(runtime, selection)
        )
        return views.page(
            request,
            "fleet.html",
            scripted=True,
            here="fleet",
            labels=LABELS,
            selection=selection,
            overview=overview,
            chart=overview.chart,
            listing=listing,
            may_operate=may(request.auth, Permission.OPERATE),
        )
