"""One permitted connect of a session: what its connection tells, and who is told of that."""

import asyncio
import time
from typing import Final

import structlog

from sekring.errors import DriverError, SekringError
from sekring.gateway.finishing import finish
from sekring.gateway.leases import Holding
from sekring.gateway.outcome import kind_of, outcome_of
from sekring.gateway.telemetry.attempts import AttemptTrace
from sekring.gateway.tools import Tools
from sekring.gateway.workers.connection import Connection
from sekring.gateway.workers.messages import (
    Connect,
    Connected,
    Event,
    Failed,
    KeepAlive,
    Paired,
    QrShown,
)
from sekring.model import REFUSING, Verdict
from sekring.taxonomy import Kind
from sekring.wire import OutcomeBody, Phase, QrBody

__all__ = ["Attempt"]

#: How long the end of a connection waits for its report to be taken, in seconds; then that is kept.
_LAST_REPORT_S: Final = 1.5

#: How often the service is asked who owns a session that was replaced, in seconds.
_ASK_AGAIN_S: Final = 1.0

#: The longest life of a QR code that the service takes, in ms.
_QR_MAX_MS: Final = 300_000

_log = structlog.get_logger(__name__)


class Attempt:
    """`run` once. Whatever happens, nothing of the connection is left when that returns or raises.

    The outcome is reported before the lease can be given back, or kept with its age: what is
    reported late cannot end the connection of the next owner.
    """

    def __init__(
        self,
        tools: Tools,
        holding: Holding,
        attempt_id: str | None,
        shown: asyncio.Event,
        trace: AttemptTrace,
    ) -> None:
        """Report under `attempt_id` until the connection is made; set `shown` at a QR code."""
        self._tools = tools
        self._holding = holding
        self._name = holding.instance_id
        self._attempt_id = attempt_id
        self._connection: Connection | None = None
        self._device: str | None = None
        self._shown = shown
        self._trace = trace
        self._connected = False
        self._paired = False
        #: It ends because we want it to, or because its device is unlinked.
        self._on_purpose = False
        self._logging_out = False
        #: Nothing (more) is to be reported.
        self._settled = False
        self._fault = "The connection ended without saying why."
        #: When it failed (CLOCK_MONOTONIC, s), and before when the next is not to begin.
        self.failed_s: float | None = None
        self.not_before_s = 0.0
        #: It is paired with no phone, and nobody scanned its QR codes.
        self.unpaired = False

    @property
    def is_live(self) -> bool:
        """Whether it is connecting, pairing or connected."""
        return self._connection is not None and not self._settled

    @property
    def is_connected(self) -> bool:
        """Whether it is logged in."""
        return self._connected and self.is_live

    @property
    def connection(self) -> Connection:
        """The connection; raises `DriverError` if there is none."""
        if self._connection is None or self._settled:
            raise DriverError("The session is not connected.")
        return self._connection

    def extend(self, until_s: float) -> None:
        """Let the connection last until then (CLOCK_MONOTONIC, s)."""
        if self._connection is not None:
            self._connection.extend(until_s)

    async def log_out(self) -> None:
        """Unlink the device; its connection then ends as it should. Raises `DriverError`."""
        connection, self._logging_out = self.connection, True
        try:
            await connection.log_out()
        except DriverError:
            self._logging_out = False
            raise

    async def run(self, order: Connect) -> None:
        """Connect, and return when the connection has ended; cancelled, end it.

        A fault of ours or of the worker is this session's failure of unknown kind.
        """
        self._device = order.device
        self._trace.dial()
        connection = self._connection = self._tools.workers.connect(order)
        try:
            async for event in connection.events():
                with self._trace.on_behalf():
                    await self._take(event)
        except asyncio.CancelledError:
            self._on_purpose = True
            raise
        except Exception as error:  # noqa: BLE001 - it is told, and this session's alone
            self._fault = f"An error of the gateway itself ({type(error).__name__}; see its log)."
            _log.exception("session failed by an error of ours", instance_id=self._name)
        finally:
            with self._trace.on_behalf():
                await finish(self._close(connection))

    # ------------------------------------------------------------------------------- events

    async def _take(self, event: Event) -> None:
        if self._holding.is_over(time.monotonic()):
            # Told late, to a gateway that was frozen perhaps: another one may be the owner by now.
            return
        match event:
            case QrShown():
                await self._show(event)
            case Paired():
                self._paired = True
                _log.info("session paired", instance_id=self._name)
                await self._bind(event.device)
            case Connected():
                await self._connect(event)
            case KeepAlive():
                words = None if event.healthy else "The keep-alive of the connection times out."
                self._tell(Phase.CONNECTED, words)
            case Failed():
                await self._fail(event)
            case _:
                pass  # `Ended` ends the iteration, the others do not reach this far

    async def _show(self, event: QrShown) -> None:
        body = QrBody(
            gateway=self._tools.gateway,
            token=self._holding.token,
            code=event.code,
            expires_in_ms=min(max(1, event.expires_in_ms), _QR_MAX_MS),
        )
        try:
            await self._tools.client.put_qr(self._name, body)
        except SekringError as error:
            _log.warning("qr code not told", instance_id=self._name, error=str(error))
        self._tell(Phase.PAIRING)
        self._shown.set()

    async def _connect(self, event: Connected) -> None:
        self._connected = self._holding.connected = True
        self._trace.connected()
        self._tools.telemetry.metrics.attempt_ended("connected", self._trace)
        if event.device is not None and event.device != self._device:
            await self._bind(event.device)
        _log.info("session connected", instance_id=self._name)
        self._tell(Phase.CONNECTED)
        await self._tools.reports.send(
            self._name,
            OutcomeBody(
                outcome="success", attempt_id=self._attempt_id, gateway=self._tools.gateway
            ),
        )
        self._trace.lasts()

    async def say_still_connected(self) -> None:
        """Repeat the success of a connection that lasts, so that it is not taken for gone."""
        if self.is_connected:
            # Without the attempt: its epoch may be over, and that is no fault of a live connection.
            body = OutcomeBody(outcome="success", gateway=self._tools.gateway)
            await self._tools.reports.send(self._name, body)

    async def _fail(self, failed: Failed) -> None:
        if self._settled or self._on_purpose or self._logging_out:
            return
        self._settled = True
        self.failed_s = time.monotonic()
        self._holding.connected = False
        self._note_failure(kind_of(failed), failed.detail)
        with self._trace.on_behalf():
            await self._report_failure(failed)

    def _note_failure(self, kind: Kind, detail: str) -> None:
        """Take note for traces and metrics; an attempt fails only until it is connected."""
        self._trace.failed(kind, detail)
        if not self._connected:
            self._tools.telemetry.metrics.attempt_ended(str(kind), self._trace)

    async def _report_failure(self, failed: Failed) -> None:
        kind = kind_of(failed)
        _log.warning("session failed", instance_id=self._name, kind=str(kind), detail=failed.detail)
        self._tell(Phase.WAITING, f"{kind}: {failed.detail}")
        if kind is Kind.CONFLICT and not await self._owns_it():
            return
        body = outcome_of(
            failed,
            # The end of a live connection is not the attempt's outcome: that was a success.
            attempt_id=None if self._connected else self._attempt_id,
            gateway=self._tools.gateway,
            build=self._tools.workers.build,
        )
        self._keep_pace(await self._tools.reports.send(self._name, body))
        if kind is Kind.LOGGED_OUT:
            await self._forget_device()
        was_paired = self._paired or self._device is not None
        self.unpaired = kind is Kind.PAIRING and not was_paired

    async def _owns_it(self) -> bool:
        """Tell whether another connection replaced ours although the session is ours.

        Where it is not, or where that is not known until our lease is over, ours ends silently.
        """
        if self._connection is not None:
            await self._connection.stop()
        while True:
            try:
                return await self._tools.still_held(self._holding)
            except SekringError as error:
                _log.debug("owner not known", instance_id=self._name, error=str(error))
            await asyncio.sleep(_ASK_AGAIN_S)

    def _keep_pace(self, verdict: Verdict | None) -> None:
        if verdict is None or verdict.state in REFUSING or self.failed_s is None:
            return
        self.not_before_s = self.failed_s + (verdict.retry_after_ms or 0) / 1000

    # ---------------------------------------------------------------------------- its end

    async def _close(self, connection: Connection) -> None:
        await connection.stop()
        self._holding.connected = False
        settled, self._settled = self._settled, True
        self._connection = None
        if self._logging_out:
            self.unpaired = True
            await self._forget_device()
        if settled or self._holding.lost:
            return
        attempt_id = None if self._connected else self._attempt_id
        gateway = self._tools.gateway
        # At the end of its lease a worker ends a connection by itself.
        is_over = self._holding.is_over(time.monotonic())
        if self._on_purpose or self._logging_out or is_over:
            body = OutcomeBody(outcome="disconnected", attempt_id=attempt_id, gateway=gateway)
            # Dated no later than the lease: it must not end the next owner's connection.
            await self._tools.reports.send(
                self._name, body, at_s=self._holding.until_s, within_s=_LAST_REPORT_S
            )
            return
        self.failed_s = time.monotonic()
        failed = Failed(instance_id=self._name, kind=Kind.UNKNOWN, detail=self._fault)
        build = self._tools.workers.build
        body = outcome_of(failed, attempt_id=attempt_id, gateway=gateway, build=build)
        self._note_failure(Kind.UNKNOWN, self._fault)
        with self._trace.on_behalf():
            self._keep_pace(await self._tools.reports.send(self._name, body))
        self._tell(Phase.WAITING, self._fault)

    # ------------------------------------------------------------------------------ devices

    async def _bind(self, device: str) -> None:
        try:
            await self._tools.devices.bind(self._name, device)
        except SekringError as error:
            # When it is connected this is tried again.
            _log.error("device not remembered", instance_id=self._name, error=str(error))
        else:
            self._device = device

    async def _forget_device(self) -> None:
        try:
            await self._tools.devices.forget(self._name)
        except SekringError as error:
            _log.error("device not forgotten", instance_id=self._name, error=str(error))

    def _tell(self, phase: Phase, detail: str | None = None) -> None:
        self._tools.phases.tell(self._holding, phase, device=self._device, detail=detail)
