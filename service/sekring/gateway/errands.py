"""What people ask of the sessions of this gateway: asked for by long polls, done, answered.

Neither phone numbers nor texts, codes or results are logged.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final

import structlog

from sekring.client import AsyncClient
from sekring.errors import DriverError, InvalidInput, NotFound, Refused, SekringError
from sekring.gateway.session import Session
from sekring.wire import Errand, ErrandOutcome, ErrandsBody

__all__ = ["Errands"]

#: How long the service is to wait when there is nothing to do, in ms.
_WAIT_MS: Final = 25_000

#: Pause after the service did not answer, in seconds.
_PAUSE_S: Final = 2.0

#: Errands that are done at a time; further ones are answered at once that it is too much.
_AT_ONCE: Final = 100

#: How often an answer is tried, and the pause in between, in seconds.
_TRIES: Final = 3
_TRY_AGAIN_S: Final = 0.5

#: Characters that the service takes of an error.
_ERROR_MAX: Final = 2_000

_log = structlog.get_logger(__name__)


class Errands:
    """Takes the errands of one gateway; `session_of` finds who is to do one."""

    def __init__(
        self, client: AsyncClient, gateway: str, session_of: Callable[[str], Session | None]
    ) -> None:
        """Ask `client` in the name of `gateway`."""
        self._client = client
        self._gateway = gateway
        self._session_of = session_of
        self._busy = 0

    async def run(self) -> None:
        """Do errands until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    found = await self._client.errands(self._gateway, ErrandsBody(wait_ms=_WAIT_MS))
                except SekringError as error:
                    _log.debug("no answer to a poll for errands", error=str(error))
                    await asyncio.sleep(_PAUSE_S * random.uniform(0.5, 1.5))  # noqa: S311
                    continue
                for errand in found:
                    group.create_task(self._take(errand))

    async def _take(self, errand: Errand) -> None:
        try:
            await self._do(errand)
        except Exception:  # noqa: BLE001 - it must not end the others
            _log.exception("errand failed", instance_id=errand.instance_id, kind=errand.kind)

    async def _do(self, errand: Errand) -> None:
        """Do one errand; whatever goes wrong is its answer."""
        _log.info("errand", instance_id=errand.instance_id, kind=errand.kind)
        session = self._session_of(errand.instance_id)
        if errand.kind in {"qr", "retry"}:
            if session is not None:
                session.wake(anew=errand.kind == "retry")
            return
        if session is None:
            await self._answer(errand, error="This gateway does not own the session any more.")
        elif self._busy >= _AT_ONCE:
            await self._answer(errand, error=f"This gateway has {_AT_ONCE} other things to do.")
        else:
            self._busy += 1
            try:
                await self._answer_by(errand, session)
            finally:
                self._busy -= 1

    async def _answer_by(self, errand: Errand, session: Session) -> None:
        try:
            async with asyncio.timeout(errand.expires_in_ms / 1000):
                result = await _done(errand, session)
        except TimeoutError:
            await self._answer(errand, error="The session did not get round to it in time.")
        except DriverError as error:
            await self._answer(errand, error=str(error))
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            _log.exception("errand failed", instance_id=errand.instance_id, kind=errand.kind)
            await self._answer(errand, error=f"An error of the gateway: {type(error).__name__}.")
        else:
            await self._answer(errand, result=result)

    async def _answer(
        self, errand: Errand, *, result: str | None = None, error: str | None = None
    ) -> None:
        outcome = ErrandOutcome(
            instance_id=errand.instance_id,
            result=result,
            error=error[:_ERROR_MAX] if error else error,
        )
        for _ in range(_TRIES):
            try:
                awaited = await self._client.answer_errand(errand.id, outcome)
                _log.info("errand answered", kind=errand.kind, awaited=awaited)
            except (InvalidInput, NotFound, Refused) as refusal:
                _log.info("answer not wanted", errand=errand.kind, error=str(refusal))
            except SekringError as away:
                _log.warning("answer not taken", errand=errand.kind, error=str(away))
                await asyncio.sleep(_TRY_AGAIN_S)
                continue
            return


async def _done(errand: Errand, session: Session) -> str:
    match errand.kind:
        case "pair":
            return await session.pair(errand.phone or "")
        case "send":
            return await session.send(errand.to or "", errand.text or "")
        case _:
            await session.log_out()
            return "logged out"
