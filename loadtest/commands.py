"""A script call as the service sends it, in a form that redis-benchmark can send on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import msgspec
from msgspec import Struct, structs

from sekring.model import Origin
from sekring.outcomes import report_request
from sekring.requests import ReportRequest
from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.taxonomy import Kind
from sekring.wire import OutcomeBody
from tests.servers import RedisServer

__all__ = ["Call", "commands_in", "report"]

#: What redis-benchmark replaces by 12 digits.
_PLACE = "__rand_int__"


class Call(Struct, frozen=True):
    """A command: its words, and its last one, which may hold anything."""

    words: list[bytes]
    last: bytes


async def report(server: RedisServer) -> Call:
    """Return the call for a failure: the first of an instance, each time of another.

    The service's own code sends it, and it is overheard. redis-benchmark fills in nothing behind a
    NUL byte, but the ids come before the first one. The time of sending is one that delays nothing.
    """
    body = OutcomeBody(
        outcome="failure",
        kind=Kind.WEBSOCKET,
        detail="websocket: close 1006 (abnormal closure)",
        id=f"load-{_PLACE}",
        gateway="gateway-2",
    )
    request = report_request(_PLACE, body, Origin(actor="gateway-2", source="127.0.0.1"))
    async with _overhearing(server) as (port, heard):
        link = RedisLink(f"redis://127.0.0.1:{port}/0", timeout_ms=60_000)
        await Scripts(link, Keyspace()).report(structs.replace(request, sent_ms=1))
        await link.close()
    said = [words for words in commands_in(bytes(heard)) if _PLACE.encode() in words[-1]]
    # The last time: the first may have been before Redis knew the script.
    *words, last = said[-1]
    sent = msgspec.msgpack.decode(last, type=ReportRequest)
    sent = structs.replace(sent, random=0.4, sent_ms=2_000_000_000_000)
    return Call(words, msgspec.msgpack.encode(sent))


def commands_in(sent: bytes) -> Iterator[list[bytes]]:
    """Yield the commands that a client of Redis has sent (RESP: arrays of bulk strings)."""
    place = 0

    def number() -> int:
        nonlocal place
        end = sent.index(b"\r\n", place)
        found = int(sent[place + 1 : end])
        place = end + 2
        return found

    while place < len(sent):
        words = []
        for _ in range(number()):
            length = number()
            words.append(sent[place : place + length])
            place += length + 2
        yield words


@contextlib.asynccontextmanager
async def _overhearing(server: RedisServer) -> AsyncIterator[tuple[int, bytearray]]:
    """Pass on what is said to a Redis on another port, and keep it, connection by connection."""
    kept: list[tuple[bytearray, asyncio.Event]] = []

    async def serve(from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_connection("127.0.0.1", server.port)
        heard, ended = bytearray(), asyncio.Event()
        kept.append((heard, ended))
        await asyncio.gather(_pass(from_client, to_redis, heard), _pass(from_redis, to_client))
        ended.set()

    everything = bytearray()
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1], everything
        for heard, ended in kept:
            await ended.wait()
            everything += heard


async def _pass(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, heard: bytearray | None = None
) -> None:
    while data := await source.read(65_536):
        if heard is not None:
            heard += data
        target.write(data)
        await target.drain()
    target.close()
