"""Bells: they wake whoever waits, on any replica, for something that happens in Redis.

A script rings one over the push channel of its partition. A bell may be missed, so whoever waits
looks once a second as well: bells make waiting short, they do not make it right.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from sekring.errors import ServiceStopping, StoreUnavailable

__all__ = ["LOOK_S", "Bells"]

T = TypeVar("T")

#: How often those who wait look by themselves, in seconds.
LOOK_S = 1.0

#: For how long it is remembered what a bell was about, in seconds: those whom it concerns may come
#: a little later.
_REMEMBERED_S = 60.0


class Bells:
    """The bells of one replica: topics, and who waits for them. For one event loop."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        #: Whether the replica stops: then nobody waits any longer.
        self.closing = False
        self._waiting: dict[str, set[asyncio.Event]] = {}
        #: What the bells of a topic were about, and when they rang.
        self._about: dict[str, dict[str, float]] = {}
        self._rung: deque[tuple[float, str, str]] = deque()

    def ring(self, topic: str, about: str = "") -> None:
        """Wake those who wait for `topic`, and remember what it is about."""
        if about:
            self.remember(topic, about)
        for event in self._waiting.get(topic, ()):
            event.set()

    def take(self, topic: str) -> list[str]:
        """Return what `topic` has rung about of late, each once."""
        return list(self._about.pop(topic, ()))

    @contextlib.contextmanager
    def listening(self, topic: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever `topic` rings, and when the replica stops."""
        event = asyncio.Event()
        waiting = self._waiting.setdefault(topic, set())
        waiting.add(event)
        try:
            yield event
        finally:
            waiting.discard(event)
            if not waiting:
                self._waiting.pop(topic, None)

    async def until(
        self, topic: str, look: Callable[[], Awaitable[T | None]], wait_s: float
    ) -> T | None:
        """Look until there is something; `None` if there was nothing within `wait_s`.

        It looks at once, whenever `topic` rings, and every second.

        Raises:
            StoreUnavailable: Redis did not answer the last look.
            ServiceStopping: the replica stops.
        """
        deadline_s = time.monotonic() + wait_s
        with self.listening(topic) as bell:
            while True:
                bell.clear()
                left_s = deadline_s - time.monotonic()
                try:
                    found = await look()
                except StoreUnavailable:
                    if left_s <= 0:
                        raise
                    found = None
                if found is not None or left_s <= 0:
                    return found
                if self.closing:
                    raise ServiceStopping("This replica is stopping: ask again, another answers.")
                await pause(bell, min(LOOK_S, left_s))

    def close(self) -> None:
        """Let nobody wait any longer: the replica stops."""
        self.closing = True
        for waiting in self._waiting.values():
            for event in waiting:
                event.set()

    def remember(self, topic: str, about: str) -> None:
        """Have `take` return this; nobody is woken."""
        now_s = time.monotonic()
        self._about.setdefault(topic, {})[about] = now_s
        self._rung.append((now_s, topic, about))
        while self._rung and self._rung[0][0] < now_s - _REMEMBERED_S:
            at_s, old_topic, old = self._rung.popleft()
            remembered = self._about.get(old_topic, {})
            if remembered.get(old) == at_s:
                del remembered[old]
                if not remembered:
                    del self._about[old_topic]


async def pause(bell: asyncio.Event, seconds: float) -> None:
    """Return when `bell` is set, or after `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await bell.wait()
