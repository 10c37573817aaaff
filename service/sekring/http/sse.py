"""Server-Sent Events (WHATWG HTML, section 9.2): frames, and the answer that sends them."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from typing import Any

from litestar import Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Send

from sekring.http.wanted import until_gone

__all__ = ["EventStream", "comment", "frame"]

#: How long a frame under way may take when the stream is to end, in seconds.
_LAST_FRAME_S = 0.5

_LINE_END = re.compile(rb"\r\n|\r|\n")

_HEADERS = {
    "cache-control": "no-store",
    # nginx would gather frames before it passes them on.
    "x-accel-buffering": "no",
}


def frame(event: str | None, data: bytes | None, event_id: str | None) -> bytes:
    """Return one event; without data it only tells the client from where to resume."""
    lines = []
    if event_id is not None:
        lines.append(b"id: " + event_id.encode())
    if event is not None:
        lines.append(b"event: " + event.encode())
    if data is not None:
        # Whatever ends a line there would end the field: a browser puts a newline for each.
        lines += [b"data: " + line for line in _LINE_END.split(data)]
    return b"\n".join(lines) + b"\n\n" if lines else b""


def comment(text: str, *, retry_ms: int | None = None) -> bytes:
    """Return a line that clients pass over, with how long they wait before they come back."""
    retry = b"" if retry_ms is None else b"retry: %d\n" % retry_ms
    return retry + b": " + text.encode() + b"\n\n"


class EventStream(Response[None]):
    """Sends frames until there are no more, the client goes away, or `ended` is set."""

    def __init__(self, frames: AsyncGenerator[bytes, None], ended: asyncio.Event) -> None:
        """Send `frames`; `ended` ends that even while a client that reads nothing holds one up."""
        super().__init__(None, media_type="text/event-stream", headers=_HEADERS)
        self._frames = frames
        self._ended = ended

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:  # noqa: ANN401
        """Return what Litestar sends."""
        return _Sending(self._frames, self._ended, headers=dict(self.headers))


class _Sending(ASGIResponse):
    __slots__ = ("_ended", "_frames")

    _should_set_content_length = False

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        ended: asyncio.Event,
        headers: dict[str, str],
    ) -> None:
        super().__init__(media_type="text/event-stream", headers=headers)
        self._frames = frames
        self._ended = ended

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Send frames until one of three things ends it."""
        sending = asyncio.create_task(self._send_frames(send))
        gone = asyncio.create_task(until_gone(receive))
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait((sending, gone, ended), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                await asyncio.wait((sending,), timeout=_LAST_FRAME_S)
        finally:
            for task in (sending, gone, ended):
                task.cancel()
            await asyncio.gather(sending, gone, ended, return_exceptions=True)
        if not sending.cancelled():
            sending.result()

    async def _send_frames(self, send: Send) -> None:
        async with contextlib.aclosing(self._frames) as frames:
            async for data in frames:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
