"""`/v1`: what gateways are asked to do, what came of it, and the QR codes that they show."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from litestar import Controller, Request, post, put
from litestar.params import Body

from sekring.errors import InvalidInput
from sekring.http.bodies import JsonBody
from sekring.http.errand_examples import ANSWER, ANSWERED, POLL, POLLED, QR
from sekring.http.examples import documented
from sekring.http.options import DEADLINE_S, NEEDS, WAITING_S
from sekring.http.parameters import PathErrandId, PathGateway, PathId
from sekring.http.runtime import Runtime
from sekring.http.session_examples import PHASE_SET
from sekring.tokens import Permission
from sekring.wire import (
    ErrandOutcome,
    ErrandsAnswer,
    ErrandsBody,
    OutcomeTaken,
    PhaseAnswer,
    QrBody,
)

__all__ = ["ErrandRoutes"]

_Request = Request[Any, Any, Any]


class ErrandRoutes(Controller):
    """What gateways call beside the leases."""

    path = "/v1"
    tags = ["errands"]
    opt = {NEEDS: Permission.REPORT}

    @post(
        "/gateways/{gateway:str}/errands",
        operation_id="takeErrands",
        summary="What is there to do?",
        status_code=200,
        opt={DEADLINE_S: WAITING_S},
        responses=documented(ErrandsAnswer, POLLED, 400, 401, 403, 503),
        dto=JsonBody[ErrandsBody],
        return_dto=None,
    )
    async def take(
        self,
        request: _Request,
        runtime: Runtime,
        gateway: PathGateway,
        data: Annotated[ErrandsBody, Body(examples=POLL)] = ErrandsBody(),  # noqa: B008
    ) -> ErrandsAnswer:
        """Wait up to `wait_ms` for errands of sessions that the gateway owns; then ask again.

        Each errand is handed out once. `pair`, `send` and `log_out` are answered by
        `POST /v1/errands/{errand_id}`; `qr` and `retry` are not.
        """
        runtime.claimed()
        async with _disconnect_of(request) as gone:
            return ErrandsAnswer(await runtime.errands.take(gateway, data.wait_ms / 1000, gone))

    @post(
        "/errands/{errand_id:str}",
        operation_id="answerErrand",
        summary="What came of an errand",
        status_code=200,
        responses=documented(OutcomeTaken, ANSWERED, 400, 401, 403, 503),
        dto=JsonBody[ErrandOutcome],
        return_dto=None,
    )
    async def answer(
        self,
        runtime: Runtime,
        errand_id: PathErrandId,
        data: Annotated[ErrandOutcome, Body(examples=ANSWER)],
    ) -> OutcomeTaken:
        """Tell whoever waits; where nobody does any longer, nothing is written."""
        if data.result is not None and data.error is not None:
            raise InvalidInput("Send either result or error.", "error")
        runtime.claimed()
        return OutcomeTaken(await runtime.errands.answer(errand_id, data))

    @put(
        "/leases/{instance_id:str}/qr",
        operation_id="showQr",
        summary="Show a QR code",
        tags=["leases"],
        responses=documented(PhaseAnswer, PHASE_SET, 400, 401, 403, 503),
        dto=JsonBody[QrBody],
        return_dto=None,
    )
    async def show_qr(
        self,
        runtime: Runtime,
        instance_id: PathId,
        data: Annotated[QrBody, Body(examples=QR)],
    ) -> PhaseAnswer:
        """Have the code shown to whoever asks for it, in place of the one before.

        The session is `pairing` from then on. The code is kept for `expires_in_ms`, encrypted where
        the service has a key.
        """
        runtime.claimed()
        return PhaseAnswer(await runtime.qr_codes.put(instance_id, data))


@contextlib.asynccontextmanager
async def _disconnect_of(request: _Request) -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set when the client goes away; its body has been read."""
    gone = asyncio.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()

    watching = asyncio.create_task(watch())
    try:
        yield gone
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
