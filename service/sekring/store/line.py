"""An open connection to a node on which calls are pipelined, and answered in their order.

Two turns at most are under way at once: while the node works on one, the next is on its way to
it, so that neither side waits for the other. What comes meanwhile gathers for the turn after: load
makes turns longer, not more of them.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis
from msgspec import Struct
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from sekring.store.calls import GRACE_S, STALL_S, Call

__all__ = ["Answered", "Line"]

#: Calls, each with what the node said to it.
Answered = Sequence[tuple[Call, object]]

_TURNS_MAX: Final = 2

_ASKING: Final = hiredis.pack_command(("ASKING",))

#: What hiredis returns as long as an answer is not whole.
_PART: Final = object()

#: Errors that say more than their text, by the word that they begin with. Those of the cluster take
#: what follows it.
_ERRORS: Final[dict[str, Callable[[str], Exception]]] = {
    "MOVED": MovedError,
    "ASK": AskError,
    "TRYAGAIN": TryAgainError,
    "CLUSTERDOWN": ClusterDownError,
    "LOADING": BusyLoadingError,
    "READONLY": ReadOnlyError,
    "MASTERDOWN": MasterDownError,
    "ERR": ResponseError,
}


class _Turn(Struct):
    """What was sent at once: how many answers are still to come, and until when (loop's clock)."""

    left: int
    until_s: float


class Line(asyncio.Protocol):
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
        # It closes the connection when it is collected.
        self._writer = writer
        self._transport = writer.transport
        self._transport.set_protocol(self)
        self._loop = asyncio.get_running_loop()
        #: The timer is no part of the request that happens to set it.
        self._context = contextvars.copy_context()
        self._timeout_s = timeout_s
        self._answered = answered
        self._broke = broke
        # hiredis' types want classes of errors; it calls what it is given.
        self._reader = hiredis.Reader(replyError=_error, notEnoughData=_PART)
        #: `None` is an answer that nobody asked for: the one to ASKING.
        self._asked: deque[Call | None] = deque()
        self._turns: deque[_Turn] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._stalled = False
        self._is_over = False

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
        packed = []
        before = len(self._asked)
        for call in calls:
            if call.asking:
                packed.append(_ASKING)
                self._asked.append(None)
            # hiredis takes tuples of any length; its types say one of length 1.
            packed.append(hiredis.pack_command(tuple(call.command)))  # type: ignore[arg-type]
            self._asked.append(call)
        until_s = self._loop.time() + self._timeout_s
        self._turns.append(_Turn(len(self._asked) - before, until_s))
        if self._timer is None:
            self._timer = self._loop.call_at(until_s, self._expire, context=self._context)
        if not self._transport.is_closing():  # else `connection_lost` is about to come
            self._writer.write(b"".join(packed))

    def close(self) -> None:
        """Close the connection; `broke` is not told."""
        self._is_over = True
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._transport.abort()

    # -------------------------------------------------------------- what the event loop tells

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        answered: list[tuple[Call, object]] = []
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not _PART:
                if isinstance(answer, hiredis.PushNotification):
                    continue
                if not self._asked:
                    raise hiredis.ProtocolError("an answer to no question")  # noqa: TRY301
                call = self._asked.popleft()
                self._count()
                if call is not None:
                    answered.append((call, answer))
        except hiredis.ProtocolError as error:
            self._end(f"no answer of Redis: {error}")
        if answered:
            self._answered(answered)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone."""
        self._end(str(exc).rstrip(".") if exc else "Connection closed by server")

    def _count(self) -> None:
        turn = self._turns[0]
        turn.left -= 1
        if not turn.left:
            self._turns.popleft()

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
            self._end(f"no answer within {round(self._timeout_s * 1000)} ms")

    def _end(self, words: str) -> None:
        if not self._is_over:
            self.close()
            self._broke(words)


def _error(text: str) -> Exception:
    word, _, rest = text.partition(" ")
    make: Any = _ERRORS.get(word)
    return make(rest) if make else ResponseError(text)
