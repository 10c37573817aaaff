"""What an operator holds an instance's breaker in: forced open, or disabled."""

from typing import Any

import msgspec
from litestar import Controller, MediaType, Response, get, post
from litestar.plugins.htmx import HTMXRequest
from msgspec import Struct

from sekring.breaker import Breaker
from sekring.console.actions import is_outdated, said_now, show_instance
from sekring.console.dialog import Dialog
from sekring.http.options import NEEDS, PAGE
from sekring.http.origin import origin_of
from sekring.http.parameters import PathId
from sekring.http.problems import problem_of
from sekring.http.runtime import Runtime
from sekring.model import Origin, State
from sekring.tokens import Permission
from sekring.wire import ForceBody

__all__ = ["Holds"]

#: For how long, as the form offers it, in ms; 0 is until a reset.
_LENGTHS_MS = (600_000, 3_600_000, 21_600_000, 86_400_000, 604_800_000, 0)


class _Hold(Struct, frozen=True):
    """One of the two: its word, and the state that it leads to."""

    verb: str
    state: State

    async def make(
        self, breaker: Breaker, instance_id: str, body: ForceBody, origin: Origin
    ) -> None:
        change = breaker.trip if self.state is State.FORCED_OPEN else breaker.disable
        await change(instance_id, body.for_ms, origin)


_TRIP = _Hold("trip", State.FORCED_OPEN)
_DISABLE = _Hold("disable", State.DISABLED)


class Holds(Controller):
    """As `sekring.console.actions`; each takes a reason, and an end."""

    path = "/instances/{instance_id:str}"
    opt = {NEEDS: Permission.OPERATE, PAGE: True}
    include_in_schema = False
    request_class = HTMXRequest

    @get("/trip", media_type=MediaType.HTML)
    async def ask_trip(self, request: HTMXRequest, instance_id: PathId) -> Response[Any]:
        """Show what a trip would do."""
        return await _Form(request, instance_id, _TRIP).show()

    @post("/trip", media_type=MediaType.HTML, status_code=200)
    async def trip(self, request: HTMXRequest, instance_id: PathId) -> Response[Any]:
        """Force the breaker open, if the instance is as the form has shown it."""
        return await _Form(request, instance_id, _TRIP).take()

    @get("/disable", media_type=MediaType.HTML)
    async def ask_disable(self, request: HTMXRequest, instance_id: PathId) -> Response[Any]:
        """Show what disabling would do."""
        return await _Form(request, instance_id, _DISABLE).show()

    @post("/disable", media_type=MediaType.HTML, status_code=200)
    async def disable(self, request: HTMXRequest, instance_id: PathId) -> Response[Any]:
        """Let every attempt through, if the instance is as the form has shown it."""
        return await _Form(request, instance_id, _DISABLE).take()


class _Form:
    """The form of one hold, as one request gets it."""

    def __init__(self, request: HTMXRequest, instance_id: str, hold: _Hold) -> None:
        self._request = request
        self._instance_id = instance_id
        self._hold = hold
        self._runtime: Runtime = request.app.state.runtime
        self._dialog = Dialog(
            request, template="forms/hold.html", purpose=f"{hold.verb} {instance_id}"
        )

    async def show(self, problem: str = "", *, status: int = 200) -> Response[Any]:
        return await show_instance(
            self._dialog,
            self._runtime,
            self._instance_id,
            problem,
            status=status,
            verb=self._hold.verb,
            lengths_ms=_LENGTHS_MS,
        )

    async def take(self) -> Response[Any]:
        fields = await self._dialog.fields()
        breaker, hold = self._runtime.breaker, self._hold
        found = (await breaker.status(self._instance_id)).snapshot
        if not self._dialog.accepts(fields):
            return await self.show("form_stale", status=403)
        if is_outdated(fields, found):
            if found.state is hold.state:
                said = said_now("warn", f"said_{hold.verb}_before", id=self._instance_id)
                return self._dialog.done(said, fields)
            return await self.show("form_outdated", status=409)
        for_ms = fields.get("for_ms")
        wanted = {"reason": fields.get("reason", ""), "for_ms": None if for_ms == "0" else for_ms}
        try:
            body = msgspec.convert(wanted, ForceBody, strict=False)
        except msgspec.ValidationError as error:
            if problem_of(error).field != "reason":
                raise
            return await self.show("reason_wanted", status=400)
        await hold.make(breaker, self._instance_id, body, origin_of(self._request, body.reason))
        said = said_now("good", f"said_{hold.verb}", id=self._instance_id)
        return self._dialog.done(said, fields)
