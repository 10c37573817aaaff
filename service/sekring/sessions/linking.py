"""Linking a phone with a session: by QR code or pairing code; and unlinking it."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

from msgspec import Struct

from sekring.breaker import Breaker
from sekring.errors import BreakerRefuses, GatewayFailed, Refused, TimedOut
from sekring.model import Origin, State
from sekring.sessions.bells import Bells
from sekring.sessions.errands import Details, Errands
from sekring.sessions.gateways import Gateways
from sekring.sessions.qr import QrCodes
from sekring.sessions.refusal import refusal_of
from sekring.sessions.wishes import Wishes
from sekring.telemetry.histogram import Histogram
from sekring.telemetry.spans import current
from sekring.wire import Phase, Session

__all__ = ["Linking", "Unlinked"]

#: How long one waits for a gateway where none lives, in seconds: one may just be starting.
_NO_GATEWAY_S = 5.0


class Unlinked(Struct, frozen=True):
    """What a logout did."""

    #: Whether it was to be connected until then.
    was_wanted: bool
    #: Whether its device is unlinked from the phone; one that was not connected cannot be.
    unlinked: bool
    #: Why the owner could not do it.
    error: str | None = None


class Linking:
    """What people ask of a session before and after it belongs to their phone."""

    def __init__(
        self,
        breaker: Breaker,
        *,
        wishes: Wishes,
        gateways: Gateways,
        errands: Errands,
        qr_codes: QrCodes,
        bells: Bells,
        waits: Histogram,
    ) -> None:
        """Wire; nothing is sent. `waits` takes how long requests waited for a QR code."""
        self._waits = waits
        self._breaker = breaker
        self._wishes = wishes
        self._gateways = gateways
        self._errands = errands
        self._qr_codes = qr_codes
        self._bells = bells

    async def instance(self, instance_id: str, origin: Origin) -> Session:
        """Have a session connected from now on; return where it stands.

        Raises:
            BreakerRefuses: its breaker lets it not connect now.
        """
        session = await self._wishes.want(instance_id, origin)
        if session.phase is not Phase.CONNECTED:
            await self._check(instance_id)
        return session

    async def qr_code(self, instance_id: str, origin: Origin, wait_s: float) -> str:
        """Return the content of a QR code to be scanned now; an open breaker is reset before.

        Raises:
            BreakerRefuses: a ban or an operator keeps the breaker open, or it has tripped again.
            Refused: the session is connected already.
            SealBroken: the code was sealed with another key than this replica's.
            TimedOut: none came within `wait_s`.
        """
        with _timed(self._waits):
            return await self._qr_code(instance_id, origin, wait_s)

    async def _qr_code(self, instance_id: str, origin: Origin, wait_s: float) -> str:
        await self._begin(instance_id, origin)
        began_s = time.monotonic()

        async def look() -> str | None:
            session = await self._wishes.one(instance_id)
            _refuse_connected(session)
            code = await self._qr_codes.shown(session)
            if code is None:
                await self._check(instance_id)
                await self._check_hope(session, began_s, wait_s)
            return code

        code = await look()
        if code is None:
            await self._errands.post(instance_id, "qr", wait_s)
            code = await self._bells.until(f"qr:{instance_id}", look, wait_s)
        if code is None:
            raise TimedOut(f"No QR code came within {wait_s:g} s: {await self.known(instance_id)}")
        return code

    async def pairing_code(
        self, instance_id: str, phone: str, origin: Origin, wait_s: float
    ) -> str:
        """Return what is to be typed into the phone; an open breaker is reset before.

        Raises:
            GatewayFailed: WhatsApp gave none; in the words of the gateway's library.
            BreakerRefuses, Refused, SealBroken, TimedOut: as from `qr_code`.
        """
        await self._begin(instance_id, origin)
        began_s = time.monotonic()

        async def check() -> None:
            session = await self._wishes.one(instance_id)
            _refuse_connected(session)
            await self._check(instance_id)
            await self._check_hope(session, began_s, wait_s)

        answer = await self._errands.ask(
            instance_id, "pair", wait_s, Details(phone=phone), check=check
        )
        if answer is None:
            raise TimedOut(
                f"No pairing code came within {wait_s:g} s: {await self.known(instance_id)}"
            )
        if answer.error is not None or not answer.result:
            raise GatewayFailed(f"There is no pairing code: {answer.error or 'it came empty'}")
        return answer.result

    async def log_out(self, instance_id: str, origin: Origin, wait_s: float) -> Unlinked:
        """Have a session connected no more, and its device unlinked if it is connected now."""
        session = await self._wishes.one(instance_id)
        error = None
        connected = session.phase is Phase.CONNECTED
        if connected:
            answer = await self._errands.ask(instance_id, "log_out", wait_s)
            error = answer.error if answer else f"its gateway did not answer within {wait_s:g} s"
        await self._wishes.drop(instance_id, origin)
        return Unlinked(session.wanted, connected and error is None, error)

    async def known(self, instance_id: str) -> str:
        """Say in a sentence or two why a session may not be connected yet."""
        session = await self._wishes.one(instance_id)
        words = [f"{await self._whose(session)}."]
        snapshot = (await self._breaker.status(instance_id)).snapshot
        if snapshot.last_failure_kind and snapshot.last_failure_at_ms:
            ago_s = max(0, snapshot.now_ms - snapshot.last_failure_at_ms) // 1000
            detail = f": {snapshot.last_failure_detail}" if snapshot.last_failure_detail else ""
            words.append(
                f"Its last failure, {ago_s} s ago, was {snapshot.last_failure_kind}{detail}."
            )
        return " ".join(words)

    async def _begin(self, instance_id: str, origin: Origin) -> None:
        """Reset an open breaker, and have the session connected from now on.

        Raises:
            BreakerRefuses: the breaker refuses all the same.
            Refused: the session is connected already.
        """
        try:
            await self._breaker.reset(instance_id, origin, only_state=State.OPEN)
        except Refused:
            await self._check(instance_id)
            raise
        _refuse_connected(await self._wishes.want(instance_id, origin))
        await self._check(instance_id)

    async def _check(self, instance_id: str) -> None:
        """Raise BreakerRefuses if the session may not connect now."""
        refusal = refusal_of((await self._breaker.status(instance_id)).snapshot)
        if refusal is not None:
            raise refusal

    async def _check_hope(self, session: Session, began_s: float, wait_s: float) -> None:
        """Raise TimedOut where no gateway lives and none has begun to for a while."""
        waited_s = time.monotonic() - began_s
        if session.gateway is not None or waited_s < min(_NO_GATEWAY_S, wait_s):
            return
        if not await self._gateways.list_all():
            raise TimedOut(
                f"Nobody can connect {session.instance_id}: {await self._whose(session)}. "
                "Start one (`sekring gateway`)."
            )

    async def _whose(self, session: Session) -> str:
        if session.gateway is not None:
            detail = f" ({session.detail})" if session.detail else ""
            return f"the gateway {session.gateway} owns it, and it is {session.phase}{detail}"
        live = await self._gateways.list_all()
        if not live:
            return "no gateway lives"
        return f"none of the {len(live)} gateways that live owns it yet"


@contextlib.contextmanager
def _timed(waits: Histogram) -> Iterator[None]:
    """Take down how long a wait for a QR code takes, and how it ends."""
    began_s = time.perf_counter()
    result = "shown"
    try:
        yield
    except (BreakerRefuses, Refused):
        result = "refused"
        raise
    except TimedOut:
        result = "timed_out"
        raise
    except asyncio.CancelledError:
        result = "gone"
        raise
    except BaseException:
        result = "failed"
        raise
    finally:
        waits.record(time.perf_counter() - began_s, (result,), current())


def _refuse_connected(session: Session) -> None:
    if session.phase is Phase.CONNECTED:
        raise Refused(
            f"{session.instance_id} is already connected: it needs no new link to a phone.",
            "connected",
        )
