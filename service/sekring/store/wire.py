"""An open connection to a node, read as its answers arrive: no task waits for each of them."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import hiredis
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

from sekring.store.connection import Command

__all__ = ["Push", "Wire"]

#: What was published, as against an answer.
Push = hiredis.PushNotification

#: What hiredis returns as long as an answer is not whole.
_PART: Final = object()

#: Errors that say more than their text, by the word that they begin with; they take what follows.
_ERRORS: Final[dict[str, Callable[[str], Exception]]] = {
    "MOVED": MovedError,
    "ASK": AskError,
    "TRYAGAIN": TryAgainError,
    "CLUSTERDOWN": ClusterDownError,
    "MASTERDOWN": MasterDownError,
    "LOADING": BusyLoadingError,
    "READONLY": ReadOnlyError,
    "ERR": ResponseError,
}


class Wire(asyncio.Protocol):
    """One connection, from the moment that it is open until it breaks or is closed."""

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        *,
        taken: Callable[[Sequence[object]], None],
        broke: Callable[[str], None],
    ) -> None:
        """Take over the connection behind `writer`, on which nothing may be under way.

        `taken` gets what has arrived at once: answers in their order, errors as they are, and
        pushes. `broke` is told why nothing more will come, once, and not after `close`.
        """
        # It closes the connection when it is collected.
        self._writer = writer
        self._transport = writer.transport
        self._taken = taken
        self._broke = broke
        # hiredis' types want classes of errors; it calls what it is given.
        self._reader = hiredis.Reader(replyError=_error, notEnoughData=_PART)
        self._is_over = False
        # What is written leaves at once: the node begins with it while more is being made.
        self._transport.set_write_buffer_limits(high=0)
        self._transport.set_protocol(self)

    def write(self, commands: Iterable[Command]) -> None:
        """Send `commands`; where the connection is just breaking, they are lost with it."""
        # hiredis takes tuples of any length; its types say one of length 1.
        packed = b"".join([hiredis.pack_command(tuple(command)) for command in commands])  # type: ignore[arg-type]
        if not self._transport.is_closing():  # else `connection_lost` is about to come
            self._writer.write(packed)

    def close(self) -> None:
        """Close the connection at once."""
        self._is_over = True
        self._transport.abort()

    def end(self, words: str) -> None:
        """Close the connection, and tell `broke` why."""
        if not self._is_over:
            self.close()
            self._broke(words)

    # -------------------------------------------------------------- what the event loop tells

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        answers: list[object] = []
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not _PART:
                answers.append(answer)
        except hiredis.ProtocolError as error:
            self.end(f"that is no answer of Redis: {error}")
        if answers:
            self._taken(answers)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone."""
        self.end(str(exc).rstrip(".") if exc else "Connection closed by server")


def _error(text: str) -> Exception:
    word, _, rest = text.partition(" ")
    make: Any = _ERRORS.get(word)
    return make(rest) if make else ResponseError(text)
