"""`/fleet/live`: the parts of a fleet page that have changed, as Server-Sent Events."""

from collections.abc import Mapping
from typing import Any

from litestar import Controller, Request, get
from msgspec import Struct

from sekring.console.language import Words
from sekring.console.overview import Listing, Overview, read_listing, read_overview
from sekring.console.parts import Part, changed_parts
from sekring.console.pulse import Beat, Pulse
from sekring.console.selection import LABELS, Selection
from sekring.console.views import Views
from sekring.http.auth import may
from sekring.http.options import DEADLINE_S, NEEDS, NO_DEADLINE
from sekring.http.runtime import Runtime
from sekring.http.sse import EventStream
from sekring.tokens import Permission

__all__ = ["Live"]


class _Viewer(Struct, frozen=True):
    """What one who looks is shown; those who are equal share the rendering."""

    selection: Selection
    language: str
    may_operate: bool


class Live(Controller):
    """Open as long as the page is."""

    opt = {NEEDS: Permission.READ, DEADLINE_S: NO_DEADLINE}
    include_in_schema = False

    @get("/fleet/live", media_type="text/event-stream")
    async def stream(
        self, request: Request[Any, Any, Any], runtime: Runtime, views: Views, pulse: Pulse
    ) -> EventStream:
        """Send what has changed, at most about once a second; and a sign of life anyway."""
        selection = Selection.of(request.query_params)
        if selection.cursor is not None:
            await read_listing(runtime, selection)  # or it is refused, and not as a stream
        words = views.words(request)
        viewer = _Viewer(selection, words.language, may(request.auth, Permission.OPERATE))
        rendering = _Rendering(runtime, views, words, viewer)
        return EventStream(changed_parts(pulse, "the fleet page", rendering.parts), pulse.ended)


class _Rendering:
    """Makes the parts of a page for one beat."""

    def __init__(self, runtime: Runtime, views: Views, words: Words, viewer: _Viewer) -> None:
        self._runtime = runtime
        self._views = views
        self._words = words
        self._viewer = viewer

    async def parts(self, beat: Beat) -> list[Part]:
        return await beat.share(self._viewer, lambda: self._make(beat))

    async def _make(self, beat: Beat) -> list[Part]:
        selection = self._viewer.selection
        overview: Overview = await beat.share("overview", lambda: read_overview(self._runtime))
        listing: Listing = await beat.share(
            selection, lambda: read_listing(self._runtime, selection)
        )
        context: dict[str, object] = {
            "overview": overview,
            "chart": overview.chart,
            "listing": listing,
            "selection": selection,
            "labels": LABELS,
            "may_operate": self._viewer.may_operate,
        }
        read_ms = overview.read_ms
        counts = tuple(overview.count(label) for label in LABELS)
        return [
            Part("summary", (overview.lasting,), self._render("parts/summary.html", context)),
            Part("chart", overview.minutes, self._render("parts/chart.html", context)),
            Part("list", (listing.lasting, counts), self._render("parts/list.html", context)),
            Part("beat", (read_ms,), self._words.moment(read_ms, read_ms)),
        ]

    def _render(self, template: str, context: Mapping[str, object]) -> str:
        return self._views.render(template, self._words, **context)
