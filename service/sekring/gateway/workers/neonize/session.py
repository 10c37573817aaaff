"""One connection of one session by neonize, from the dial to its last sign of life."""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from typing import Any, Final, TypeVar

from sekring.errors import DriverError
from sekring.gateway.workers.driver import Tell
from sekring.gateway.workers.messages import Connect, Connected, KeepAlive, Paired, QrShown
from sekring.gateway.workers.neonize.cause import Cause
from sekring.gateway.workers.neonize.codes import ShownCodes
from sekring.gateway.workers.neonize.events import DISCONNECTED, cause_of
from sekring.gateway.workers.neonize.jids import Jid
from sekring.gateway.workers.neonize.library import NOWHERE, Client, Library
from sekring.gateway.workers.neonize.store import lacks_device, store_name
from sekring.gateway.workers.neonize.words import (
    classified,
    heard_in_log,
    is_redial,
    login_cause,
)
from sekring.taxonomy import Kind

__all__ = ["NeonizeSession"]

#: How long an event may take that says more than the log did before it.
_EVENT_S: Final = 1.0

#: How long a question to WhatsApp may take.
_ASK_S: Final = 60.0

_T = TypeVar("_T")


class NeonizeSession:
    """A `DrivenSession`. Everything in here runs on the event loop.

    The first failure is told, and the connection stopped: whatsmeow would reconnect by itself, and
    only the supervisor may start another. A dial that hangs cannot be stopped by anyone: `run` then
    does not return, and the supervisor ends the process. A thread of neonize stays behind once a QR
    code was shown, without any connection; it goes with the process.
    """

    def __init__(self, library: Library, order: Connect, tell: Tell) -> None:
        """Prepare a connection."""
        self._library = library
        self._order = order
        self._tell = tell
        self._client: Client | None = None
        self._device = order.device
        #: The library's loop of events runs: `stop` is safe from then on.
        self._dialled = asyncio.Event()
        #: The dial is over, and a pairing goes on.
        self._pairing = asyncio.Event()
        #: There is nothing to wait for any more: it failed, or is to stop.
        self._over = asyncio.Event()
        #: What the log said, until an event says it better.
        self._suspected: Cause | None = None
        self._connected = False
        self._healthy = True
        self._codes = ShownCodes()
        #: Under way, kept so that they are not collected.
        self._barring: asyncio.Task[None] | None = None

    @property
    def _id(self) -> str:
        return self._order.instance_id

    # ------------------------------------------------------------------------------ DrivenSession

    async def run(self) -> None:
        """Connect, and tell of events until the connection has ended."""
        try:
            device = self._device_in_store()
        except DriverError as error:
            self._fail(Cause(kind=Kind.UNKNOWN, detail=str(error)))
            return
        if self._over.is_set():
            return
        self._client = self._library.client(store_name(self._order.device_store), device, self)
        task = await self._client.connect(self._order.proxy, lambda: not self._over.is_set())
        if task is None:
            return
        await _first_of(task, self._over.wait())
        if task.done() and not self._over.is_set():
            self._fail(self._end_of(task))
        await self._hang_up(self._client, task)

    async def stop(self) -> None:
        """Have `run` end soon, unless a dial hangs."""
        self._over.set()

    async def pair(self, phone: str) -> str:
        """Return a pairing code for the phone; raises `DriverError`."""
        if self._device or self._connected:
            raise DriverError("The session is paired already; log it out before pairing anew.")
        await self._asked(_first_of(self._pairing.wait(), self._over.wait()))
        return await self._asked(self._live().pair(phone))

    async def send(self, to: str, text: str) -> str:
        """Send a text; return the message's id. Raises `DriverError`."""
        recipient = Jid.recipient(to)
        if not self._connected:
            raise DriverError("The session is not connected; nothing was sent.")
        return await self._asked(self._live().send(recipient, text))

    async def log_out(self) -> None:
        """Unlink the device; the connection then ends. Raises `DriverError`."""
        if not self._connected:
            raise DriverError("The session is not connected: WhatsApp cannot be told.")
        await self._asked(self._live().log_out())
        self._over.set()

    # --------------------------------------------------------------------------------------- Ears

    def dialled(self) -> None:
        """Take note that the library's loop of events runs."""
        self._dialled.set()
        if self._order.device:
            # No further dial is wanted. After a pairing there is one more, to log in.
            self._bar_reconnects()

    def heard_log(self, text: str) -> None:
        """Suspect what whatsmeow's log says, until an event says more, or none comes."""
        cause = heard_in_log(text)
        if cause is None or self._over.is_set():
            return
        if self._device is None:
            # The server has spoken, and what would say so otherwise may never come.
            self._pairing.set()
        if not is_redial(text):
            self._suspect(cause)
        elif NOWHERE in text:
            # It may be heard before the `Disconnected` to which it belongs.
            self._fail(self._suspected or DISCONNECTED)
        else:
            self._fail(cause)

    def heard_login(self, status: str) -> None:
        """Fail if there will be no pairing."""
        self._pairing.set()
        if cause := login_cause(status):
            if status == "timeout" and not self._codes.one_went_unscanned:
                # The server's good-bye gives the same status.
                cause = Cause(kind=Kind.DISCONNECTED, detail="The server closed it while pairing.")
            self._fail(self._suspected or cause)

    def heard_code(self, code: str) -> None:
        """Show a QR code."""
        self._pairing.set()
        if not self._over.is_set():
            lasts_ms = self._codes.next_lasts_s() * 1000
            self._tell(QrShown(instance_id=self._id, code=code, expires_in_ms=lasts_ms))

    def heard_event(self, message: Any) -> None:  # noqa: ANN401 - a protobuf message has no types
        """Tell of an event, or fail by it."""
        if self._over.is_set():
            return
        name = message.DESCRIPTOR.name
        if cause := cause_of(message):
            # The server closes what it has refused: the log said why.
            closed = name == "Disconnected" and self._suspected
            self._fail(closed or cause)
        elif name == "Connected":
            self._is_connected()
        elif name == "PairStatus":
            jid = message.ID
            self._device = str(Jid(jid.User, jid.Server, jid.Device, jid.RawAgent))
            self._tell(Paired(instance_id=self._id, device=self._device))
        else:
            self._keep_alive(healthy=name == "KeepAliveRestored")

    # ------------------------------------------------------------------------------------ the rest

    def _device_in_store(self) -> Jid | None:
        """Return the session's device, `None` if it has none; fails where the store lacks it."""
        if self._order.device is None:
            return None
        device = Jid.parse(self._order.device)
        if lacks_device(self._order.device_store, device):
            detail = f"The device store has no {device}: the session is to be paired anew."
            self._fail(Cause(kind=Kind.PAIRING, detail=detail))
        return device

    def _is_connected(self) -> None:
        if not self._connected:
            self._connected = True
            self._tell(Connected(instance_id=self._id, device=self._device))
            self._bar_reconnects()

    def _bar_reconnects(self) -> None:
        if self._barring is None and not self._over.is_set():
            loop = asyncio.get_running_loop()
            self._barring = loop.create_task(self._lead_nowhere(self._live()))

    async def _lead_nowhere(self, client: Client) -> None:
        try:
            await client.bar_reconnects()
        except self._library.error as error:
            # The connection is well, and will be stopped at its first failure all the same.
            logging.getLogger(__name__).warning("%s: reconnects not barred: %s", self._id, error)

    def _keep_alive(self, *, healthy: bool) -> None:
        if healthy is not self._healthy:
            self._healthy = healthy
            self._tell(KeepAlive(instance_id=self._id, healthy=healthy))

    def _suspect(self, cause: Cause) -> None:
        self._suspected = cause
        asyncio.get_running_loop().call_later(_EVENT_S, self._fail, cause)

    def _fail(self, cause: Cause) -> None:
        """Tell of the first failure, and have the connection stopped."""
        if not self._over.is_set():
            self._over.set()
            self._tell(cause.failed(self._id))

    def _end_of(self, task: "asyncio.Task[None]") -> Cause:
        """Return why the library's task has ended by itself."""
        error = task.exception()
        if error is None:
            return Cause(kind=Kind.DISCONNECTED, detail="neonize ended the connection by itself.")
        # An event that neonize cannot encode ends its task as well; the log had more of it.
        return self._suspected or classified(str(error))

    async def _hang_up(self, client: Client, task: "asyncio.Task[None]") -> None:
        """Leave nothing of the connection; takes as long as a dial that hangs."""
        await _first_of(task, self._dialled.wait(), self._pairing.wait())
        if self._barring:
            # It looks the client up in Go's maps, from which `stop` takes it.
            await asyncio.wait({self._barring})
        if self._dialled.is_set() or task.done():
            await client.stop()
            await asyncio.wait({task})
            # Looked at, so that nobody complains that nobody did.
            task.exception()
        else:
            # Its loop of QR codes never ends, and would miss a client that was stopped.
            await client.disconnect()

    def _live(self) -> Client:
        if self._client is None or self._over.is_set():
            raise DriverError("The connection has ended.")
        return self._client

    async def _asked(self, question: Awaitable[_T]) -> _T:
        """Ask the library within the time that there is; raises `DriverError`."""
        try:
            async with asyncio.timeout(_ASK_S):
                return await question
        except TimeoutError:
            raise DriverError(f"WhatsApp did not answer within {_ASK_S:.0f} s.") from None
        except self._library.error as error:
            raise DriverError(str(error)) from error


async def _first_of(*waits: "asyncio.Task[None] | Coroutine[Any, Any, object]") -> None:
    """Wait for whatever comes first. Tasks are only watched, never cancelled."""
    own = {asyncio.ensure_future(wait) for wait in waits if not isinstance(wait, asyncio.Task)}
    watched = {wait for wait in waits if isinstance(wait, asyncio.Task)}
    try:
        await asyncio.wait(own | watched, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in own:
            task.cancel()
