"""When pages are made anew, and that this is done once for all who look.

However many look, and whatever happens: a replica reads the fleet at most about once a second for
all of them together, and a page of instances as often for each selection that somebody looks at.
News that come alone are shown at once.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar, cast

from sekring.feed import Batch, Feed

__all__ = ["Beat", "Pulse"]

#: The shortest time from a beat that tells news to the next, in seconds.
_PACE_S = 0.8

#: The longest time without a beat, in seconds: sums change without a transition, too.
_REST_S = 4.0

_Made = TypeVar("_Made")


class Beat:
    """What is read and rendered after the same news: made once for all who ask for the same."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._made: dict[object, asyncio.Future[Any]] = {}

    async def share(self, key: object, make: Callable[[], Awaitable[_Made]]) -> _Made:
        """Return what `make` makes for `key`; the first who asks has it made."""
        if key not in self._made:
            self._made[key] = asyncio.ensure_future(make())
        # Who goes away meanwhile does not take it from the others.
        return cast("_Made", await asyncio.shield(self._made[key]))


class Pulse:
    """Beats while somebody looks; listens to the feed meanwhile."""

    def __init__(self, feed: Feed) -> None:
        """Follow `feed`; nothing is read yet."""
        self._feed = feed
        self._viewers = 0
        #: Something happened, or somebody has come: the next beat is due.
        self._due = asyncio.Event()
        self._latest: Beat | None = None
        self._waiting: list[asyncio.Future[None]] = []
        #: Set when the replica stops.
        self.ended = asyncio.Event()

    @property
    def viewers(self) -> int:
        """How many look now."""
        return self._viewers

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await self._due.wait()
            with self._feed.listening(self):
                while self._viewers:
                    await self._beat_once()
            self._latest = None
            self._due.clear()

    async def _beat_once(self) -> None:
        had_news = self._due.is_set()
        self._due.clear()
        self._latest = Beat()
        self._wake()
        if had_news:
            await asyncio.sleep(_PACE_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REST_S):
                await self._due.wait()

    async def beats(self) -> AsyncGenerator[Beat, None]:
        """Yield the beats that begin from now on, until it ends; who is slow gets the latest."""
        self._viewers += 1
        try:
            seen = self._latest
            self._due.set()
            while not self.ended.is_set():
                if self._latest is None or self._latest is seen:
                    coming: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting.append(coming)
                    await coming
                else:
                    seen = self._latest
                    yield seen
        finally:
            self._viewers -= 1

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for viewer in waiting:
            if not viewer.done():  # it went away
                viewer.set_result(None)

    # ---------------------------------------------------------------- what the feed calls

    def take(self, batch: Batch) -> None:  # noqa: ARG002 - that something happened is enough
        """Take note of news."""
        self._due.set()

    def begin(self) -> None:
        """Take note that the feed begins: what came before it is news as well."""
        self._due.set()

    def close(self) -> None:
        """Take note that the replica stops."""
        self.ended.set()
        self._wake()
