"""The live feed: `/v1/events`, taken up again where it was cut off."""

from collections.abc import AsyncGenerator
from http import HTTPStatus

import msgspec
from msgspec import Struct

from sekring.cli.failures import ServiceRefused
from sekring.cli.watching.service import Service
from sekring.model import Transition
from sekring.wire import GapNotice

__all__ = ["Alive", "Feed"]


class Alive(Struct, frozen=True):
    """The stream is there: said at its beginning, and while nothing happens."""


class Feed:
    """Yields transitions as they happen, each once, over any number of connections."""

    def __init__(self, service: Service) -> None:
        """Begin with what happens from now on."""
        self._service = service
        self._last_id: str | None = None

    async def connection(self) -> AsyncGenerator[Transition | GapNotice | Alive, None]:
        """Yield from one connection until the service ends it.

        Raises:
            ServiceRefused: the service gives no stream.
            Unreachable: it cannot be reached, or was cut off.
        """
        try:
            async with self._service.events(self._last_id) as events:
                async for event in events:
                    self._last_id = event.last_id or self._last_id
                    # Before the first id it has not begun: what happens then is not in it.
                    if self._last_id is not None:
                        yield _message(event.event, event.data)
        except ServiceRefused as error:
            if error.status == HTTPStatus.BAD_REQUEST:
                # The id of another keyspace than the one that is behind the address now.
                self._last_id = None
            raise


def _message(event: str, data: bytes) -> Transition | GapNotice | Alive:
    try:
        match event:
            case "transition":
                return msgspec.json.decode(data, type=Transition)
            case "gap":
                return msgspec.json.decode(data, type=GapNotice)
            case _:
                return Alive()
    except msgspec.MsgspecError:
        # Of a newer service: what this version cannot read it cannot show.
        return Alive()
