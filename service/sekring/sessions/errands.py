"""Errands: what the gateway that owns a session is asked to do, from any replica to any other."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog
from msgspec import Struct

from sekring.errors import Refused, SealBroken, StoreUnavailable
from sekring.sessions.bells import LOOK_S, Bells
from sekring.sessions.sealing import Seal
from sekring.store.errand_contract import (
    AnswerErrandRequest,
    PostErrandRequest,
    StoredErrand,
    TakeErrandsRequest,
)
from sekring.store.errand_scripts import ErrandScripts
from sekring.store.postbox import Postbox
from sekring.wire import Errand, ErrandKind, ErrandOutcome

__all__ = ["Details", "Errands"]

#: Errands of one session that may wait at once.
_WAITING_MAX = 100

#: Sessions that one look asks for, at most; the others' turn comes with the next.
_LOOKS_MAX = 200

_log = structlog.get_logger(__name__)


class Details(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an errand takes; sealed while it waits."""

    phone: str | None = None
    to: str | None = None
    text: str | None = None


class _Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    result: str | None = None
    error: str | None = None


class Errands:
    """Posts errands, hands them to the owner of the session, and brings the answers back."""

    def __init__(self, scripts: ErrandScripts, postbox: Postbox, bells: Bells, seal: Seal) -> None:
        """Post through `scripts`, wait for `bells`; `seal` what only the gateway may read."""
        self._scripts = scripts
        self._postbox = postbox
        self._bells = bells
        self._seal = seal

    # ------------------------------------------------------------------- who wants something

    async def post(self, instance_id: str, kind: ErrandKind, ttl_s: float) -> None:
        """Ask for something that is not answered; nobody wants it any more after `ttl_s`.

        Raises:
            Refused: too many errands of the session wait already.
        """
        await self._post(instance_id, kind, secrets.token_hex(12), "", ttl_s, awaited=False)

    async def ask(
        self,
        instance_id: str,
        kind: ErrandKind,
        wait_s: float,
        details: Details | None = None,
        check: Callable[[], Awaitable[None]] | None = None,
    ) -> ErrandOutcome | None:
        """Ask for something, and wait for its answer; `None` if none came within `wait_s`.

        `check` is asked at every look, and raises when there is nothing to wait for any longer.

        Raises:
            Refused: too many errands of the session wait already.
            SealBroken: the answer was sealed with another key than this replica's.
            ServiceStopping: the replica stops.
        """
        errand_id = secrets.token_hex(12)
        body = msgspec.json.encode(details or Details()).decode()
        sealed = self._seal.seal(body, _errand_purpose(instance_id, errand_id))
        await self._post(instance_id, kind, errand_id, sealed, wait_s, awaited=True)

        async def look() -> str | None:
            found = await self._postbox.answer(instance_id, errand_id)
            if found is None and check is not None:
                await check()
            return found

        stored = await self._bells.until(f"answer:{errand_id}", look, wait_s)
        if stored is None:
            return None
        opened = self._seal.open(stored, _answer_purpose(instance_id, errand_id))
        answer = msgspec.json.decode(opened, type=_Answer)
        return ErrandOutcome(instance_id=instance_id, result=answer.result, error=answer.error)

    async def _post(
        self,
        instance_id: str,
        kind: ErrandKind,
        errand_id: str,
        body: str,
        ttl_s: float,
        *,
        awaited: bool,
    ) -> None:
        request = PostErrandRequest(
            instance_id=instance_id,
            id=errand_id,
            kind=kind,
            body=body,
            ttl_ms=max(1, round(ttl_s * 1000)),
            awaited=awaited,
            limit=_WAITING_MAX,
        )
        posted = await self._scripts.post_errand(request)
        _log.debug("errand posted", instance_id=instance_id, kind=kind, gateway=posted.gateway)
        if not posted.queued:
            raise Refused(
                f"{_WAITING_MAX} errands of {instance_id} wait for its gateway already: ask again "
                "when it has done them, or they have expired.",
                "too_many_errands",
            )

    # ------------------------------------------------------------------------ who does it

    async def take(self, gateway: str, wait_s: float, gone: asyncio.Event) -> list[Errand]:
        """Hand out what the gateway has to do; wait for something up to `wait_s`.

        `gone` says that nobody waits for the answer any more: nothing is taken from then on.
        """
        topic = f"errand:{gateway}"
        deadline_s = time.monotonic() + wait_s
        with self._bells.listening(topic) as bell:
            while True:
                bell.clear()
                errands = await self._look(gateway, topic)
                left_s = deadline_s - time.monotonic()
                if errands or left_s <= 0 or self._bells.closing or gone.is_set():
                    return errands
                await _first(gone, bell, min(LOOK_S, left_s))
                if gone.is_set():
                    return []

    async def _look(self, gateway: str, topic: str) -> list[Errand]:
        names = self._bells.take(topic)
        for name in names[_LOOKS_MAX:]:
            self._bells.remember(topic, name)
        found = await asyncio.gather(
            *(self._taken(gateway, topic, name) for name in names[:_LOOKS_MAX])
        )
        return [errand for errands in found for errand in errands]

    async def _taken(self, gateway: str, topic: str, instance_id: str) -> Sequence[Errand]:
        request = TakeErrandsRequest(
            instance_id=instance_id, gateway=gateway, id=secrets.token_hex(8)
        )
        try:
            taken = await self._scripts.take_errands(request)
        except StoreUnavailable:
            self._bells.remember(topic, instance_id)
            return ()
        opened = [await self._opened(instance_id, stored) for stored in taken.errands]
        return [errand for errand in opened if errand is not None]

    async def _opened(self, instance_id: str, stored: StoredErrand) -> Errand | None:
        details = Details()
        if stored.body:
            purpose = _errand_purpose(instance_id, stored.id)
            try:
                details = msgspec.json.decode(self._seal.open(stored.body, purpose), type=Details)
            except SealBroken as error:
                _log.error(
                    "an errand cannot be read",
                    instance_id=instance_id,
                    kind=stored.kind,
                    error=str(error),
                )
                await self._settle(instance_id, stored.id, _Answer(error=str(error)))
                return None
        return msgspec.convert(
            {
                "id": stored.id,
                "instance_id": instance_id,
                "kind": stored.kind,
                "expires_in_ms": stored.expires_in_ms,
                **msgspec.structs.asdict(details),
            },
            Errand,
        )

    async def answer(self, errand_id: str, outcome: ErrandOutcome) -> bool:
        """Tell whoever waits what came of an errand; whether somebody does."""
        answer = _Answer(result=outcome.result, error=outcome.error)
        return await self._settle(outcome.instance_id, errand_id, answer)

    async def _settle(self, instance_id: str, errand_id: str, answer: _Answer) -> bool:
        body = msgspec.json.encode(answer).decode()
        sealed = self._seal.seal(body, _answer_purpose(instance_id, errand_id))
        return await self._scripts.answer_errand(
            instance_id, AnswerErrandRequest(id=errand_id, answer=sealed)
        )


def _errand_purpose(instance_id: str, errand_id: str) -> str:
    return f"errand {errand_id} {instance_id}"


def _answer_purpose(instance_id: str, errand_id: str) -> str:
    return f"answer {errand_id} {instance_id}"


async def _first(gone: asyncio.Event, bell: asyncio.Event, seconds: float) -> None:
    """Return when one of both is set, or after `seconds`."""
    waiting = [asyncio.create_task(event.wait()) for event in (gone, bell)]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
