"""Deadlines of requests that are all alike, at a fraction of the cost of `asyncio.timeout`."""

import asyncio
from collections import deque
from types import TracebackType

__all__ = ["Deadlines"]


class Deadlines:
    """Gives each block `timeout_s` seconds; since all have the same time, one timer does."""

    def __init__(self, timeout_s: float) -> None:
        """Start no timer before the first block."""
        self._timeout_s = timeout_s
        self._blocks: deque[_Block] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def block(self) -> "_Block":
        """Return a context that ends in `TimeoutError` if it is not left in time."""
        loop = asyncio.get_running_loop()
        block = _Block(loop.time() + self._timeout_s)
        blocks = self._blocks
        while blocks and blocks[0].task is None:
            blocks.popleft()
        blocks.append(block)
        if self._timer is None:
            self._timer = loop.call_at(block.until_s, self._expire, loop)
        return block

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        blocks = self._blocks
        now_s = loop.time()
        while blocks and (blocks[0].task is None or blocks[0].until_s <= now_s):
            blocks.popleft().expire()
        if blocks:
            self._timer = loop.call_at(blocks[0].until_s, self._expire, loop)


class _Block:
    __slots__ = ("_expired", "task", "until_s")

    def __init__(self, until_s: float) -> None:
        #: The task that is in the block; `None` when it has left.
        self.task = asyncio.current_task()
        self.until_s = until_s
        self._expired = False

    def expire(self) -> None:
        if self.task is not None:
            self._expired = True
            self.task.cancel()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        task, self.task = self.task, None
        if not self._expired or task is None:
            return
        # As `asyncio.timeout` does it: who else has cancelled the task is not denied it.
        if task.uncancel() <= 0 and kind is asyncio.CancelledError:
            raise TimeoutError from error
