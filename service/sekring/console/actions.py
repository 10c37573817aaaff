"""What an operator does to one instance from the console: a reset, or a trip."""

import time
from typing import Any

import msgspec
from litestar import Controller, MediaType, Response, get, post
from litestar.plugins.htmx import HTMXRequest

from sekring.console.dialog import Dialog, Fields
from sekring.console.said import Said, Tone
from sekring.errors import Refused
from sekring.http.options import NEEDS, PAGE
from sekring.http.origin import origin_of
from sekring.http.parameters import PathId
from sekring.http.problems import problem_of
from sekring.http.runtime import Runtime
from sekring.model import Snapshot, State
from sekring.tokens import Permission
from sekring.wire import ForceBody
from sekring.wire.fields import Reason

__all__ = ["Actions", "said_now", "stated_reason"]

#: How long a trip may last, as the form offers it, in ms; 0 is until a reset.
_LENGTHS_MS = (600_000, 3_600_000, 21_600_000, 86_400_000, 604_800_000, 0)

#: What the audit trail has for a reset without a reason.
_UNSAID = "console"


class Actions(Controller):
    """Each is a form that a link shows, and that leads back to where the link was.

    A form holds the epoch that it was shown under. Sent twice, it finds another one and does
    nothing more.
    """

    path = "/instances/{instance_id:str}"
    opt = {NEEDS: Permission.OPERATE, PAGE: True}
    include_in_schema = False
    request_class = HTMXRequest

    @get("/reset", media_type=MediaType.HTML)
    async def ask_reset(
        self, request: HTMXRequest, runtime: Runtime, instance_id: PathId
    ) -> Response[Any]:
        """Show what a reset would do."""
        return await _show(_reset_dialog(request, instance_id), runtime, instance_id)

    @post("/reset", media_type=MediaType.HTML, status_code=200)
    async def reset(
        self, request: HTMXRequest, runtime: Runtime, instance_id: PathId
    ) -> Response[Any]:
        """Reset, if the instance is as the form has shown it."""
        dialog = _reset_dialog(request, instance_id)
        fields = await dialog.fields()
        found = (await runtime.breaker.status(instance_id)).snapshot
        if not dialog.accepts(fields):
            return await _show(dialog, runtime, instance_id, "form_stale", status=403)
        if _is_outdated(fields, found):
            if found.state is State.CLOSED:
                return dialog.done(said_now("warn", "said_closed", id=instance_id), fields)
            return await _show(dialog, runtime, instance_id, "form_outdated", status=409)
        try:
            origin = origin_of(request, stated_reason(fields))
            done = await runtime.breaker.reset(instance_id, origin, only_state=found.state)
        except msgspec.ValidationError:
            problem, status = "reason_wanted", 400
        except Refused:
            problem, status = "banned_title", 409
        else:
            if done.done:
                return dialog.done(said_now("good", "said_reset", id=instance_id), fields)
            problem, status = "form_outdated", 409
        return await _show(dialog, runtime, instance_id, problem, status=status)

    @get("/trip", media_type=MediaType.HTML)
    async def ask_trip(
        self, request: HTMXRequest, runtime: Runtime, instance_id: PathId
    ) -> Response[Any]:
        """Show what a trip would do."""
        return await _show(_trip_dialog(request, instance_id), runtime, instance_id)

    @post("/trip", media_type=MediaType.HTML, status_code=200)
    async def trip(
        self, request: HTMXRequest, runtime: Runtime, instance_id: PathId
    ) -> Response[Any]:
        """Force the breaker open, if the instance is as the form has shown it."""
        dialog = _trip_dialog(request, instance_id)
        fields = await dialog.fields()
        found = (await runtime.breaker.status(instance_id)).snapshot
        if not dialog.accepts(fields):
            return await _show(dialog, runtime, instance_id, "form_stale", status=403)
        if _is_outdated(fields, found):
            if found.state is State.FORCED_OPEN:
                return dialog.done(said_now("warn", "said_tripped_before", id=instance_id), fields)
            return await _show(dialog, runtime, instance_id, "form_outdated", status=409)
        for_ms = fields.get("for_ms")
        wanted = {"reason": fields.get("reason", ""), "for_ms": None if for_ms == "0" else for_ms}
        try:
            body = msgspec.convert(wanted, ForceBody, strict=False)
        except msgspec.ValidationError as error:
            if problem_of(error).field != "reason":
                raise
            return await _show(dialog, runtime, instance_id, "reason_wanted", status=400)
        await runtime.breaker.trip(instance_id, body.for_ms, origin_of(request, body.reason))
        return dialog.done(said_now("good", "said_tripped", id=instance_id), fields)


def said_now(tone: Tone, key: str, **values: str | int) -> Said:
    """Return a sentence of `words.toml` that is true now."""
    return Said(tone, key, values, round(time.time() * 1000))


def stated_reason(fields: Fields) -> str:
    """Return the reason that was given for a reset, which does without one.

    Raises:
        msgspec.ValidationError: it is too long.
    """
    return msgspec.convert(fields.get("reason") or _UNSAID, Reason)


def _reset_dialog(request: HTMXRequest, instance_id: str) -> Dialog:
    return Dialog(request, template="forms/reset.html", purpose=f"reset {instance_id}")


def _trip_dialog(request: HTMXRequest, instance_id: str) -> Dialog:
    return Dialog(request, template="forms/trip.html", purpose=f"trip {instance_id}")


async def _show(
    dialog: Dialog,
    runtime: Runtime,
    instance_id: str,
    problem: str = "",
    *,
    status: int = 200,
) -> Response[Any]:
    found = (await runtime.breaker.status(instance_id)).snapshot
    return dialog.show(
        status=status,
        problem=dialog.words(problem) if problem else "",
        snapshot=found,
        lengths_ms=_LENGTHS_MS,
        banned=found.terminal == "banned" or (found.ban_until_ms or 0) > found.now_ms,
    )


def _is_outdated(fields: Fields, found: Snapshot) -> bool:
    return fields.get("epoch") != str(found.epoch)
