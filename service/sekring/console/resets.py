"""`/resets`: an operator resets all that a fleet page selects, once told how many that are."""

from typing import Any

import msgspec
from litestar import Controller, MediaType, Response, get, post
from litestar.plugins.htmx import HTMXRequest

from sekring.console.actions import said_now, stated_reason
from sekring.console.dialog import Dialog
from sekring.console.selection import Selection
from sekring.errors import InvalidInput
from sekring.http.options import DEADLINE_S, NEEDS, PAGE
from sekring.http.origin import origin_of
from sekring.http.runtime import Runtime
from sekring.tokens import Permission

__all__ = ["Resets"]

#: Resetting many instances takes longer than other requests, in seconds.
_DEADLINE_S = 60

#: More than so many times as many as were confirmed, and some, are confirmed anew: in a storm a
#: handful becomes thousands while somebody reads.
_GROWTH, _SOME = 2, 10


class Resets(Controller):
    """Sent twice, the second finds nothing left to reset."""

    path = "/resets"
    opt = {NEEDS: Permission.OPERATE, PAGE: True, DEADLINE_S: _DEADLINE_S}
    include_in_schema = False
    request_class = HTMXRequest

    @get(media_type=MediaType.HTML)
    async def ask(self, request: HTMXRequest, runtime: Runtime) -> Response[Any]:
        """Show how many a reset would concern."""
        return await _show(request, runtime, Selection.of(request.query_params))

    @post(media_type=MediaType.HTML, status_code=200)
    async def reset(self, request: HTMXRequest, runtime: Runtime) -> Response[Any]:
        """Reset them; banned ones stay as they are."""
        dialog = _dialog(request)
        fields = await dialog.fields()
        selection = Selection.of(fields)
        if not dialog.accepts(fields):
            return await _show(request, runtime, selection, "form_stale", status=403)
        confirmed = fields.get("count", "")
        if not confirmed.isdecimal() or len(confirmed) > _SOME:
            raise InvalidInput("count is missing: as many as the form has shown.", "count")
        now = await runtime.fleet.count(selection.state, selection.prefix)
        if now > _GROWTH * int(confirmed) + _SOME:
            return await _show(request, runtime, selection, "resets_grown", status=409)
        try:
            origin = origin_of(request, stated_reason(fields))
        except msgspec.ValidationError:
            return await _show(request, runtime, selection, "reason_wanted", status=400)
        done = await runtime.fleet.reset_all(selection.state, origin, prefix=selection.prefix)
        said = said_now(
            "warn" if done.banned or not done.reset else "good",
            "said_resets_banned" if done.banned else "said_resets",
            reset=done.reset,
            banned=done.banned,
        )
        return dialog.done(said, fields)


def _dialog(request: HTMXRequest) -> Dialog:
    return Dialog(request, template="forms/resets.html", purpose="resets")


async def _show(
    request: HTMXRequest,
    runtime: Runtime,
    selection: Selection,
    problem: str = "",
    *,
    status: int = 200,
) -> Response[Any]:
    dialog = _dialog(request)
    count = 0
    if not selection.matches_nothing:
        count = await runtime.fleet.count(selection.state, selection.prefix)
    return dialog.show(
        status=status,
        problem=dialog.words(problem) if problem else "",
        selection=selection,
        count=count,
    )
