"""What an instance takes of Redis' memory, and `/health` of time, in fleets of any size.

    python -m loadtest.redis_scale --known 1000 100000 1000000

makes in every partition one failing instance (14 failures, kinds kept) and one connected one by the
real scripts and copies them inside Redis: so many reports would take hours. Memory is Redis'
`used_memory`, in a fleet of which all fail, without the last hour's records, which are no more than
4,000 a partition; `/health` is asked of a replica that serves a fleet of
which a hundredth fails, one request at a time on a keep-alive connection.
"""

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import msgspec
import redis
from msgspec import Struct

from loadtest.redis_cost import a_failure
from sekring.model import Origin
from sekring.policies import Policies
from sekring.policy import DAY_MS, PolicyPatch
from sekring.requests import ReportRequest
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.taxonomy import Kind
from tests.servers import RedisServer
from tests.serving import ServiceProcess

__all__ = ["Scale", "measure"]

_RESULTS = Path(__file__).parent / "results" / "redis_scale.json"

_KEYSPACE: Final = Keyspace()
_FAILURES: Final = 14
_KINDS: Final = (Kind.DNS, Kind.REFUSED, Kind.TIMEOUT, Kind.WEBSOCKET)
_ASKED: Final = 200
_COPIES_AT_ONCE: Final = 1_000

#: Copies an instance's record and failures, and enters the copies where the original is entered.
_COPY: Final = """#!lua
local record, failures, index, due, view, totals = unpack(KEYS, 1, 6)
local model = string.match(record, '[^:]*$')
local due_ms = redis.call('ZSCORE', due, model)
local shown = redis.call('HGET', view, model)
for i = 1, #ARGV do
  redis.call('COPY', record, string.sub(record, 1, -#model - 1) .. ARGV[i])
  redis.call('COPY', failures, string.sub(failures, 1, -#model - 1) .. ARGV[i])
  redis.call('ZADD', index, 0, 'all:' .. ARGV[i])
  redis.call('ZADD', due, due_ms, ARGV[i])
  if shown then redis.call('HSET', view, ARGV[i], shown) end
end
redis.call('HINCRBY', totals, 'known', #ARGV)
if redis.call('EXISTS', failures) == 1 then
  redis.call('HINCRBY', totals, 'failing', #ARGV)
  redis.call('HINCRBY', totals, 'failures', #ARGV * redis.call('ZCARD', failures))
else
  redis.call('HINCRBY', totals, 'connected', #ARGV)
end
"""


class Scale(Struct, frozen=True):
    """What was measured in a fleet of one size."""

    known: int
    bytes_per_failing_instance: int
    health_failing: int
    health_p50_ms: float


class Measurement(Struct, frozen=True):
    """Everything that was measured."""

    command: str
    machine: str
    server: str
    scales: list[Scale]


async def _report(scripts: Scripts, instance_id: str, *, fails: bool) -> None:
    if not fails:
        connected = ReportRequest(
            instance_id=instance_id, id="up", outcome="success", age_ms=3_600_000
        )
        await scripts.report(connected)
        return
    for number in range(_FAILURES):
        await scripts.report(a_failure(instance_id, number, _KINDS[number % len(_KINDS)]))


async def _settle_in(server: RedisServer, models: list[str]) -> None:
    """Enter the instances that are copied, under a policy by which they stay as they are."""
    link = RedisLink(server.url, timeout_ms=60_000)
    scripts, reads = Scripts(link, _KEYSPACE), Reads(link, _KEYSPACE)
    lasting = PolicyPatch(window_ms=DAY_MS)
    await Policies(scripts, reads, _KEYSPACE).change_fleet(lasting, Origin())
    for model in models:
        await _report(scripts, model, fails=model.startswith("failing"))
    await link.close()


def _models(word: str) -> dict[int, str]:
    """Return an instance of every partition."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < _KEYSPACE.partitions:
        name = f"{word}-{number}"
        found.setdefault(_KEYSPACE.partition_of(name), name)
        number += 1
    return found


def _ids(first: int, last: int) -> Iterator[tuple[int, list[str]]]:
    """Yield instances by their partitions, some at a time."""
    waiting: dict[int, list[str]] = {}
    for number in range(first, last):
        name = f"62{number:011}"
        some = waiting.setdefault(_KEYSPACE.partition_of(name), [])
        some.append(name)
        if len(some) == _COPIES_AT_ONCE:
            yield _KEYSPACE.partition_of(name), some
            some = waiting[_KEYSPACE.partition_of(name)] = []
    yield from waiting.items()


def _copy(client: "redis.Redis", models: dict[int, str], first: int, last: int) -> None:
    digest = client.script_load(_COPY)
    for partition, names in _ids(first, last):
        record, failures, *_ = _KEYSPACE.instance(models[partition])
        keys = [
            record,
            failures,
            _KEYSPACE.index(partition),
            _KEYSPACE.due(partition),
            _KEYSPACE.view(partition),
            _KEYSPACE.totals(partition),
        ]
        if names:
            client.evalsha(digest, len(keys), *keys, *names)


def _memory(known: int) -> tuple[int, str]:
    """Return the bytes that each instance of a fleet takes of which all fail, and the server."""
    models = _models("failing")
    with (
        tempfile.TemporaryDirectory() as folder,
        RedisServer(Path(folder)) as server,
        server.client(patience_s=60) as client,
    ):
        asyncio.run(_settle_in(server, list(models.values())))
        _copy(client, models, 0, _KEYSPACE.partitions)  # what a partition takes once
        before = client.info("memory")["used_memory"]
        _copy(client, models, 1_000, 1_000 + known)
        info = client.info()
        version = info.get("valkey_version", info["redis_version"])
        name = f"{info.get('server_name', 'redis')} {version}"
        return round((info["used_memory"] - before) / known), name


def _health_ms(known: int, failing: int) -> float:
    """Return the median time of a `/health` in a fleet of which so many fail."""
    failing_models, connected_models = _models("failing"), _models("connected")
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        models = [*failing_models.values(), *connected_models.values()]
        asyncio.run(_settle_in(server, models))
        with server.client(patience_s=60) as client:
            _copy(client, failing_models, 0, failing)
            _copy(client, connected_models, failing, known)
        with (
            ServiceProcess(server.url, redis_timeout_ms=5_000) as service,
            httpx.Client(base_url=service.url.replace("localhost", "127.0.0.1")) as http,
        ):
            seen = http.get("/health").raise_for_status().json()["data"]["total_instances"]
            if seen != known + len(models):
                message = f"/health knows {seen} instances, not {known + len(models)}"
                raise RuntimeError(message)
            times_ms = []
            for _ in range(_ASKED):
                began_s = time.perf_counter()
                http.get("/health").raise_for_status()
                times_ms.append((time.perf_counter() - began_s) * 1000)
            return statistics.median(times_ms)


def measure(sizes: list[int], command: str = "") -> Measurement:
    """Measure on servers of its own."""
    scales = []
    server = ""
    for known in sizes:
        taken, server = _memory(known)
        failing = max(known // 100, 1)
        scales.append(Scale(known, taken, failing, round(_health_ms(known, failing), 2)))
    machine = f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return Measurement(command, machine, server, scales)


def main() -> int:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.redis_scale", description=__doc__)
    parser.add_argument("--known", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    options = parser.parse_args()
    sizes = " ".join(map(str, options.known))
    found = measure(options.known, f"python -m loadtest.redis_scale --known {sizes}")
    for scale in found.scales:
        print(
            f"{scale.known:9,} instances: {scale.bytes_per_failing_instance:,} bytes a failing one;"
            f" /health with {scale.health_failing:,} failing {scale.health_p50_ms:.2f} ms (p50)"
        )
    _RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
