"""Server-Sent Events (WHATWG HTML, section 9.2), read from the bytes of a response."""

from collections.abc import AsyncGenerator, AsyncIterator

from msgspec import Struct

__all__ = ["ServerSent", "read_events"]


class ServerSent(Struct, frozen=True):
    """One event; without data it only tells from where to resume."""

    event: str
    data: bytes
    #: The last id that the stream gave, with this event or before.
    last_id: str | None


async def read_events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[ServerSent, None]:
    """Yield events as they come; what the end cuts off is dropped."""
    last_id: str | None = None
    event, data = "message", list[bytes]()
    async for line in _lines(chunks):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if line == b"":
            yield ServerSent(event, b"\n".join(data), last_id)
            event, data = "message", []
        elif name == b"data":
            data.append(value)
        elif name == b"event":
            event = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            last_id = value.decode(errors="replace")


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
