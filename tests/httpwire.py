"""HTTP/1.1 by hand: for many clients at once, and for requests that no library would send."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

__all__ = ["Answer", "Connection", "raw_request", "send_raw"]


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def raw_request(
    method: str,
    path: str | bytes,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Return the bytes of a request; `Host` and `Content-Length` unless `headers` has them."""
    target = path.encode() if isinstance(path, str) else path
    given = {"Host": "localhost"} | ({} if body is None else {"Content-Length": str(len(body))})
    lines = [f"{name}: {value}" for name, value in (given | dict(headers or {})).items()]
    head = method.encode() + b" " + target + b" HTTP/1.1\r\n" + "\r\n".join(lines).encode()
    return head + b"\r\n\r\n" + (body or b"")


def send_raw(url: str, request: bytes, seconds: float = 30) -> Answer:
    """Send `request` on a connection of its own; return the answer."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), seconds) as sock:
        # Answered before the whole body was sent? What it said is to be read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(request)
        with sock.makefile("rb") as stream:
            status, headers = _head(iter(stream.readline, b""))
            length = headers.get("content-length")
            return Answer(status, headers, stream.read(-1 if length is None else int(length)))


class Connection:
    """One keep-alive connection of an asyncio client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use what `open` has connected."""
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect to a port of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> Answer:
        """Send a request and read its answer; raises `OSError` or `EOFError` if it breaks."""
        self._writer.write(request)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).splitlines(keepends=True)
        status, headers = _head(iter(lines))
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(status, headers, body)

    async def send(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def closed(self) -> bool:
        """Wait for the next byte or the end; tell whether it was the end."""
        return await self._reader.read(1) == b""

    def cut(self) -> None:
        """Break the connection at once, with a reset."""
        self._writer.transport.abort()


def _head(lines: Any) -> tuple[int, dict[str, str]]:
    status = int(next(lines).split()[1])
    headers = {}
    for line in lines:
        if line in {b"\r\n", b"\n"}:
            break
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return status, headers
