"""`sekring watch` as somebody sees it who presses keys: its screen as text."""

import contextlib
import re
from collections.abc import AsyncIterator, Callable

from textual.pilot import Pilot

from sekring.cli.address import Address
from sekring.cli.failures import ServiceRefused
from sekring.cli.watching.app import Watch
from sekring.cli.watching.service import Service

__all__ = ["Screen", "watching"]

#: How long something may take to be seen, in seconds, and how often it is looked for.
_PATIENCE_S = 30.0
_LOOK_S = 0.05


class Screen:
    """What is on the screen, and the keys."""

    def __init__(self, app: Watch, pilot: Pilot[ServiceRefused]) -> None:
        """Look at `app`."""
        self.app, self._pilot = app, pilot

    @property
    def lines(self) -> list[str]:
        """The lines on the screen, from above, with the boxes over it."""
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        """The same with single blanks: how wide the columns are is not the point."""
        return "\n".join(" ".join(line.split()) for line in self.lines)

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        await self._pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Type a text."""
        await self._pilot.press(*text)

    async def sees(self, *texts: str) -> None:
        """Wait until all of these are on the screen at once."""
        await self._until(lambda shown: all(text in shown for text in texts), f"no {texts}")

    async def finds(self, pattern: str, *, other_than: str = "") -> str:
        """Wait until a line's part matches with another group than that; return the group."""
        found = ""

        def holds(shown: str) -> bool:
            nonlocal found
            match = re.search(pattern, shown)
            found = match[1] if match else ""
            return found not in {"", other_than}

        await self._until(holds, f"no {pattern} but {other_than!r}")
        return found

    async def misses(self, *texts: str) -> None:
        """Wait until none of these is on the screen."""
        await self._until(lambda shown: not any(text in shown for text in texts), f"still {texts}")

    async def _until(self, holds: Callable[[str], bool], problem: str) -> None:
        for _ in range(int(_PATIENCE_S / _LOOK_S)):
            if holds(self.text):
                return
            await self._pilot.pause(_LOOK_S)
        raise AssertionError(f"{problem} on the screen:\n" + "\n".join(self.lines))


@contextlib.asynccontextmanager
async def watching(
    url: str, token: str | None = None, *, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[Screen]:
    """Watch the service at `url` on a screen of so many columns and lines."""
    async with Service(Address(url, token)) as service:
        app = Watch(service)
        async with app.run_test(size=size, notifications=True) as pilot:
            yield Screen(app, pilot)
