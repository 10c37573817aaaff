"""The way of calls to a node: pipelined on one connection, answered in their order.

Two turns at most are under way at once: while the node works on one, the next is on its way to
it, so that neither side waits for the other. What comes meanwhile gathers for the turn after: load
makes turns longer, not more of them.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from sekring.store.calls import GRACE_S, STALL_S, Call
from sekring.store.connection import Command
from sekring.store.wire import Push, Wire

__all__ = ["Answered", "Line"]

#: Calls, each with what the node said to it.
Answered = Sequence[tuple[Call, object]]

_TURNS_MAX: Final = 2

_ASKING: Final = ("ASKING",)


class _Turn(Struct):
    """What was sent at once: how many answers are still to come, and until when (loop's clock)."""

    left: int
    until_s: float


class Line:
    """One connection, from the moment that it is open until it breaks or is closed."""

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        timeout_s: float,
        *,
        answered: Callable[[Answered], None],
        broke: Callable[[str], None],
    ) -> None:
        """Take over the connection behind `writer`, on which nothing may be under way.

        `answered` gets the calls that were answered; `broke` is told once why no more will be,
        which is also so if a turn takes longer than `timeout_s`. `calls` are then those without an
        answer.
        """
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._answered = answered
        self._broke = broke
        #: `None` is an answer that nobody asked for: the one to ASKING.
        self._asked: deque[Call | None] = deque()
        self._turns: deque[_Turn] = deque()
        self._timer: asyncio.TimerHandle | None = None
        #: The timer is no part of the request that happens to set it.
        self._context = contextvars.copy_context()
        self._stalled = False
        self._wire = Wire(writer, taken=self._take, broke=self._end)

    @property
    def is_free(self) -> bool:
        """Whether another turn may be sent."""
        return len(self._turns) < _TURNS_MAX

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._turns

    @property
    def calls(self) -> list[Call]:
        """The calls under way, in their order."""
        return [call for call in self._asked if call is not None]

    def send(self, calls: Sequence[Call]) -> None:
        """Send `calls` as one turn."""
        commands: list[Command] = []
        for call in calls:
            if call.asking:
                commands.append(_ASKING)
                self._asked.append(None)
            commands.append(call.command)
            self._asked.append(call)
        until_s = self._loop.time() + self._timeout_s
        self._turns.append(_Turn(len(commands), until_s))
        if self._timer is None:
            self._timer = self._loop.call_at(until_s, self._expire, context=self._context)
        self._wire.write(commands)

    def close(self) -> None:
        """Close the connection; `broke` is not told."""
        self._stop()
        self._wire.close()

    def _take(self, answers: Sequence[object]) -> None:
        answered: list[tuple[Call, object]] = []
        for answer in answers:
            if isinstance(answer, Push):
                continue
            if not self._asked:
                self._wire.end("an answer to no question")
                break
            call = self._asked.popleft()
            self._turns[0].left -= 1
            if not self._turns[0].left:
                self._turns.popleft()
            if call is not None:
                answered.append((call, answer))
        self._answered(answered)

    def _expire(self) -> None:
        self._timer = None
        if not self._turns:
            return
        late_s = self._loop.time() - self._turns[0].until_s
        if late_s < 0:
            self._timer = self._loop.call_at(self._turns[0].until_s, self._expire)
        elif late_s > STALL_S and not self._stalled:
            # The loop itself stood still: what was answered meanwhile has yet to be read.
            self._stalled = True
            self._timer = self._loop.call_later(GRACE_S, self._expire)
        else:
            self._wire.end(f"no answer within {round(self._timeout_s * 1000)} ms")

    def _end(self, words: str) -> None:
        self._stop()
        self._broke(words)

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
