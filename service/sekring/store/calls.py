"""A call on its way, and the deadline that every call has from its making to its answer."""

import asyncio
import itertools
from collections import deque
from typing import TYPE_CHECKING

from sekring.errors import StoreUnavailable
from sekring.store.connection import Command
from sekring.store.library import Script

if TYPE_CHECKING:
    from sekring.store.lane import Lane

__all__ = ["GRACE_S", "STALL_S", "Call", "Deadlines"]

#: A timer this late, in seconds, means that the process was held up, not the node; then what has
#: arrived is read first.
STALL_S = 0.1
GRACE_S = 0.02

_numbers = itertools.count()


class Call:
    """One command and the future of its answer."""

    __slots__ = (
        "answer", "asking", "command", "deadline_s", "given", "lane", "missed", "moves", "number",
        "script", "slot",
    )  # fmt: skip

    def __init__(self, command: Command, script: Script | None, slot: int) -> None:
        """Make a call; it must be made in the event loop."""
        self.command = command
        #: The script that it runs, for messages.
        self.script = script
        self.slot = slot
        self.answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        #: Grows from call to call.
        self.number = next(_numbers)
        #: By the event loop's clock; set by `Deadlines`.
        self.deadline_s = 0.0
        #: The lane that it waits in; `None` where no node is to blame for the waiting.
        self.lane: Lane | None = None
        #: Whether the node that it goes to must be told that it was sent there (`ASKING`).
        self.asking = False
        #: How often it was sent to another node.
        self.moves = 0
        #: What a node that lacked the script said when it was given it; `None` before.
        self.given: object = None
        #: Whether its deadline has passed.
        self.missed = False

    @property
    def done(self) -> bool:
        """Whether it has an answer, or nobody who waits for one."""
        return self.answer.done()

    def fail(self, error: StoreUnavailable) -> None:
        """Answer with an error, if it has no answer yet."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Deadlines:
    """Ends calls that have waited for too long. All have the same time, so one timer does."""

    def __init__(self, timeout_s: float) -> None:
        """Give each call `timeout_s` seconds."""
        self._timeout_s = timeout_s
        self._calls: deque[Call] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._stalled = False

    def add(self, call: Call) -> None:
        """Start the time of `call`."""
        loop = call.answer.get_loop()
        call.deadline_s = loop.time() + self._timeout_s
        calls = self._calls
        while calls and calls[0].answer.done():
            calls.popleft()
        calls.append(call)
        if self._timer is None:
            self._timer = loop.call_at(call.deadline_s, self._expire, loop)

    def close(self) -> None:
        """Stop the timer; nothing is left to end."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        calls = self._calls
        now_s = loop.time()
        if calls and now_s - calls[0].deadline_s > STALL_S and not self._stalled:
            # The loop itself stood still: what was answered meanwhile has yet to be read.
            self._stalled = True
            self._timer = loop.call_later(GRACE_S, self._expire, loop)
            return
        self._stalled = False
        while calls and (calls[0].answer.done() or calls[0].deadline_s <= now_s):
            call = calls.popleft()
            if not call.answer.done():
                self._miss(call)
        if calls:
            self._timer = loop.call_at(calls[0].deadline_s, self._expire, loop)

    def _miss(self, call: Call) -> None:
        call.missed = True
        words = f"Redis did not answer within {round(self._timeout_s * 1000)} ms."
        call.fail(StoreUnavailable(words))
        if call.lane:
            call.lane.missed()
