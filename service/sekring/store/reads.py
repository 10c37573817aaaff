"""What is read from Redis without a script: single commands that change nothing."""

from collections.abc import Sequence
from typing import cast

import msgspec
from msgspec import Struct

from sekring.model import GuardState, Transition
from sekring.policy import PolicyPatch
from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.wire import RefusedBuildItem

__all__ = ["FLEET", "Reads", "StoredPolicy"]

#: The fleet's own field in a partition's policies; no instance can have that name.
FLEET = "*"

#: Fields of a hash that are read with one command, at most.
_FIELDS_AT_ONCE = 500


class StoredPolicy(Struct, frozen=True):
    """A policy as it was set, with a version that grows at every change (0: never set)."""

    version: int = 0
    patch: PolicyPatch = PolicyPatch()


class Reads:
    """Typed reads of single keys."""

    def __init__(self, link: RedisLink, keyspace: Keyspace) -> None:
        """Read through `link`."""
        self._link = link
        self._keyspace = keyspace

    async def ping(self) -> None:
        """Return if Redis answers.

        Raises:
            StoreUnavailable: it does not.
        """
        await self._link.ping()

    async def fleet_policy(self) -> StoredPolicy:
        """Return the fleet's policy; partition 0 takes every change first."""
        return await self._policy(self._keyspace.policies(0), FLEET)

    async def override(self, instance_id: str) -> StoredPolicy:
        """Return an instance's own policy."""
        partition = self._keyspace.partition_of(instance_id)
        return await self._policy(self._keyspace.policies(partition), instance_id)

    async def overrides(
        self, partition: int, instance_ids: Sequence[str]
    ) -> dict[str, PolicyPatch]:
        """Return what those of a partition's instances have set that have a policy of their own."""
        found: dict[str, PolicyPatch] = {}
        for first in range(0, len(instance_ids), _FIELDS_AT_ONCE):
            some = instance_ids[first : first + _FIELDS_AT_ONCE]
            raws = _list(await self._link.read("HMGET", self._keyspace.policies(partition), *some))
            for name, raw in zip(some, raws, strict=True):
                if raw is not None:
                    stored = msgspec.json.decode(cast("bytes", raw), type=StoredPolicy)
                    found[name] = stored.patch
        return found

    async def page(
        self,
        partition: int,
        label: str,
        after: str | None,
        limit: int,
        *,
        prefix: str = "",
        upto: str | None = None,
    ) -> list[str]:
        """Return up to `limit` ids of a partition, in the order of ids, behind the id `after`.

        `label` is a state, or `all`. They begin with `prefix` and go as far as the id `upto`.
        """
        first, last = _range(label, prefix)
        if after is not None and after >= prefix:
            first = f"({label}:{after}"
        if upto is not None:
            last = f"[{label}:{upto}"
        found = await self._link.read(
            "ZRANGE", self._keyspace.index(partition), first, last, "BYLEX", "LIMIT", 0, limit
        )
        return [_text(member).partition(":")[2] for member in _list(found)]

    async def count(self, partition: int, label: str, prefix: str) -> int:
        """Return how many ids of a partition begin with `prefix`; `label` as of `page`."""
        index = self._keyspace.index(partition)
        found = await self._link.read("ZLEXCOUNT", index, *_range(label, prefix))
        return cast("int", found)

    async def history(self, instance_id: str, limit: int) -> list[Transition]:
        """Return an instance's latest transitions, newest first."""
        return await self._transitions(self._keyspace.history(instance_id), limit)

    async def guard(self) -> GuardState:
        """Return the fleet guard as it was evaluated last."""
        found = _list(await self._link.read("HGETALL", self._keyspace.guard()[0]))
        flat = [_text(item) for item in found]
        named = dict(zip(flat[::2], flat[1::2], strict=True))
        return msgspec.convert(named, GuardState, strict=False)

    async def guard_history(self, limit: int) -> list[Transition]:
        """Return the fleet guard's latest transitions, newest first."""
        return await self._transitions(self._keyspace.guard_history(), limit)

    async def refused_builds(self) -> list[RefusedBuildItem]:
        """Return the gateway builds that were refused and whose refusal may still last."""
        found = _list(await self._link.read("HGETALL", self._keyspace.builds(0)))
        flat = [_text(item) for item in found]
        refused = []
        for build, refusal in zip(flat[::2], flat[1::2], strict=True):
            kind, _, until_ms = refusal.rpartition(" ")
            refused.append(RefusedBuildItem(build, kind, int(until_ms)))
        return refused

    async def _transitions(self, stream: str, limit: int) -> list[Transition]:
        found = await self._link.read("XREVRANGE", stream, "+", "-", "COUNT", limit)
        return [_transition(entry) for entry in _list(found)]

    async def _policy(self, key: str, field: str) -> StoredPolicy:
        raw = await self._link.read("HGET", key, field)
        return msgspec.json.decode(cast("bytes", raw), type=StoredPolicy) if raw else StoredPolicy()


def _range(label: str, prefix: str) -> tuple[str, str]:
    """Return the range of an index with the ids that begin with `prefix`.

    No id has a DEL, and all that an id may have comes before it.
    """
    return f"[{label}:{prefix}", f"({label}:{prefix}\x7f"


def _list(answer: object) -> list[object]:
    if isinstance(answer, dict):  # RESP3
        return [item for pair in answer.items() for item in pair]
    return list(answer) if isinstance(answer, list | tuple) else []


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _transition(entry: object) -> Transition:
    entry_id, fields = _list(entry)
    flat = [_text(item) for item in _list(fields)]
    named: dict[str, object] = dict(zip(flat[::2], flat[1::2], strict=True))
    return msgspec.convert({"id": _text(entry_id), **named}, Transition, strict=False)
