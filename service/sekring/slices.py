"""Long work in the event loop, a little at a time."""

import asyncio
import time
from collections.abc import Iterator

__all__ = ["Slices"]

#: How long the work keeps the event loop from everybody else, and then leaves it to them, in s.
_SLICE_S = 0.002


class Slices:
    """Does work in short slices, at most half of the time, and ends it when its time is used up.

    A thread would not do: it takes the interpreter from the event loop for longer than this.
    """

    def __init__(self, budget_s: float) -> None:
        """Work for `budget_s` seconds in all, pauses not counted."""
        self._left_s = budget_s
        #: Worked since the last pause.
        self._worked_s = 0.0

    @property
    def used_up(self) -> bool:
        """Whether work was left undone, or will be."""
        return self._left_s <= 0

    async def do(self, steps: Iterator[None]) -> bool:
        """Take all `steps`, each of which is short; false if time is used up before the last."""
        since_s = time.perf_counter()
        while not self.used_up:
            try:
                next(steps)
            except StopIteration:
                return True
            finally:
                now_s = time.perf_counter()
                self._left_s -= now_s - since_s
                self._worked_s += now_s - since_s
                since_s = now_s
            if self._worked_s >= _SLICE_S:
                await asyncio.sleep(self._worked_s)
                self._worked_s = 0.0
                since_s = time.perf_counter()
        return False
