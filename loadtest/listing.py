"""What a page of instances costs the service, in a large fleet of which many are open.

    python -m loadtest.listing --known 100000 --open 5000

makes the fleet by the real scripts (which takes minutes), starts one replica and asks for first and
later pages of 100 with every filter, one request at a time on a keep-alive connection. The times
are a client's, from the request to the whole answer: the server's own time and the way to it.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from sekring.model import Origin
from sekring.policies import Policies
from sekring.policy import DAY_MS, PolicyPatch
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from tests.population import Population
from tests.recording import Latency
from tests.servers import RedisServer
from tests.serving import ServiceProcess

__all__ = ["FILTERS"]

#: Pages asked for with each filter, at most.
_PAGES = 30

#: What an operator asks for; ids are `62` and nine digits, and the lowest are open.
FILTERS: dict[str, dict[str, str]] = {
    "all": {},
    "open first": {"order": "open_first"},
    "open": {"state": "open"},
    "closed": {"state": "closed"},
    "half-open (none)": {"state": "half_open"},
    "prefix, 10 match": {"prefix": "6200001234"},
    "prefix, 1,000 match": {"prefix": "62000012"},
    "prefix, none match": {"prefix": "99"},
    "prefix and open": {"prefix": "6200000", "state": "open"},
    "prefix, all open, closed wanted": {"prefix": "62000001", "state": "closed"},
    "prefix, open first": {"prefix": "62000", "order": "open_first"},
}


async def _fill(server: RedisServer, population: Population) -> None:
    link = RedisLink(server.url, timeout_ms=60_000)
    keyspace = Keyspace()
    scripts, reads = Scripts(link, keyspace), Reads(link, keyspace)
    # Nothing leaves the window or recovers meanwhile.
    lasting = PolicyPatch(window_ms=DAY_MS, cooldown_ms=DAY_MS, probe_ttl_ms=3_600_000)
    await Policies(scripts, reads, keyspace).change_fleet(lasting, Origin())
    await population.settle_in(scripts)
    await link.close()


def _times_ms(http: httpx.Client, query: dict[str, str]) -> Iterator[float]:
    """Yield how long each page took, beginning anew where there are no more."""
    cursor = None
    for _ in range(_PAGES):
        params = {"limit": "100", **query} | ({"cursor": cursor} if cursor else {})
        began_s = time.perf_counter()
        answer = http.get("/v1/instances", params=params)
        yield (time.perf_counter() - began_s) * 1000
        cursor = answer.raise_for_status().json()["cursor"]


def main() -> int:
    """Make the fleet, measure every filter, print what a page takes."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.listing", description=__doc__)
    parser.add_argument("--known", type=int, default=100_000, help="instances in all")
    parser.add_argument("--open", type=int, default=5_000, help="of them open")
    options = parser.parse_args()
    population = Population(options.known, failing=2 * options.open, tripped=options.open)
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        asyncio.run(_fill(server, population))
        with (
            ServiceProcess(server.url, redis_timeout_ms=5_000) as service,
            httpx.Client(base_url=service.url.replace("localhost", "127.0.0.1")) as http,
        ):
            for name, query in FILTERS.items():
                found = Latency.of(list(_times_ms(http, query)))
                print(f"{name:34}{found.p50_ms:8.1f} ms (p50) {found.max_ms:8.1f} ms (max)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
