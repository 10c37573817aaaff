"""`/v1/sessions/{id}`: linking a phone by a pairing code, and sending a text."""

from typing import Annotated, Any

from litestar import Controller, Request, post
from litestar.params import Body

from sekring.http.bodies import JsonBody
from sekring.http.errand_examples import MESSAGE, PAIRED, PAIRING, SENT
from sekring.http.examples import documented
from sekring.http.options import DEADLINE_S, NEEDS, WAITING_S
from sekring.http.origin import origin_of
from sekring.http.parameters import PathId
from sekring.http.runtime import Runtime
from sekring.sessions.recipient import recipient
from sekring.tokens import Permission
from sekring.wire import MessageBody, MessageSent, PairingBody, PairingCode

__all__ = ["LinkingRoutes"]

#: For how long WhatsApp takes a pairing code, in ms.
_PAIRING_CODE_MS = 160_000

_PAIRING_REASON = "a pairing code was asked for"


class LinkingRoutes(Controller):
    """What takes the gateway that owns the session; answered when it has done it."""

    path = "/v1/sessions"
    tags = ["sessions"]
    opt = {NEEDS: Permission.OPERATE, DEADLINE_S: WAITING_S}

    @post(
        "/{instance_id:str}/pairing-code",
        operation_id="pairSession",
        summary="Get a code to type into the phone",
        status_code=200,
        responses=documented(PairingCode, PAIRED, 400, 401, 403, 409, 502, 503, 504),
        dto=JsonBody[PairingBody],
        return_dto=None,
    )
    async def pair(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        instance_id: PathId,
        data: Annotated[PairingBody, Body(examples=PAIRING)],
    ) -> PairingCode:
        """Have the session connected from now on, as for a QR code: an open breaker is reset."""
        runtime.claimed()
        code = await runtime.linking.pairing_code(
            instance_id,
            data.phone,
            origin_of(request, _PAIRING_REASON),
            runtime.settings.qr_wait_ms / 1000,
        )
        return PairingCode(code, _PAIRING_CODE_MS)

    @post(
        "/{instance_id:str}/messages",
        operation_id="sendMessage",
        summary="Send a text",
        status_code=200,
        responses=documented(MessageSent, SENT, 400, 401, 403, 409, 502, 503, 504),
        dto=JsonBody[MessageBody],
        return_dto=None,
    )
    async def send(
        self,
        runtime: Runtime,
        instance_id: PathId,
        data: Annotated[MessageBody, Body(examples=MESSAGE)],
    ) -> MessageSent:
        """Send it through the session, which has to be connected; never twice."""
        runtime.claimed()
        to = recipient(data.to, "to")
        wait_s = runtime.settings.qr_wait_ms / 1000
        return MessageSent(await runtime.messaging.send(instance_id, to, data.text, wait_s))
