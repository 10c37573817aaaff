"""The guarded connect: permit, wait out the backoff, connect, tell the outcome, and again."""

import asyncio
import random
import time
from typing import Final

import structlog

from sekring.errors import DriverError, SekringError, ServiceUnavailable
from sekring.gateway.attempt import Attempt
from sekring.gateway.finishing import finish
from sekring.gateway.leases import Holding
from sekring.gateway.telemetry.attempts import AttemptTrace
from sekring.gateway.tools import Tools
from sekring.gateway.workers.messages import Connect
from sekring.model import Admission
from sekring.taxonomy import Kind
from sekring.wire import AttemptBody, OutcomeBody, Phase

__all__ = ["Session"]

#: A session that is refused asks again after this long at most, in seconds, and no sooner than:
_ASK_AGAIN_S: Final = 30.0
_ASK_LEAST_S: Final = 0.25

#: How long to wait for a service that does not answer, in seconds: at first, and at most.
_AWAY_FIRST_S: Final = 0.5
_AWAY_MOST_S: Final = 10.0

#: How long to wait after something that should not have happened, in seconds.
_TROUBLE_S: Final = 5.0

#: A connection is not begun with less of the lease left, in seconds.
_ROOM_S: Final = 1.0

#: How long an attempt that came to nothing waits for its report to be taken, in seconds.
_GIVE_UP_S: Final = 1.5

#: Added to waits by chance, as a part of them: sessions that were refused together ask apart.
_SPREAD: Final = 0.1

_log = structlog.get_logger(__name__)


class Session:
    """One session, as long as its lease is held here. Without an answer nothing is attempted."""

    def __init__(self, tools: Tools, holding: Holding) -> None:
        """Connect the session that `holding` is about."""
        self._tools = tools
        self._holding = holding
        self._name = holding.instance_id
        self._attempt: Attempt | None = None
        #: When it failed last (CLOCK_MONOTONIC, s), before when the next attempt is not to begin,
        #: and how many there were.
        self._failed_s: float | None = None
        self._not_before_s = 0.0
        self._number = 0
        self._unpaired = False
        #: Somebody wants it to go on now; the breaker was reset; a QR code is shown.
        self._woken = asyncio.Event()
        self._anew = asyncio.Event()
        self._shown = asyncio.Event()
        #: Whether the next permit is to come from Redis: somebody has just changed something, which
        #: the view of the replica that answers need not have yet.
        self._strong = False

    # ------------------------------------------------------------------- what others may ask

    def extend(self, until_s: float) -> None:
        """Take note that the lease lasts until then (CLOCK_MONOTONIC, s)."""
        if self._attempt is not None:
            self._attempt.extend(until_s)

    def wake(self, *, anew: bool = False) -> None:
        """Ask for a permit now, if it waits for one, or for somebody to want a QR code.

        `anew`: the breaker was reset, and with it the pace; so a permit is asked for again also
        where one is there already.
        """
        if self._attempt is None or not self._attempt.is_live:
            self._woken.set()
            if anew:
                self._anew.set()

    async def pair(self, phone: str) -> str:
        """Return a pairing code; raises `DriverError`. Waits for a connection that can pair."""
        if self._attempt is not None and self._attempt.is_connected:
            raise DriverError("The session is paired already.")
        self.wake()
        await self._shown.wait()
        if self._attempt is None:
            raise DriverError("The session is not connected.")
        return await self._attempt.connection.pair(phone)

    async def send(self, to: str, text: str) -> str:
        """Send a text; return the message's id. Raises `DriverError`."""
        return await self._connected().connection.send(to, text)

    async def log_out(self) -> None:
        """Unlink the device; raises `DriverError`."""
        await self._connected().log_out()

    async def say_still_connected(self) -> None:
        """Repeat the success of a connection that lasts."""
        if self._attempt is not None:
            await self._attempt.say_still_connected()

    def _connected(self) -> Attempt:
        if self._attempt is None or not self._attempt.is_connected:
            raise DriverError("The session is not connected.")
        return self._attempt

    # ------------------------------------------------------------------------------ its life

    async def run(self) -> None:
        """Connect again and again, at the pace that the service names, until cancelled."""
        while True:
            try:
                await self._go_round()
            except SekringError as error:
                _log.warning("session waits", instance_id=self._name, error=str(error))
                self._tell(Phase.WAITING, str(error))
            except Exception:  # noqa: BLE001 - it is told, and this session's alone
                _log.exception("session failed by an error of ours", instance_id=self._name)
                detail = "An error of the gateway itself; it is in its log."
                body = OutcomeBody(outcome="failure", kind=Kind.UNKNOWN, detail=detail)
                await self._tools.reports.send(self._name, body)
            else:
                continue
            await self._rest(self._woken, _TROUBLE_S)

    async def _go_round(self) -> None:
        if self._unpaired:
            self._tell(Phase.UNPAIRED)
            await self._woken.wait()
        await self._rest(self._woken, self._not_before_s - time.monotonic())
        admission, trace = await self._permitted()
        with trace.attempting():
            await self._attempt_now(admission, trace)

    async def _attempt_now(self, admission: Admission, trace: AttemptTrace) -> None:
        order = await self._prepared(admission, trace)
        if order is None:
            return
        # What was wanted until now is being done.
        self._woken.clear()
        self._shown.clear()
        attempt = Attempt(self._tools, self._holding, admission.attempt_id, self._shown, trace)
        self._attempt = attempt
        self._number += 1
        try:
            self._tell(Phase.CONNECTING)
            await attempt.run(order)
        finally:
            self._attempt = None
            self._shown.clear()
        self._failed_s, self._not_before_s = attempt.failed_s, attempt.not_before_s
        self._unpaired = attempt.unpaired

    async def _permitted(self) -> tuple[Admission, AttemptTrace]:
        """Ask until the service permits an attempt; each question begins a trace."""
        away_s = _AWAY_FIRST_S
        while True:
            body = AttemptBody(
                gateway=self._tools.gateway, build=self._tools.workers.build, strong=self._strong
            )
            trace = AttemptTrace(self._tools.telemetry.tracing, self._tools.gateway, self._name)
            try:
                with trace.asking():
                    admission = await self._tools.client.permit(self._name, body)
            except ServiceUnavailable as error:
                _log.debug("no answer to a permit", instance_id=self._name, error=str(error))
                await self._rest(self._woken, away_s)
                away_s = min(away_s * 2, _AWAY_MOST_S)
                continue
            self._strong = False
            trace.answered(admission)
            if admission.permitted:
                return admission, trace
            self._tell(Phase.WAITING, _refusal(admission))
            away_s = _AWAY_FIRST_S
            retry_s = _ASK_AGAIN_S
            if admission.retry_after_ms is not None:
                retry_s = min(admission.retry_after_ms / 1000, _ASK_AGAIN_S)
            await self._rest(self._woken, max(retry_s, _ASK_LEAST_S))

    async def _prepared(self, admission: Admission, trace: AttemptTrace) -> Connect | None:
        """Wait out the backoff; return what is to be done, `None` if the breaker was reset."""
        try:
            with trace.step("wait"):
                order = await self._order(admission)
        except BaseException:
            await finish(self._give_up(admission))
            raise
        if order is None:
            await self._give_up(admission)
        return order

    async def _order(self, admission: Admission) -> Connect | None:
        # What was waited since the failure counts: the pace is from attempt to attempt.
        since_s = time.monotonic() if self._failed_s is None else self._failed_s
        left_s = since_s + admission.backoff_ms / 1000 - time.monotonic()
        self._anew.clear()
        if left_s > 0 and await self._rest(self._anew, left_s):
            return None
        while self._holding.until_s - time.monotonic() < _ROOM_S:  # noqa: ASYNC110 - rare
            # Renewed in a moment, or this session is being ended.
            await asyncio.sleep(_ROOM_S / 10)
        return Connect(
            instance_id=self._name,
            token=self._holding.token,
            device_store=self._tools.devices.location(self._name),
            device=await self._tools.devices.device_of(self._name),
            proxy=self._tools.proxy,
            number=self._number,
            lease_until_s=self._holding.until_s,
        )

    async def _give_up(self, admission: Admission) -> None:
        """Have the service know that nothing comes of an attempt."""
        if self._holding.lost:
            return
        body = OutcomeBody(
            outcome="disconnected", attempt_id=admission.attempt_id, gateway=self._tools.gateway
        )
        # Dated no later than the lease: it must not end the next owner's attempt.
        at_s = self._holding.until_s
        await self._tools.reports.send(self._name, body, at_s=at_s, within_s=_GIVE_UP_S)

    async def _rest(self, until: asyncio.Event, seconds: float) -> bool:
        """Wait, and a little longer by chance; tell whether it was woken before."""
        seconds *= random.uniform(1, 1 + _SPREAD)  # noqa: S311 - no cryptography
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await until.wait()
        except TimeoutError:
            return False
        until.clear()
        self._strong = True
        return True

    def _tell(self, phase: Phase, detail: str | None = None) -> None:
        self._tools.phases.tell(self._holding, phase, detail=detail)


def _refusal(admission: Admission) -> str:
    cause = admission.cause or admission.state
    if admission.retry_after_ms is None:
        return f"Waits for a person: {cause}."
    return f"The breaker refuses: {cause}."
