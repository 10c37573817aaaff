"""How scripts are run: what the classes with one typed wrapper per script have in common."""

from collections.abc import Sequence
from typing import Protocol, TypeVar, cast

import msgspec

from sekring.store.contract import Request
from sekring.store.keys import Keyspace
from sekring.store.library import Library, Script

__all__ = ["Script", "ScriptCalls", "ScriptRunner"]

Reply = TypeVar("Reply")


class ScriptRunner(Protocol):
    """Runs a script, or any read-only command, on Redis (`sekring.store.redis`)."""

    def know(self, library: Library) -> None:
        """Take note of what has all scripts that `run` will be given."""
        ...

    async def run(self, script: Script, keys: Sequence[str], request: bytes) -> object:
        """Run `script` and return Redis' answer."""
        ...


class ScriptCalls:
    """Calls scripts by their names; every call is one atomic step in Redis."""

    def __init__(
        self, runner: ScriptRunner, keyspace: Keyspace, bulk: ScriptRunner | None = None
    ) -> None:
        """Read the scripts' texts; nothing is sent yet.

        `bulk` runs what comes in large numbers (sweeps, listings, totals), so that a gateway's
        permit does not queue behind it.
        """
        self._runner = runner
        self._bulk = bulk or runner
        self._keyspace = keyspace
        library = Library.build()
        self._scripts = library.scripts
        for link in (self._runner, self._bulk):
            link.know(library)
        self._encoder = msgspec.msgpack.Encoder()

    async def _run(
        self,
        name: str,
        keys: Sequence[str],
        request: Request,
        reply: type[Reply],
        runner: ScriptRunner | None = None,
    ) -> Reply:
        raw = await (runner or self._runner).run(
            self._scripts[name], keys, self._encoder.encode(request)
        )
        return msgspec.msgpack.decode(cast("bytes", raw), type=reply)

    async def _flag(self, name: str, keys: Sequence[str], request: Request) -> bool:
        raw = await self._runner.run(self._scripts[name], keys, self._encoder.encode(request))
        return raw == 1
