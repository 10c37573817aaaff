"""A fleet of up to millions of instances, made in seconds from three real ones.

The service's own scripts make one instance that is connected, one that has failed 14 times and one
that is open. `clones.lua` copies them within Redis: their keys, their places in their partition's
indexes, their share of its sums. Nothing here knows what those hold: it finds the id. Whether the
service takes the copies for real is checked (`Clones.check`); what is bounded for a partition (the
last hour's failures, the events) is not copied, nor the room that a stream keeps for more.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import redis
from msgspec import Struct, structs

from loadtest import stage
from loadtest.redis_cost import a_failure
from loadtest.stage import Served
from sekring.store.contract import ReportRequest
from sekring.store.keys import Keyspace
from sekring.taxonomy import Kind
from tests.servers import RedisServer

__all__ = ["Clones", "name_of"]

_SCRIPT = Path(__file__).with_name("clones.lua")

#: Copies that one call makes: short enough for anybody who waits meanwhile.
_AT_ONCE = 2_000

_FAILURES, _THRESHOLD = 14, 15
_KINDS = (Kind.DNS, Kind.REFUSED, Kind.TIMEOUT, Kind.WEBSOCKET)

#: Sums of a partition that are no sums.
_NO_SUMS = {"seq", "epoch"}


def name_of(number: int) -> str:
    """Name an instance: all names are equally long."""
    return f"62{number:09}"


class Clones(Struct, frozen=True):
    """`known` instances: the first `opened` are open, others up to `failing` have failed 14 times.

    All others are connected.
    """

    known: int
    failing: int
    opened: int

    def settle_in(self, server: RedisServer) -> float:
        """Enter all, under a policy by which they stay as they are for a day.

        Return how many bytes of Redis' memory each copy took.
        """
        policy = structs.replace(stage.LASTING, stable_after_ms=0)
        asyncio.run(stage.set_policy(server, policy))
        parts = [
            (first, last, failures)
            for first, last, failures in (
                (0, self.opened, _THRESHOLD),
                (self.opened, self.failing, _FAILURES),
                (self.failing, self.known, 0),
            )
            if first < last
        ]
        with server.client(patience_s=120) as client:
            models = [_made(server, client, name_of(first), fails) for first, _, fails in parts]
            before = _used_bytes(client)
            for model, (first, last, _) in zip(models, parts, strict=True):
                _copy(client, model, [name_of(number) for number in range(first + 1, last)])
            return (_used_bytes(client) - before) / max(1, self.known - len(parts))

    def check(self, service: Served) -> None:
        """See that the service counts what there is.

        Raises:
            ValueError: it counts something else.
        """
        found = httpx.get(f"{service.url}/health", headers=service.headers, timeout=60)
        data = found.raise_for_status().json()["data"]
        wanted = {
            "total_instances": self.known,
            "active_connections": self.known - self.failing,
            "circuit_breaker_activations": self.opened,
            "total_recent_failures": _THRESHOLD * self.opened
            + _FAILURES * (self.failing - self.opened),
        }
        if data | wanted != data:
            raise ValueError(f"of {self} the service says {data}")


class _Model(Struct, frozen=True):
    """An instance, as `clones.lua` is told of it."""

    id: str
    partition: int
    #: Of its own keys.
    kinds: list[str]
    #: Sorted sets of its partition, what stands before its id in them, and the score.
    scores: list[tuple[str, str, float]]
    #: Hashes of its partition that have its id as a field, and the value.
    fields: list[tuple[str, str]]
    #: What it adds to its partition's sums.
    totals: dict[str, int]
    epoch: int
    lasting: list[str]
    ttl_ms: int


def _made(server: RedisServer, client: "redis.Redis", name: str, failures: int) -> _Model:
    """Have the scripts make an instance, and find out what it consists of."""
    keyspace = Keyspace()
    partition = keyspace.partition_of(name)
    totals = keyspace.totals(partition)
    prefix = totals.removesuffix("totals")
    before = _numbers(client, totals)
    asyncio.run(_live_through(server, name, failures))
    kinds, scores, fields = [], [], []
    for key in sorted(map(_text, client.scan_iter(f"{prefix}*", count=10_000))):
        kind = key.removeprefix(prefix)
        if kind.endswith(f":{name}"):
            kinds.append(kind.removesuffix(f":{name}"))
        elif client.type(key) == b"zset" and ":" not in kind:
            for member, score in client.zscan_iter(key, f"*{name}"):
                scores.append((kind, _text(member).removesuffix(name), score))
        elif client.type(key) == b"hash" and (value := client.hget(key, name)) is not None:
            fields.append((kind, _text(value)))
    after = _numbers(client, totals)
    return _Model(
        id=name,
        partition=partition,
        kinds=kinds,
        scores=scores,
        fields=fields,
        totals={
            field: value - before.get(field, 0)
            for field, value in after.items()
            if field not in _NO_SUMS and value != before.get(field, 0)
        },
        epoch=after.get("epoch", 0),
        lasting=sorted({"totals", *(kind for kind, *_ in scores), *(kind for kind, _ in fields)}),
        ttl_ms=int(client.pttl(totals)),
    )


def _numbers(client: "redis.Redis", key: str) -> dict[str, int]:
    return {_text(field): int(value) for field, value in client.hgetall(key).items()}


def _text(word: bytes | str) -> str:
    return word.decode() if isinstance(word, bytes) else word


def _used_bytes(client: "redis.Redis") -> int:
    return int(client.info("memory")["used_memory"])


async def _live_through(server: RedisServer, name: str, failures: int) -> None:
    async with stage.scripts_on(server) as scripts:
        if failures == 0:
            await scripts.report(ReportRequest(instance_id=name, id="up", outcome="success"))
        for serial in range(failures):
            await scripts.report(a_failure(name, serial, _KINDS[serial % len(_KINDS)]))


def _copy(client: "redis.Redis", model: _Model, names: Sequence[str]) -> None:
    keyspace = Keyspace()
    script = client.register_script(_SCRIPT.read_text())
    by_partition: dict[int, list[str]] = defaultdict(list)
    for name in names:
        by_partition[keyspace.partition_of(name)].append(name)
    for partition, some in by_partition.items():
        told: dict[str, Any] = structs.asdict(model) | {
            "from": _prefix(keyspace, model.partition),
            "to": _prefix(keyspace, partition),
        }
        words = msgspec.msgpack.encode(told)
        for first in range(0, len(some), _AT_ONCE):
            script(args=[words, " ".join(some[first : first + _AT_ONCE])])


def _prefix(keyspace: Keyspace, partition: int) -> str:
    return keyspace.totals(partition).removesuffix("totals")
