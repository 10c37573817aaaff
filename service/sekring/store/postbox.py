"""Answers to errands, and QR codes, as Redis has them: single reads that change nothing."""

import asyncio
from collections.abc import Sequence
from typing import cast

import msgspec
from msgspec import Struct

from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink

__all__ = ["Postbox", "StoredQr"]


class StoredQr(Struct, frozen=True):
    """A QR code as it is stored."""

    #: Fencing token of the lease under which it was shown.
    token: int
    sealed: str
    #: For how long it is good.
    left_ms: int


class _Owner(Struct):
    gateway: str = ""


class Postbox:
    """Typed reads of what gateways have left for those who wait."""

    def __init__(self, link: RedisLink, keyspace: Keyspace) -> None:
        """Read through `link`."""
        self._link = link
        self._keyspace = keyspace

    async def answer(self, instance_id: str, errand_id: str) -> str | None:
        """Return the answer to an errand, sealed; `None` as long as there is none."""
        found = await self._link.read("GET", self._keyspace.answer(instance_id, errand_id))
        return cast("bytes", found).decode() if found else None

    async def qr(self, instance_id: str) -> StoredQr | None:
        """Return the QR code that a session shows, if it shows one."""
        key = self._keyspace.qr(instance_id)
        found, left_ms = await asyncio.gather(
            self._link.read("GET", key), self._link.read("PTTL", key)
        )
        if not found or cast("int", left_ms) <= 0:
            return None
        token, _, sealed = cast("bytes", found).decode().partition(" ")
        return StoredQr(int(token), sealed, cast("int", left_ms))

    async def owned(self, partition: int, instance_ids: Sequence[str]) -> list[str]:
        """Return those of a partition's sessions that a gateway owns."""
        key = self._keyspace.owners(partition)
        found = cast("list[bytes | None]", await self._link.read("HMGET", key, *instance_ids))
        return [
            name
            for name, owner in zip(instance_ids, found, strict=True)
            if owner and msgspec.json.decode(owner, type=_Owner).gateway
        ]
