"""What the fleet page costs the service, and how soon it shows a trip, in a large fleet.

    python -m loadtest.console --known 100000 --open 5000

makes the fleet (`loadtest.clones`), starts one replica and asks for the page
with every filter, one request at a time on a keep-alive connection: the times are a client's, from
the request to the whole page; below them stands the processor time that the service spent, which
says more on a machine with other work. Then it looks at one page over `/fleet/live`, trips
instances one after the other, and takes the time from the trip's answer to the page that shows it.
Last it counts what Redis is asked for by one and by many who look, while instances trip.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx

from loadtest.clones import Clones
from loadtest.footprint import group_s
from tests.recording import Latency
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess

__all__ = ["FILTERS"]

#: Pages asked for with each filter.
_PAGES = 30

#: Trips that are waited for.
_TRIPS = 20

#: How many look, and for how long, in seconds.
_VIEWERS = (1, 100)
_LOOK_S = 10

#: What an operator asks for; ids are `62` and nine digits, and the lowest are open.
FILTERS: dict[str, dict[str, str]] = {
    "open (the first page)": {},
    "all, open ones first": {"state": "all"},
    "closed": {"state": "closed"},
    "half-open (none)": {"state": "half_open"},
    "prefix, 1,000 match": {"state": "all", "prefix": "62000012"},
    "prefix, none match": {"state": "all", "prefix": "99"},
    "prefix, all open, closed wanted": {"state": "closed", "prefix": "62000001"},
}

_FAILURE = {"outcome": "failure", "kind": "websocket"}


def _is_lagging(http: httpx.Client) -> bool:
    return bool(http.get("/health", timeout=60).json()["data"]["lagging"])


def _times_ms(http: httpx.Client, query: dict[str, str]) -> list[float]:
    times = []
    for _ in range(_PAGES):
        began_s = time.perf_counter()
        http.get("/", params=query, headers={"Accept": "text/html"}).raise_for_status()
        times.append((time.perf_counter() - began_s) * 1000)
    return times


@asynccontextmanager
async def _looking(http: httpx.AsyncClient, prefix: str) -> AsyncIterator[AsyncIterator[str]]:
    """Look at the page of `prefix`: yields the lines that it is sent."""
    async with http.stream("GET", "/fleet/live", params={"prefix": prefix}) as stream:
        yield stream.aiter_lines()


async def _trip(http: httpx.AsyncClient, instance_id: str) -> None:
    outcomes = [{"instance_id": instance_id, **_FAILURE}] * 15
    (await http.post("/v1/outcomes", json={"outcomes": outcomes})).raise_for_status()


async def _news_ms(http: httpx.AsyncClient) -> list[float]:
    """Return how long after its trip was answered each instance was on the page."""
    times = []
    async with _looking(http, "news") as lines:
        for number in range(_TRIPS):
            # At every moment of the pause between two looks.
            await asyncio.sleep(2 + number / _TRIPS)
            name = f"news-{number:02}"
            await _trip(http, name)
            began_s = time.perf_counter()
            async for line in lines:
                if name in line:
                    break
            times.append((time.perf_counter() - began_s) * 1000)
    return times


async def _commands_per_s(http: httpx.AsyncClient, server: RedisServer, viewers: int) -> float:
    """Return how many commands Redis is sent while so many look, and something trips each 0.2 s."""

    async def look() -> None:
        async with _looking(http, "") as lines:
            async for _ in lines:
                pass

    def commands() -> int:
        with server.client() as client:
            return int(client.info("stats")["total_commands_processed"])

    async with AsyncExitStack() as stack:
        looks = [asyncio.create_task(look()) for _ in range(viewers)]
        stack.callback(lambda: [task.cancel() for task in looks])
        await asyncio.sleep(2)
        before, began_s = commands(), time.perf_counter()
        while time.perf_counter() - began_s < _LOOK_S:
            await _trip(http, f"seen-by-{viewers}-{time.perf_counter()}")
            await asyncio.sleep(0.2)
        return (commands() - before) / (time.perf_counter() - began_s)


async def _live(service: ServiceProcess, server: RedisServer) -> None:
    limits = httpx.Limits(max_connections=None)
    url = service.url.replace("localhost", "127.0.0.1")
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as http:
        _print("a trip is on the page after", await _news_ms(http))
        for viewers in _VIEWERS:
            rate = await _commands_per_s(http, server, viewers)
            print(f"{f'commands a second, {viewers} look':34}{rate:8.0f}")


def _print(what: str, times_ms: list[float]) -> None:
    found = Latency.of(times_ms)
    print(f"{what:34}{found.p50_ms:8.1f} ms (p50) {found.max_ms:8.1f} ms (max)")


def main() -> int:
    """Make the fleet, measure the page and the stream, print what was found."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.console", description=__doc__)
    parser.add_argument("--known", type=int, default=100_000, help="instances in all")
    parser.add_argument("--open", type=int, default=5_000, help="of them open")
    options = parser.parse_args()
    fleet = Clones(options.known, failing=2 * options.open, opened=options.open)
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        fleet.settle_in(server)
        with (
            ServiceProcess(server.url, redis_timeout_ms=5_000) as service,
            httpx.Client(base_url=service.url) as http,
        ):
            # The sweep has yet to credit all who have just connected.
            wait_until(lambda: not _is_lagging(http), "the fleet to settle", seconds=600)
            for name, query in FILTERS.items():
                before_s = group_s(service.pid)
                _print(name, _times_ms(http, query))
                spent_ms = (group_s(service.pid) - before_s) * 1000 / _PAGES
                print(f"{'':34}{spent_ms:8.1f} ms of the service's processor")
            asyncio.run(_live(service, server))
    return 0


if __name__ == "__main__":
    sys.exit(main())
