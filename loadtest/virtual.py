"""Virtual time: the service's own code and scripts, on a real server, minutes in a second.

A script reads the server's clock unless its request names the time, which only tests do. `AtTime`
stands between the service and the server and names it in every request.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from typing import Any

import msgspec
import redis

from sekring.store.calls import Call
from sekring.store.connection import Command
from sekring.store.library import Library, Script

__all__ = ["NOW_MS", "AtTime", "together"]

#: The virtual time of whoever runs, in ms since 1970.
NOW_MS: ContextVar[int] = ContextVar("NOW_MS")


class AtTime:
    """Runs scripts at the caller's virtual time; calls of one loop tick share a round trip."""

    def __init__(self, client: "redis.Redis") -> None:
        """Run them through `client`, blocking: nothing else is to be done meanwhile."""
        self._client = client
        self._digests: dict[str, str] = {}
        self._waiting: list[Call] = []

    def know(self, library: Library) -> None:
        """Load the scripts."""
        self._client.function_load(library.text, replace=True)

    def start(self, script: Script, keys: Sequence[str], request: bytes) -> Call:
        """Run `script` at the present virtual time."""
        fields = msgspec.msgpack.decode(request)
        # In an array it is the first (`sekring.requests`).
        fields[0 if isinstance(fields, list) else "now_ms"] = NOW_MS.get()
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send)
        command: Command = (
            "FCALL", script.function, len(keys), *keys, msgspec.msgpack.encode(fields),
        )  # fmt: skip
        call = Call(command, script, slot=0)
        self._waiting.append(call)
        return call

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        with self._client.pipeline(transaction=False) as pipeline:
            for call in waiting:
                pipeline.execute_command(*call.command)  # type: ignore[no-untyped-call]
            for call, reply in zip(waiting, pipeline.execute(), strict=True):
                call.answer.set_result(reply)


async def together(
    calls: Sequence[tuple[int, Callable[[], Coroutine[Any, Any, None]]]],
) -> None:
    """Make calls that happen at (almost) the same time, each at its own, in this order."""

    async def at(now_ms: int, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        NOW_MS.set(now_ms)  # of this task alone
        await call()

    await asyncio.gather(*(asyncio.create_task(at(now_ms, call)) for now_ms, call in calls))
