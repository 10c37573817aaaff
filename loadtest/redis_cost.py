"""What a call costs Redis, beside a bare sliding window in Lua.

    python -m loadtest.redis_cost --count 10000 --rounds 9

starts a server and sends it, in turn, a bare script (`TIME`, `ZREMRANGEBYSCORE`, `ZADD`, `ZCARD`)
and the service's own through their wrappers, 200 calls in a pipeline. The time is the processor's
that the server's main thread has used (`INFO cpu`), so that the sender's does not count. A busy
machine only ever adds to it: shown are the least of all rounds, and the ratio of those.
"""

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec
import redis
from msgspec import Struct

from sekring.requests import PermitRequest, ReportRequest
from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.taxonomy import Effect, Kind
from tests.servers import RedisServer

__all__ = ["CALLS", "Cost", "a_failure", "measure"]

_RESULTS = Path(__file__).parent / "results" / "redis_cost.json"

_AT_ONCE: Final = 200

#: Failures that trip an instance by default.
_THRESHOLD: Final = 15

#: The least that counts in a window at all.
BARE: Final = """#!lua
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 300000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
return redis.call('ZCARD', KEYS[1])
"""

#: One of the service's calls, by its number in the round.
Call = Callable[[Scripts, int], Coroutine[Any, Any, object]]


class Cost(Struct, frozen=True):
    """What a call takes of Redis' main thread, and how many times the bare script's that is."""

    least_us: float
    median_us: float
    times_bare: float


class Measurement(Struct, frozen=True):
    """Everything that was measured."""

    command: str
    machine: str
    server: str
    costs: dict[str, Cost]


def a_failure(instance_id: str, number: int, kind: Kind = Kind.WEBSOCKET) -> ReportRequest:
    """Return a report as gateways send them."""
    return ReportRequest(
        instance_id=instance_id,
        id=f"1a209b1d76f-{number:08}",
        outcome="failure",
        effect=Effect.COUNT,
        kind=kind,
        detail="websocket: close 1006 (abnormal closure)",
        gateway="gateway-2",
    )


def _counted(scripts: Scripts, number: int) -> Coroutine[Any, Any, object]:
    """All that count but never the one that trips: of each instance as many as that takes."""
    return scripts.report(a_failure(f"62812{number // (_THRESHOLD - 1):08}", number))


def _tripping(scripts: Scripts, number: int) -> Coroutine[Any, Any, object]:
    """Of each instance as many as trip it."""
    return scripts.report(a_failure(f"62812{number // _THRESHOLD:08}", number))


def _while_open(scripts: Scripts, number: int) -> Coroutine[Any, Any, object]:
    """Of few instances many, so that nearly all come while they are open."""
    return scripts.report(a_failure(f"62813{number % 16:08}", number))


def _connected(scripts: Scripts, number: int) -> Coroutine[Any, Any, object]:
    """Each of an instance that was never seen."""
    request = ReportRequest(instance_id=f"62814{number:08}", id=f"up-{number}", outcome="success")
    return scripts.report(request)


def _permit(scripts: Scripts, number: int) -> Coroutine[Any, Any, object]:
    """Each instance asks as often as it would fail before it trips."""
    return scripts.permit(PermitRequest(instance_id=f"62815{number // (_THRESHOLD - 1):08}"))


CALLS: Final[dict[str, Call]] = {
    "report, a failure that counts": _counted,
    "report, every 15th trips": _tripping,
    "report, while open": _while_open,
    "report, connected, never seen before": _connected,
    "permit, closed": _permit,
}


def measure(count: int, rounds: int, command: str = "") -> Measurement:
    """Measure on a server of its own; `count` calls a round of each kind."""
    spent: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        RedisServer(Path(folder)) as server,
        server.client(patience_s=60) as client,
    ):
        info = client.info("server")
        for _ in range(rounds):
            spent.setdefault("bare", []).append(_bare_us(client, count))
            for name, call in CALLS.items():
                spent.setdefault(name, []).append(asyncio.run(_own_us(server, client, call, count)))
    bare_us = min(spent["bare"])
    costs = {
        name: Cost(
            least_us=round(min(times), 2),
            median_us=round(statistics.median(times), 2),
            times_bare=round(min(times) / bare_us, 2),
        )
        for name, times in spent.items()
    }
    machine = f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    version = info.get("valkey_version", info["redis_version"])
    return Measurement(command, machine, f"{info.get('server_name', 'redis')} {version}", costs)


def _bare_us(client: "redis.Redis", count: int) -> float:
    """Return the microseconds that each of `count` calls of the bare script took of the server."""
    client.flushall()
    digest = client.script_load(BARE)
    before_s = _used_s(client)
    for first in range(0, count, _AT_ONCE):
        with client.pipeline(transaction=False) as pipeline:
            for number in range(first, min(first + _AT_ONCE, count)):
                key = f"bare:{{07}}:failures:62812{number // (_THRESHOLD - 1):08}"
                pipeline.evalsha(digest, 1, key, f"1a209b1d76f-{number:08}")
            pipeline.execute()
    return (_used_s(client) - before_s) * 1e6 / count


async def _own_us(server: RedisServer, client: "redis.Redis", call: Call, count: int) -> float:
    """Return the microseconds that each of `count` calls of a kind took of the server."""
    client.flushall()
    link = RedisLink(server.url, timeout_ms=60_000)
    scripts = Scripts(link, Keyspace())
    await _connected(scripts, 0)  # loads the scripts
    before_s = _used_s(client)
    for first in range(0, count, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, count))
        await asyncio.gather(*(call(scripts, number) for number in numbers))
    spent_s = _used_s(client) - before_s
    await link.close()
    return spent_s * 1e6 / count


def _used_s(client: "redis.Redis") -> float:
    used = client.info("cpu")
    return float(used["used_cpu_user_main_thread"] + used["used_cpu_sys_main_thread"])


def main() -> int:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.redis_cost", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="calls a round and kind")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    command = f"python -m loadtest.redis_cost --count {options.count} --rounds {options.rounds}"
    found = measure(options.count, options.rounds, command)
    for name, cost in found.costs.items():
        print(f"{name:38}{cost.least_us:7.1f} µs (least) {cost.times_bare:6.2f} times the bare one")
    _RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
