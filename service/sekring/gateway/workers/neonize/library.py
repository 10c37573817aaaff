"""neonize itself: the only module that imports it, and works around what it does to a process.

Each of these ends or freezes the process, or tells secrets, if it is not minded:

* a client that is garbage-collected stops whoever has its uuid: its finalizer is taken off;
* `stop()` takes the client out of Go's maps while a dial or a QR code's loop may still look it up
  there, which is a nil dereference: sessions call it only once `dialled` was heard;
* Go's maps have no lock: clients are started and stopped one after the other (`lock`);
* cancelling the connect task calls Go on the event loop: it is never cancelled, only waited for;
* Go calls back after the end as well: what it calls is kept as long as the process;
* Go's log holds QR codes at DEBUG and goes to Python's root logger: each client gets its own log,
  which says whose line it is, and ends here.
"""

import asyncio
import contextlib
import ctypes
import importlib
import importlib.metadata
import logging
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from sekring.gateway.workers.neonize.events import HEARD
from sekring.gateway.workers.neonize.jids import Jid

__all__ = ["NOWHERE", "Client", "Ears", "Library"]

#: Where nobody ever listens. As the proxy of a connection that is made it has no effect, but
#: whatsmeow's own reconnecting, which cannot be switched off, fails there at once.
NOWHERE: Final = "127.0.0.1:0"

#: A client is in Go's maps after so many seconds; there is no sign of it.
_ENTRY_S: Final = 0.2

#: The code under which neonize tells who the device is, once its loop of events runs.
_ME: Final = 0


class Ears(Protocol):
    """What a session hears; called on the event loop."""

    def dialled(self) -> None:
        """Take note that the loop of events runs: the client can be stopped."""
        ...

    def heard_log(self, text: str) -> None:
        """Take note of a line of whatsmeow's log, INFO or above."""
        ...

    def heard_login(self, status: str) -> None:
        """Take note of what became of the pairing."""
        ...

    def heard_code(self, code: str) -> None:
        """Show a QR code."""
        ...

    def heard_event(self, message: Any) -> None:  # noqa: ANN401 - a protobuf message
        """Take note of an event of those in `HEARD`."""
        ...


class Library:
    """neonize, imported: 0.3 s, 50 MB and some threads. Once a process, never in the supervisor."""

    def __init__(self) -> None:
        """Import it, and keep it from configuring the process's logging."""
        root, nothing = logging.getLogger(), logging.NullHandler()
        root.addHandler(nothing)
        self._aioze: Any = importlib.import_module("neonize.aioze.client")
        self._events = importlib.import_module("neonize.aioze.events")
        self._proto = importlib.import_module("neonize.proto.Neonize_pb2")
        self._e2e = importlib.import_module("neonize.proto.waE2E.WAWebProtobufsE2E_pb2")
        #: Base of all errors of neonize.
        self.error: type[Exception] = importlib.import_module("neonize.exc").NeonizeError
        root.removeHandler(nothing)
        # Go logs from the level of this logger on.
        logging.getLogger("neonize.utils.log").setLevel(logging.INFO)
        # It wants to say that there is no ffmpeg, which only media would need.
        logging.getLogger("neonize.utils.ffmpeg").setLevel(logging.ERROR)
        self.version = importlib.metadata.version("neonize")
        #: Held while a client is put into Go's maps, or taken out; at most for `_ENTRY_S`, for a
        #: hanging dial is never over.
        self.lock = asyncio.Lock()
        self._kept: list[Any] = []

    def client(self, store: str, device: Jid | None, ears: Ears) -> "Client":
        """Make a client; nothing is dialled yet."""
        return Client(self, store, device, ears)

    # The client's part of it: names of neonize in here, and nowhere else.

    def make(self, store: str, device: Jid | None) -> Any:  # noqa: ANN401 - neonize is untyped
        """Make neonize's own client with a uuid that no other had."""
        made = self._aioze.NewAClient(store, uuid=uuid.uuid4().hex, new_device=device is None)
        made._stop_finalizer.detach()  # noqa: SLF001 - it would stop a successor
        self._kept.append(made)
        if device is not None:
            # Given to the constructor, it would take the place of the uuid.
            made.jid = self.jid(device)
        return made

    def jid(self, jid: Jid) -> Any:  # noqa: ANN401
        """Return a JID as neonize wants it."""
        return self._proto.JID(
            User=jid.user,
            Device=jid.device,
            Server=jid.server,
            RawAgent=jid.agent,
            Integrator=0,
            IsEmpty=False,
        )

    def text(self, text: str) -> Any:  # noqa: ANN401
        """Return a text message. Given a plain string, neonize would look for mentions in it."""
        return self._e2e.Message(conversation=text)

    def proxy(self, url: str) -> Any:  # noqa: ANN401
        """Return a proxy as neonize wants it."""
        return self._aioze.ProxySettings(url)

    def event(self, name: str) -> Any:  # noqa: ANN401
        """Return the class of an event."""
        return getattr(self._proto, name)

    def log_line(self, address: int, size: int) -> Any:  # noqa: ANN401
        """Read a line of Go's log."""
        return self._proto.LogEntry.FromString(ctypes.string_at(address, size))

    @contextlib.contextmanager
    def logging_to(self, log: Callable[[int, int], None]) -> Iterator[None]:
        """Have the client that connects meanwhile log to `log`; nothing else may run meanwhile."""
        usual = self._aioze.log_whatsmeow
        self._aioze.log_whatsmeow = log
        try:
            yield
        finally:
            self._aioze.log_whatsmeow = usual


class Client:
    """One client of neonize, for one connection."""

    def __init__(self, library: Library, store: str, device: Jid | None, ears: Ears) -> None:
        """Register everything that is to be heard: what comes after `connect` is not."""
        self._library = library
        self._ears = ears
        self._loop = asyncio.get_running_loop()
        self._neonize = library.make(store, device)
        self._execute = self._neonize.event.execute
        self._neonize.event.execute = self._executed
        # Private to neonize's class, and the only sign that a pairing will not come.
        self._neonize._NewAClient__onLoginStatus = self._login_status  # noqa: SLF001
        self._neonize.event.qr(self._code)
        for name in HEARD:
            self._neonize.event(library.event(name))(self._event)

    async def connect(
        self, proxy: str | None, wanted: Callable[[], bool]
    ) -> "asyncio.Task[None] | None":
        """Begin to dial when it is this client's turn, if it is still wanted then.

        The task ends with the connection, and must never be cancelled.
        """
        settings = self._library.proxy(proxy) if proxy else None
        async with self._library.lock:
            if not wanted():
                return None
            with self._library.logging_to(self._log):
                task: asyncio.Task[None] = await self._neonize.connect(settings)
            await asyncio.wait({task}, timeout=_ENTRY_S)
        return task

    async def bar_reconnects(self) -> None:
        """Let whatsmeow's own reconnecting fail, from the dial's end on; not before a pairing's."""
        await self._neonize.set_proxy_address(f"http://{NOWHERE}", no_media=True)

    async def disconnect(self) -> None:
        """End the connection, and leave the client in Go's maps; waits for a dial under way."""
        await self._neonize.disconnect()

    async def stop(self) -> None:
        """End the connection and the task; waits for a dial under way."""
        async with self._library.lock:
            stopping = asyncio.ensure_future(self._neonize.stop())
            await asyncio.wait({stopping}, timeout=_ENTRY_S)
        await stopping

    async def pair(self, phone: str) -> str:
        """Ask for a pairing code; the QR code must have been shown."""
        return str(await self._neonize.PairPhone(phone, True))  # noqa: FBT003 - neonize's own

    async def send(self, to: Jid, text: str) -> str:
        """Send a text; return the message's id."""
        sent = await self._neonize.send_message(self._library.jid(to), self._library.text(text))
        return str(sent.ID)

    async def log_out(self) -> None:
        """Unlink the device, and end the connection; no event comes."""
        await self._neonize.logout()

    # ------------------------------------------------------------- called by Go, from any thread

    def _executed(self, uuid: int, address: int, size: int, code: int) -> None:
        self._execute(uuid, address, size, code)
        if code == _ME:
            self._later(self._ears.dialled)

    def _login_status(self, _uuid: int, address: int) -> None:
        status = ctypes.string_at(address).decode(errors="replace")
        self._later(self._ears.heard_login, status)

    def _log(self, address: int, size: int) -> None:
        if address and size > 0:
            self._later(self._ears.heard_log, str(self._library.log_line(address, size).Message))

    def _later(self, what: Callable[..., None], *arguments: str) -> None:
        # In two steps, as neonize's coroutines get there: what Go said first comes first.
        # The loop may be closed: nobody wants to know any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.call_soon, what, *arguments)

    # ------------------------------------------------- run by neonize on the loop, as coroutines

    async def _code(self, _client: object, code: bytes) -> None:
        self._ears.heard_code(code.decode())

    async def _event(self, _client: object, message: Any) -> None:  # noqa: ANN401
        self._ears.heard_event(message)
