"""Parts of a page that are sent, as Server-Sent Events, when what they show has changed."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from msgspec import Struct

from sekring.console.pulse import Beat, Pulse
from sekring.http.sse import comment, frame

__all__ = ["Part", "changed_parts"]

#: How long a browser waits before it comes back, in ms.
_RETRY_MS = 2_000


class Part(Struct, frozen=True):
    """A part of the page, and the facts that it shows: it is sent when those have changed."""

    name: str
    facts: tuple[object, ...]
    html: str


async def changed_parts(
    pulse: Pulse, page: str, make: Callable[[Beat], Awaitable[Sequence[Part]]]
) -> AsyncGenerator[bytes, None]:
    """Yield, beat by beat, the frames of those parts that `make` makes otherwise than before."""
    yield comment(page, retry_ms=_RETRY_MS)
    shown: dict[str, tuple[object, ...]] = {}
    async with contextlib.aclosing(pulse.beats()) as beats:
        async for beat in beats:
            for part in await make(beat):
                if shown.get(part.name) != part.facts:
                    shown[part.name] = part.facts
                    yield frame(part.name, part.html.encode(), None)
