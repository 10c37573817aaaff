"""The guide's routes that reach into sessions, as waziper's clients call them.

They act on GET, as those clients expect it; a browser has to be sent there by its user himself.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get, post
from litestar.params import Body, Parameter

from sekring.errors import InvalidInput, NotAllowed
from sekring.guide import (
    GuideError,
    Instance,
    InstanceData,
    LoggedOut,
    MessageSent,
    MessageSentData,
    QrCode,
)
from sekring.http.browser import acts_for_somebody
from sekring.http.errand_examples import (
    GUIDE_INSTANCE,
    GUIDE_LOGGED_OUT,
    GUIDE_QR,
    GUIDE_SEND,
    GUIDE_SENT,
)
from sekring.http.examples import documented
from sekring.http.guideforms import FormOrJson, SendBody, Sending
from sekring.http.options import DEADLINE_S, GUIDE, NEEDS, WAITING_S
from sekring.http.origin import origin_of
from sekring.http.parameters import QueryId
from sekring.http.runtime import Runtime
from sekring.model import InstanceId
from sekring.sessions.linking import Unlinked
from sekring.sessions.picture import data_url
from sekring.tokens import Permission
from sekring.wire import Phase, Session

__all__ = ["MessagingRoutes"]

#: What the audit trail has as the reasons.
_QR_REASON = "a QR code was asked for"
_INSTANCE_REASON = "the instance was asked for"
_LOGOUT_REASON = "logged out"

#: What is asked of the owner, and may be refused, fail, or not come in time.
_REACHING = (400, 401, 403, 409, 502, 503, 504)

_Request = Request[Any, Any, Any]


class MessagingRoutes(Controller):
    """`access_token` is the caller's API token."""

    tags = ["guide"]
    opt = {GUIDE: True, NEEDS: Permission.OPERATE, DEADLINE_S: WAITING_S}

    @get(
        "/get_qrcode",
        operation_id="getQrCode",
        summary="A QR code to link a phone with",
        responses=documented(QrCode, GUIDE_QR, 400, 401, 403, 409, 503, 504, error=GuideError),
    )
    async def get_qrcode(self, request: _Request, runtime: Runtime, instance_id: QueryId) -> QrCode:
        """Reset an open breaker, have the session connected, and answer with a PNG.

        A closed breaker keeps its failures, and a ban stays. While the breaker refuses, the answer
        is 503 with `circuit_breaker: true` and `retry_after` in seconds.
        """
        _refuse_unmeant(request)
        runtime.claimed()
        wait_s = runtime.settings.qr_wait_ms / 1000
        code = await runtime.linking.qr_code(instance_id, origin_of(request, _QR_REASON), wait_s)
        return QrCode(status="success", message="Success", base64=data_url(code))

    @get(
        "/instance",
        operation_id="instance",
        summary="Have a session connected; where it stands",
        responses=documented(Instance, GUIDE_INSTANCE, 400, 401, 403, 503, error=GuideError),
    )
    async def instance(self, request: _Request, runtime: Runtime, instance_id: QueryId) -> Instance:
        """Answer `success` if the session belongs to a phone.

        Else `error` with `relogin: true`: ask for a QR code. While the breaker refuses, the answer
        is 503 with `circuit_breaker: true` and `retry_after` in seconds.
        """
        _refuse_unmeant(request)
        runtime.claimed()
        session = await runtime.linking.instance(instance_id, origin_of(request, _INSTANCE_REASON))
        return _instance(session)

    @get(
        "/logout",
        operation_id="logOut",
        summary="Unlink a session, and connect it no more",
        responses=documented(LoggedOut, GUIDE_LOGGED_OUT, *_REACHING, error=GuideError),
    )
    async def log_out(self, request: _Request, runtime: Runtime, instance_id: QueryId) -> LoggedOut:
        """Unlink the device from the phone if the session is connected now."""
        _refuse_unmeant(request)
        runtime.claimed()
        wait_s = runtime.settings.qr_wait_ms / 1000
        done = await runtime.linking.log_out(
            instance_id, origin_of(request, _LOGOUT_REASON), wait_s
        )
        return LoggedOut(
            status="success", message=_logout_words(instance_id, done), instance_id=instance_id
        )

    @get(
        "/send_message",
        operation_id="sendMessageByGet",
        summary="Send a text",
        responses=documented(MessageSent, GUIDE_SENT, *_REACHING, error=GuideError),
    )
    async def send_by_get(
        self,
        request: _Request,
        runtime: Runtime,
        *,
        instance_id: QueryId,
        number: Annotated[str | None, Parameter(description="A phone number, or a JID.")] = None,
        chat_id: Annotated[str | None, Parameter(description="The same, goes before.")] = None,
        message: Annotated[str | None, Parameter(description="The text.")] = None,
        kind: Annotated[str | None, Parameter(query="type", description="`text`.")] = None,
    ) -> MessageSent:
        """Send it through the session, which has to be connected; never twice."""
        _refuse_unmeant(request)
        del instance_id, number, chat_id, message, kind  # they are in the query
        return await _send(runtime, request.query_params, SendBody())

    @post(
        "/send_message",
        operation_id="sendMessageByPost",
        summary="Send a text, which is in the body",
        status_code=200,
        responses=documented(MessageSent, GUIDE_SENT, *_REACHING, error=GuideError),
        dto=FormOrJson[SendBody],
        return_dto=None,
    )
    async def send_by_post(
        self,
        request: _Request,
        runtime: Runtime,
        data: Annotated[SendBody, Body(examples=GUIDE_SEND)] = SendBody(),  # noqa: B008
    ) -> MessageSent:
        """Send it; what is not in the body (JSON or a form) may be in the query."""
        return await _send(runtime, request.query_params, data)


async def _send(runtime: Runtime, query: Mapping[str, str], body: SendBody) -> MessageSent:
    sending = Sending.of(query, body)
    if not sending.instance_id:
        raise InvalidInput("instance_id is missing: it goes in the query.", "instance_id")
    try:
        instance_id = msgspec.convert(sending.instance_id, InstanceId)
    except msgspec.ValidationError:
        raise InvalidInput(
            "instance_id takes 1 to 128 of A-Z a-z 0-9 . _ : @ -.", "instance_id"
        ) from None
    runtime.claimed()
    wait_s = runtime.settings.qr_wait_ms / 1000
    message_id = await runtime.messaging.send(instance_id, sending.to, sending.text, wait_s)
    return MessageSent(
        status="success", message="Success", data=MessageSentData(message_id=message_id)
    )


def _refuse_unmeant(request: _Request) -> None:
    if not acts_for_somebody(request):
        raise NotAllowed(
            "A browser was sent here by something other than its user, and nothing was done: open "
            "the address yourself (over https, or on localhost), or call it from a program."
        )


def _instance(session: Session) -> Instance:
    connected = session.phase is Phase.CONNECTED
    linked = connected or session.device is not None
    return Instance(
        status="success" if linked else "error",
        message="Success" if linked else _UNLINKED,
        relogin=not linked,
        data=InstanceData(
            id=session.device,
            name=_number_of(session.device),
            instance_id=session.instance_id,
            phase=session.phase,
            connected=connected,
            gateway=session.gateway,
            detail=session.detail,
        ),
    )


_UNLINKED = "The session belongs to no phone yet: ask for a QR code with GET /get_qrcode."


def _number_of(device: str | None) -> str | None:
    """Return a JID's number: of `6281234567890:7@s.whatsapp.net`, `6281234567890`."""
    return None if device is None else device.partition("@")[0].partition(":")[0]


def _logout_words(instance_id: str, done: Unlinked) -> str:
    if done.unlinked:
        return f"{instance_id} is logged out: its device is unlinked."
    if done.error is not None:
        return (
            f"{instance_id} is connected no more, but its device could not be unlinked "
            f"({done.error}): remove it on the phone, under linked devices."
        )
    if done.was_wanted:
        return (
            f"{instance_id} is connected no more. It was not connected just now, so a device that "
            "is linked stays so: remove it on the phone, under linked devices."
        )
    return f"{instance_id} was not to be connected."
