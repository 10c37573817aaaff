"""What an operator does to one instance from the console: a reset, with force or without."""

import time
from typing import Any, Literal

import msgspec
from litestar import Controller, MediaType, Response, get, post
from litestar.plugins.htmx import HTMXRequest

from sekring.console.dialog import Dialog, Fields
from sekring.console.said import Said, Tone
from sekring.errors import Refused
from sekring.http.options import NEEDS, PAGE
from sekring.http.origin import origin_of
from sekring.http.parameters import PathId
from sekring.http.runtime import Runtime
from sekring.model import Snapshot, State
from sekring.tokens import Permission
from sekring.wire.fields import Reason

__all__ = ["Actions", "is_outdated", "said_now", "show_instance", "stated_reason"]

#: What the audit trail has for a reset without a reason.
_UNSAID = "console"


class Actions(Controller):
    """Each is a form that a link shows, and that leads back to where the link was.

    A form holds the epoch and the state that it was shown under. Sent twice, it finds others, and
    does nothing more.
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
        return await show_instance(_dialog(request, instance_id, "reset"), runtime, instance_id)

    @post("/reset", media_type=MediaType.HTML, status_code=200)
    async def reset(
        self, request: HTMXRequest, runtime: Runtime, instance_id: PathId
    ) -> Response[Any]:
        """Reset, if the instance is as the form has shown it."""
        return await _reset(request, runtime, instance_id, force=False)

    @get("/force", media_type=MediaType.HTML)
    async def ask_force(
        self, request: HTMXRequest, runtime: Runtime, instance_id: PathId
    ) -> Response[Any]:
        """Show what lifting a ban would do."""
        return await show_instance(_dialog(request, instance_id, "force"), runtime, instance_id)

    @post("/force", media_type=MediaType.HTML, status_code=200)
    async def force(
        self, request: HTMXRequest, runtime: Runtime, instance_id: PathId
    ) -> Response[Any]:
        """Reset although a ban is in force, if the instance is as the form has shown it."""
        return await _reset(request, runtime, instance_id, force=True)


def said_now(tone: Tone, key: str, **values: str | int) -> Said:
    """Return a sentence of `words.toml` that is true now."""
    return Said(tone, key, values, round(time.time() * 1000))


def stated_reason(fields: Fields, *, otherwise: str = _UNSAID) -> str:
    """Return the reason that was given; a plain reset does without one.

    Raises:
        msgspec.ValidationError: it is too long, or missing where there is no other.
    """
    return msgspec.convert(fields.get("reason") or otherwise, Reason)


def _dialog(request: HTMXRequest, instance_id: str, verb: Literal["reset", "force"]) -> Dialog:
    return Dialog(request, template=f"forms/{verb}.html", purpose=f"{verb} {instance_id}")


async def _reset(
    request: HTMXRequest, runtime: Runtime, instance_id: str, *, force: bool
) -> Response[Any]:
    dialog = _dialog(request, instance_id, "force" if force else "reset")
    fields = await dialog.fields()
    found = (await runtime.breaker.status(instance_id)).snapshot
    if not dialog.accepts(fields):
        return await show_instance(dialog, runtime, instance_id, "form_stale", status=403)
    if is_outdated(fields, found) and found.state is State.CLOSED:
        return dialog.done(said_now("warn", "said_closed", id=instance_id), fields)
    problem, status = "form_outdated", 409
    if not is_outdated(fields, found):
        try:
            reason = stated_reason(fields, otherwise="" if force else _UNSAID)
            done = await runtime.breaker.reset(
                instance_id, origin_of(request, reason), force=force, only_state=found.state
            )
        except msgspec.ValidationError:
            problem, status = "reason_wanted", 400
        except Refused:
            problem, status = "banned_title", 409
        else:
            if done.done:
                key = "said_forced" if force else "said_reset"
                return dialog.done(said_now("good", key, id=instance_id), fields)
    return await show_instance(dialog, runtime, instance_id, problem, status=status)


async def show_instance(
    dialog: Dialog,
    runtime: Runtime,
    instance_id: str,
    problem: str = "",
    *,
    status: int = 200,
    **context: object,
) -> Response[Any]:
    """Show a form on an instance as it stands now; `problem` names why it comes again."""
    found = (await runtime.breaker.status(instance_id)).snapshot
    return dialog.show(
        status=status,
        problem=dialog.words(problem) if problem else "",
        snapshot=found,
        banned=found.terminal == "banned" or (found.ban_until_ms or 0) > found.now_ms,
        **context,
    )


def is_outdated(fields: Fields, found: Snapshot) -> bool:
    """Tell whether the instance has changed its state since a form was shown."""
    return fields.get("shown") != f"{found.epoch} {found.state}"
