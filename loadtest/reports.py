"""What one report costs Redis: the script's own time, under a pipelined load.

    python -m loadtest.reports --count 100000

starts a server and sends it reports through the service's own wrapper, 200 at a time, in three
mixes: failures that are counted, failures of instances that are open, connections that came up. The
time is the processor's that the server's main thread has used (`INFO cpu`), so that the sender's
does not count; of several rounds the fastest is shown, since a busy machine only ever adds to it.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import redis

from sekring.store.contract import ReportRequest
from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.taxonomy import Effect, Kind
from tests.servers import RedisServer

__all__ = ["MIXES", "measure"]

_AT_ONCE = 200
_ROUNDS = 5

#: Failures that trip an instance by default.
_THRESHOLD = 15


def _failure(instance_id: str, number: int) -> ReportRequest:
    return ReportRequest(
        instance_id=instance_id,
        id=f"1a209b1d76f-{number:08}",
        outcome="failure",
        effect=Effect.COUNT,
        kind=Kind.WEBSOCKET,
        detail="websocket: close 1006 (abnormal closure)",
        gateway="gateway-2",
    )


def _counted(number: int) -> ReportRequest:
    """Of each instance as many as are counted: the last one trips it."""
    return _failure(f"62812{number // _THRESHOLD:08}", number)


def _while_open(number: int) -> ReportRequest:
    """Of few instances many, so that nearly all come while they are open."""
    return _failure(f"62813{number % 16:08}", number)


def _connected(number: int) -> ReportRequest:
    return ReportRequest(instance_id=f"62814{number:08}", id=f"up-{number}", outcome="success")


MIXES: dict[str, Callable[[int], ReportRequest]] = {
    "counted": _counted,
    "while open": _while_open,
    "connected": _connected,
}


async def measure(server: RedisServer, mix: Callable[[int], ReportRequest], count: int) -> float:
    """Return the microseconds that the server spent on each of `count` reports."""
    link = RedisLink(server.url, timeout_ms=60_000)
    scripts = Scripts(link, Keyspace())
    with server.client(patience_s=60) as client:
        client.flushall()
        before_s = _used_s(client)
        requests = map(mix, range(count))
        while some := list(islice(requests, _AT_ONCE)):
            await asyncio.gather(*map(scripts.report, some))
        spent_s = _used_s(client) - before_s
    await link.close()
    return spent_s * 1e6 / count


def _used_s(client: "redis.Redis") -> float:
    used = client.info("cpu")
    return float(used["used_cpu_user_main_thread"] + used["used_cpu_sys_main_thread"])


def main() -> int:
    """Measure every mix and print what a report of it takes."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.reports", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="reports a round and mix")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        for name, mix in MIXES.items():
            rounds = [asyncio.run(measure(server, mix, options.count)) for _ in range(_ROUNDS)]
            print(f"{name:12}{min(rounds):6.1f} µs a report")
    return 0


if __name__ == "__main__":
    sys.exit(main())
