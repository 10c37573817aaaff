"""`/instances/{id}`: one instance, live."""

from typing import Any

from litestar import Controller, MediaType, Request, Response, get
from msgspec import Struct

from sekring.console.language import Words
from sekring.console.parts import Part, changed_parts
from sekring.console.policyfields import rows_of
from sekring.console.pulse import Beat, Pulse
from sekring.console.standing import HISTORY_MAX, HISTORY_SHOWN, Standing, read_standing
from sekring.console.views import Views
from sekring.http.auth import may
from sekring.http.options import DEADLINE_S, NEEDS, NO_DEADLINE, PAGE
from sekring.http.parameters import PathId
from sekring.http.runtime import Runtime
from sekring.http.sse import EventStream
from sekring.tokens import Permission

__all__ = ["InstancePage"]

#: The parameter of the address that has the whole history shown, and its value.
_HISTORY, _ALL = "history", "all"


class _Viewer(Struct, frozen=True):
    """What one who looks is shown; those who are equal share the rendering."""

    instance_id: str
    language: str
    may_operate: bool
    whole_history: bool

    @property
    def history(self) -> int:
        return HISTORY_MAX if self.whole_history else HISTORY_SHOWN


class InstancePage(Controller):
    """Reading it changes nothing; an instance that was never seen is closed, and says so."""

    path = "/instances/{instance_id:str}"
    opt = {NEEDS: Permission.READ}
    include_in_schema = False

    @get("/", media_type=MediaType.HTML, opt={PAGE: True})
    async def show(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        views: Views,
        instance_id: PathId,
    ) -> Response[str]:
        """Show the page."""
        viewer = _viewer(request, views, instance_id)
        standing = await read_standing(runtime, instance_id, viewer.history)
        return views.page(
            request, "instance.html", scripted=True, here="fleet", **_context(viewer, standing)
        )

    @get("/live", media_type="text/event-stream", opt={DEADLINE_S: NO_DEADLINE})
    async def live(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        views: Views,
        pulse: Pulse,
        instance_id: PathId,
    ) -> EventStream:
        """Send what has changed, at most about once a second; and a sign of life anyway."""
        viewer, words = _viewer(request, views, instance_id), views.words(request)

        async def read(beat: Beat) -> Standing:
            return await beat.share(
                (instance_id, viewer.history),
                lambda: read_standing(runtime, instance_id, viewer.history),
            )

        async def parts(beat: Beat) -> list[Part]:
            async def make() -> list[Part]:
                return _parts(views, words, viewer, await read(beat))

            return await beat.share(viewer, make)

        return EventStream(changed_parts(pulse, "an instance's page", parts), pulse.ended)


def _viewer(request: Request[Any, Any, Any], views: Views, instance_id: str) -> _Viewer:
    return _Viewer(
        instance_id,
        views.words(request).language,
        may(request.auth, Permission.OPERATE),
        request.query_params.get(_HISTORY) == _ALL,
    )


def _context(viewer: _Viewer, standing: Standing) -> dict[str, Any]:
    address = f"/instances/{viewer.instance_id}"
    query = f"?{_HISTORY}={_ALL}" if viewer.whole_history else ""
    policy = standing.detail.policy
    return {
        "s": standing.snapshot,
        "standing": standing,
        "policy": standing.policy,
        "policy_groups": rows_of(policy.policy, policy.sources, for_instance=True),
        "address": address,
        "back": f"{address}{query}",
        "live_address": f"{address}/live{query}",
        "whole_history": viewer.whole_history,
        "history_max": HISTORY_MAX,
        "more_history": len(standing.history or ()) >= HISTORY_SHOWN,
        "may_operate": viewer.may_operate,
    }


def _parts(views: Views, words: Words, viewer: _Viewer, standing: Standing) -> list[Part]:
    context = _context(viewer, standing)
    snapshot, session = standing.snapshot, standing.detail.session
    facts: dict[str, tuple[object, ...]] = {
        "now": (standing.lasting, standing.policy, standing.came),
        "window": (snapshot.recent_failures, standing.policy, standing.window_step),
        "session": (session and (session.wanted, session.gateway, session.phase, session.device),),
        "policy": (standing.detail.policy,),
        "history": (standing.history,),
    }
    parts = [
        Part(name, known, views.render(f"parts/instance_{name}.html", words, **context))
        for name, known in facts.items()
    ]
    now_ms = snapshot.now_ms
    return [*parts, Part("beat", (now_ms,), words.moment(now_ms, now_ms))]
