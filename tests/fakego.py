"""What is behind neonize, played by a test: its real Python side, without Go.

A `Play` gets a `Voice` and tells through the very callbacks that Go would call, from a thread of
its own. `Neonize` returns what the play returns: an error's text, or nothing.
"""

import ctypes
import gc
import importlib
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from sekring.gateway.workers.neonize.library import Library

__all__ = ["FakeGo", "Play", "Voice", "load_library"]

Play = Callable[["Voice"], str | None]


def load_library() -> Library:
    """Import neonize without its Go part, which this process shall not have."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("SPHINX", "1")
        # One of its dependencies leaves a pipe unclosed while it is imported.
        warnings.simplefilter("ignore", ResourceWarning)
        library = Library()
        gc.collect()
    return library


class Voice:
    """One client's connection, as Go sees it."""

    def __init__(self, go: "FakeGo", uuid: bytes, callbacks: tuple[Any, ...]) -> None:
        """Speak through the callbacks that neonize passed on."""
        self.go = go
        self.uuid = uuid
        self._qr, self._login, self._event, self._log, self._heard = callbacks
        self._proto = importlib.import_module("neonize.proto.Neonize_pb2")
        self._numbers = importlib.import_module("neonize.events").EVENT_TO_INT

    def message(self, name: str, **fields: Any) -> Any:
        """Make a protobuf message; its required fields may be missing."""
        return getattr(self._proto, name)(**fields)

    def connected(self) -> None:
        """Be logged in: the loop of events runs."""
        self.runs()
        self.tell("Connected", status=True)

    def runs(self) -> None:
        """Say who the device is, as Go does when its loop of events begins."""
        self._send(self.message("Device"), 0)

    def tell(self, name: str, **fields: Any) -> None:
        """Tell of an event, if somebody listens."""
        message = self.message(name, **fields)
        number = self._numbers[type(message)]
        if number in self._heard:
            self._send(message, number)

    def log(self, text: str, level: str = "WARN") -> None:
        """Write a line of whatsmeow's log."""
        data = self.message("LogEntry", Message=text, Level=level, Name="Client")
        encoded = data.SerializeToString()
        self._log(_address(ctypes.create_string_buffer(encoded)), len(encoded))

    def qr(self, code: str) -> None:
        """Show a QR code."""
        self._qr(None, _address(ctypes.create_string_buffer(code.encode())))

    def login(self, status: str) -> None:
        """Tell what became of the pairing."""
        self._login(None, _address(ctypes.create_string_buffer(status.encode())))

    def until_stopped(self) -> None:
        """Go on until the client is stopped."""
        assert self.go.stopped.wait(20), "nobody stopped the client"

    def _send(self, message: Any, number: int) -> None:
        encoded = message.SerializePartialToString()
        address = _address(ctypes.create_string_buffer(encoded))
        self._event(self.uuid, address, len(encoded), number)


def _address(data: Any) -> Any:
    return ctypes.cast(data, ctypes.c_void_p)


class FakeGo:
    """The functions of the Go library that the driver calls, by Go's names."""

    def __init__(self, play: Play) -> None:
        """Play every connection alike."""
        self._play = play
        self._proto = importlib.import_module("neonize.proto.Neonize_pb2")
        self.stopped = threading.Event()
        #: What was called, in order.
        self.calls: list[str] = []
        self.uuids: list[bytes] = []
        self.stores: list[str] = []
        self.jids: list[Any] = []
        #: Each with whether media take it as well.
        self.proxies: list[tuple[str, bool]] = []
        self.log_levels: list[str] = []
        self.sent: list[tuple[Any, Any]] = []
        self.refusal = ""

    def Neonize(self, db: bytes, uuid: bytes, jid: bytes, _size: int, *rest: Any) -> bytes:  # noqa: N802
        """Connect, and return when the connection has ended."""
        _new, level, qr, login, event, log, heard, *_ = rest
        self.calls.append("Neonize")
        self.uuids.append(uuid)
        self.log_levels.append(level.decode())
        self.stores.append(db.decode())
        self.jids.append(self._proto.JID.FromString(jid) if jid else None)
        error = self._play(Voice(self, uuid, (qr, login, event, log, set(bytes(heard)))))
        return (error or "").encode()

    def Stop(self, _uuid: bytes) -> None:  # noqa: N802
        """Disconnect, and forget the client."""
        self.calls.append("Stop")
        self.stopped.set()

    def Disconnect(self, _uuid: bytes) -> None:  # noqa: N802
        """Disconnect."""
        self.calls.append("Disconnect")
        self.stopped.set()

    def SetProxyAddress(self, _uuid: bytes, settings: Any) -> bytes:  # noqa: N802
        """Take a proxy for the dials to come."""
        self.calls.append("SetProxyAddress")
        proxy = settings._obj
        self.proxies.append((proxy.proxyAddress.decode(), not proxy.noMedia))
        return b""

    def PairPhone(self, _uuid: bytes, _data: bytes, _size: int) -> bytes:  # noqa: N802
        """Return a pairing code, or refuse."""
        self.calls.append("PairPhone")
        return self._answer("PairPhoneReturnFunction", Code="ABCD-EFGH")

    def SendMessage(  # noqa: N802
        self, _uuid: bytes, to: bytes, _to: int, message: bytes, _size: int
    ) -> bytes:
        """Send a message, or refuse."""
        self.calls.append("SendMessage")
        e2e = importlib.import_module("neonize.proto.waE2E.WAWebProtobufsE2E_pb2")
        self.sent.append((self._proto.JID.FromString(to), e2e.Message.FromString(message)))
        sent = self._proto.SendResponse(ID="3EB0C0FFEE", Timestamp=1)
        return self._answer("SendMessageReturnFunction", SendResponse=sent)

    def Logout(self, _uuid: bytes) -> bytes:  # noqa: N802
        """Unlink the device, or refuse."""
        self.calls.append("Logout")
        return self.refusal.encode()

    def _answer(self, name: str, **fields: Any) -> bytes:
        answer = getattr(self._proto, name)(**({"Error": self.refusal} if self.refusal else fields))
        return bytes(answer.SerializePartialToString())
