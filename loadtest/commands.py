"""A script call as the service sends it, in a form that redis-benchmark can send on."""

import contextlib
import struct
from collections.abc import Sequence
from itertools import count

import msgspec
import redis
from msgspec import Struct

from sekring.model import Origin
from sekring.outcomes import report_request
from sekring.store.calling import Script
from sekring.store.keys import Keyspace
from sekring.store.scripts import Scripts
from sekring.taxonomy import Kind
from sekring.wire import OutcomeBody
from tests.servers import RedisServer

__all__ = ["Call", "report"]

#: What redis-benchmark replaces by 12 digits.
_PLACE = "__rand_int__"


class Call(Struct, frozen=True):
    """A command: its words, and its last one, which may hold anything."""

    words: list[bytes]
    last: bytes


class _Kept(Exception):
    """Raised in place of the call."""


class _Keeper:
    """Stands where the service's connection to Redis does, and keeps what it is to send."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self.call: Call | None = None

    def know(self, scripts: Sequence[Script]) -> None:
        """Take note of nothing: a script is loaded when it is kept."""

    async def run(self, script: Script, keys: Sequence[str], request: bytes) -> object:
        """Keep the call."""
        digest = self._client.script_load(script.text)
        words = ["EVALSHA", digest, str(len(keys)), *keys]
        self.call = Call([word.encode() for word in words], request)
        raise _Kept


async def report(server: RedisServer) -> Call:
    """Return the call for a failure: the first of an instance, each time of another.

    It is made by the service's own code. redis-benchmark fills in nothing behind a NUL byte, so the
    two numbers in it are others, of equal length; the time of sending is one that delays nothing.
    """
    body = OutcomeBody(
        outcome="failure",
        kind=Kind.WEBSOCKET,
        detail="websocket: close 1006 (abnormal closure)",
        id=f"load-{_PLACE}",
        gateway="gateway-2",
    )
    origin = Origin(actor="gateway-2", source="127.0.0.1")
    with server.client() as client:
        keeper = _Keeper(client)
        with contextlib.suppress(_Kept):
            await Scripts(keeper, Keyspace()).report(report_request(_PLACE, body, origin))
    assert keeper.call  # noqa: S101 - it was raised for
    fields = msgspec.msgpack.decode(keeper.call.last)
    fields["random"] = _without_nul(0.4)
    fields["sent_ms"] = _without_nul(2e12)
    return Call(keeper.call.words, msgspec.msgpack.encode(fields))


def _without_nul(near: float) -> float:
    """Return a number a little above `near` whose eight bytes have no NUL."""
    return next(
        value
        for value in (near * (1 + step / 1e6 / 3) for step in count(1))
        if 0 not in struct.pack(">d", value)
    )
