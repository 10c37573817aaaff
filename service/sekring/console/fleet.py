"""`/`: the fleet at a glance, and one page of its instances."""

import asyncio
from typing import Any

from litestar import Controller, MediaType, Response, get
from litestar.plugins.htmx import HTMXHeaders, HTMXRequest
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
    request_class = HTMXRequest

    @get("/", media_type=MediaType.HTML)
    async def show(self, request: HTMXRequest, runtime: Runtime, views: Views) -> Response[Any]:
        """Show the page to browsers; tell programs where the API is."""
        if not accepts_html(request) and not request.htmx:
            return Response(Index(), media_type=MediaType.JSON)
        selection = Selection.of(request.query_params)
        overview, listing = await asyncio.gather(
            read_overview(runtime), read_listing(runtime, selection)
        )
        return views.page(
            request,
            "fleet.html",
            scripted=True,
            headers=_pushed(request, selection),
            here="fleet",
            labels=LABELS,
            selection=selection,
            overview=overview,
            chart=overview.chart,
            listing=listing,
            may_operate=may(request.auth, Permission.OPERATE),
        )


def _pushed(request: HTMXRequest, selection: Selection) -> dict[str, str]:
    """Return the address that a page's script is to show, if it is another.

    The link itself may be gone by the time of the answer: news replace the list that it was in.
    """
    address = selection.address()
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    is_new = bool(request.htmx) and request.htmx.current_url_abs_path not in {address, asked}
    return {HTMXHeaders.PUSH_URL.value: address} if is_new else {}
