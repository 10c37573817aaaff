"""How long other replicas go on permitting what one has tripped, and refusing what one has reset.

    python -m loadtest.staleness --count 1000

starts a server and four replicas and takes one instance after the other. Each other replica is
first asked for a permit, so that its view of the instance is fresh and out of date a moment later.
Then one replica gets 15 failures in a batch; from its answer on the others are asked again and
again, each on its own keep-alive connection, until they refuse. What counts is the slowest of them,
its last answer included, so the figures are rather too large than too small. The reset that follows
is measured in the same way. A permit is asked for as a gateway does it: the replica goes by its own
view.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.httpwire import Connection, raw_request
from tests.recording import Latency
from tests.replicas import REPLICAS, Replicas
from tests.servers import RedisServer

__all__ = ["STALENESS_MS", "Lags", "Measurement", "measure"]

#: What the README promises: so many milliseconds after a trip or a reset was acknowledged, every
#: replica goes by it.
STALENESS_MS = 500

_RESULTS = Path(__file__).parent / "results" / "staleness.json"

#: After so many seconds a replica has not heard of it at all.
_PATIENCE_S = 20

#: The default policy's threshold.
_FAILURES = 15


class Lags(Struct, frozen=True):
    """Times (ms) until the last replica went by what was acknowledged."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, lags_ms: list[float]) -> "Lags":
        """Sum up."""
        found = Latency.of(lags_ms)
        return cls(
            found.calls, *(round(ms, 2) for ms in (found.p50_ms, found.p99_ms, found.max_ms))
        )


class Measurement(Struct, frozen=True):
    """What was measured, and on what."""

    command: str
    machine: str
    server: str
    replicas: int
    promise_ms: int
    trips: Lags
    resets: Lags


def measure(count: int, command: str = "") -> Measurement:
    """Trip and reset `count` instances on servers of its own.

    Raises:
        RuntimeError: a replica never heard of a change, or took it back.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        RedisServer(Path(folder)) as redis,
        Replicas([redis.url] * REPLICAS) as replicas,
    ):
        trips, resets = asyncio.run(_measure(replicas.ports, count))
        with redis.client() as client:
            info = client.info("server")
    name = info.get("server_name", "redis")
    python = f"Python {platform.python_version()}"
    return Measurement(
        command=command,
        machine=f"{platform.platform()}, {os.cpu_count()} cores, {python}",
        server=f"{name} {info.get(f'{name}_version')}",
        replicas=REPLICAS,
        promise_ms=STALENESS_MS,
        trips=Lags.of(trips),
        resets=Lags.of(resets),
    )


async def _measure(ports: Sequence[int], count: int) -> tuple[list[float], list[float]]:
    replicas = [await Connection.open(port) for port in ports]
    trips, resets = [], []
    for number in range(count):
        name = f"stale-{number}"
        place = number % len(replicas)
        one, others = replicas[place], replicas[:place] + replicas[place + 1 :]
        await _settled(others, name, permitted=True)
        await _trip(one, name)
        trips.append(await _slowest_ms(others, name, permitted=False))
        await _settled(replicas, name, permitted=False)
        await _ask(one, f"/v1/instances/{name}/reset", {})
        resets.append(await _slowest_ms(others, name, permitted=True))
        await _settled(replicas, name, permitted=True)
    for replica in replicas:
        replica.cut()
    return trips, resets


async def _trip(replica: Connection, name: str) -> None:
    failure = {"instance_id": name, "outcome": "failure", "kind": "websocket"}
    answer = await _ask(replica, "/v1/outcomes", {"outcomes": [failure] * _FAILURES})
    if not answer["results"][-1]["tripped"]:  # type: ignore[index]
        raise RuntimeError(f"{_FAILURES} failures did not trip {name}: {answer}")


async def _slowest_ms(replicas: list[Connection], name: str, *, permitted: bool) -> float:
    """Ask all until each says so; return how long the last of them took."""
    acknowledged_s = time.monotonic()

    async def until_heard(replica: Connection) -> float:
        while await _permitted(replica, name) is not permitted:
            if time.monotonic() - acknowledged_s > _PATIENCE_S:
                raise RuntimeError(f"a replica has not heard of {name} for {_PATIENCE_S} s")
        return (time.monotonic() - acknowledged_s) * 1000

    return max(await asyncio.gather(*map(until_heard, replicas)))


async def _settled(replicas: list[Connection], name: str, *, permitted: bool) -> None:
    """Ask all once more: whoever has heard of a change does not forget it."""
    answers = await asyncio.gather(*(_permitted(replica, name) for replica in replicas))
    if set(answers) != {permitted}:
        raise RuntimeError(f"{name}: permitted should be {permitted} everywhere: {answers}")


async def _permitted(replica: Connection, name: str) -> bool:
    return bool((await _ask(replica, f"/v1/instances/{name}/attempts", {}))["permitted"])


async def _ask(replica: Connection, path: str, body: object) -> dict[str, object]:
    answer = await replica.ask(raw_request("POST", path, json.dumps(body).encode()))
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {answer.body.decode()}")
    found: dict[str, object] = answer.json
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print a table, write the results; 1 if the promise is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1_000, help="trips and resets [default: 1000]")
    parser.add_argument("--out", type=Path, default=_RESULTS, help=f"[default: {_RESULTS.name}]")
    chosen = parser.parse_args(words)
    found = measure(chosen.count, f"python -m loadtest.staleness --count {chosen.count}")
    print(f"{'':8}{'count':>8}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}")
    for name, lags in (("trips", found.trips), ("resets", found.resets)):
        print(f"{name:8}{lags.count:8}{lags.p50_ms:10}{lags.p99_ms:10}{lags.max_ms:10}")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    slowest_ms = max(found.trips.max_ms, found.resets.max_ms)
    print(f"promised: {STALENESS_MS} ms; {chosen.out}")
    return int(slowest_ms > STALENESS_MS)


if __name__ == "__main__":
    sys.exit(main())
