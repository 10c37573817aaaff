"""What a fleet's size costs: memory, `/health`, pages of a listing, reports, from 10^3 to 10^6.

    python -m loadtest.scale --sizes 1000 10000 100000 1000000

makes each fleet by `loadtest.clones`, one in a hundred of it failing, of those one in ten open, and
starts a service on it. Times are those of a client that asks one thing after the other on a
keep-alive connection: their median. Then another fleet of that size is made, all of it failing (14
failures each, with their kinds), to see what such an instance takes of Redis' memory: what the
server says it uses, less what it used before.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import msgspec
from msgspec import Struct

from loadtest import footprint, stage
from loadtest.chart import Line, lines
from loadtest.clones import Clones, name_of
from loadtest.figures import Ratio
from loadtest.keeping import RESULTS, keep
from loadtest.machine import Cores, described, on_core
from loadtest.redis_cost import a_failure
from tests.servers import RedisServer

__all__ = ["FILTERS", "Scale", "main", "ratios", "run"]

SIZES = (1_000, 10_000, 100_000, 1_000_000)

_HEALTHS, _PAGES, _REPORTS = 50, 20, 2_000

#: What an instance needs at most while it is measured, in bytes.
_ROOM = 3_000

#: What an operator asks for; ids are `62` and nine digits, and the lowest are open.
FILTERS: dict[str, dict[str, str]] = {
    "all": {},
    "open first": {"order": "open_first"},
    "open": {"state": "open"},
    "closed": {"state": "closed"},
    "half-open (none)": {"state": "half_open"},
    "prefix, 10 match": {"prefix": "6200000012"},
    "prefix, none match": {"prefix": "99"},
    "prefix, open first": {"prefix": "62000", "order": "open_first"},
}


class Size(Struct, frozen=True):
    """What was measured of fleets of one size."""

    known: int
    failing: int
    opened: int
    #: Until the service wants requests, in seconds; most of it is Python's own start.
    ready_s: float
    service_mb: float
    health_ms: float
    #: Processor time for each, in microseconds.
    health_service_us: float
    health_redis_us: float
    #: A page of 100, by its filter.
    page_ms: dict[str, float]
    report_redis_us: float
    bytes_each: float
    #: Of the other fleet.
    bytes_each_failing: float


class Scale(Struct, frozen=True):
    """Everything that was measured."""

    command: str
    machine: str
    cores: str
    redis: str
    sizes: list[Size]
    #: Sizes for which this machine had not enough memory.
    left_out: list[int]


def measure(sizes: Sequence[int], command: str = "") -> Scale:
    """Measure all sizes that this machine has memory for."""
    cores = Cores.of_this_machine()
    found, left_out, redis_name = [], [], ""
    for known in sizes:
        if known * _ROOM > _available_bytes():
            left_out.append(known)
            continue
        fleet = Clones(known, failing=known // 100, opened=known // 1_000)
        with stage.redis_server(cores) as server:
            redis_name = stage.redis_name(server)
            size = _measure(server, fleet, cores)
        with stage.redis_server(cores) as server:
            failing = Clones(known, failing=known, opened=0).settle_in(server)
        found.append(msgspec.structs.replace(size, bytes_each_failing=round(failing, 1)))
        print(f"{known:,} instances done", file=sys.stderr)
    return Scale(command, described(), str(cores), redis_name, found, left_out)


def ratios(found: Scale) -> dict[str, Ratio]:
    """Return the figures that have a target, of the sizes that were measured."""
    by_known = {size.known: size for size in found.sizes}
    figures = {}
    for name, known in (("memory_1e5", 10**5), ("memory_1e6", 10**6)):
        if known in by_known:
            figures[name] = Ratio.of([by_known[known].bytes_each_failing])
    if 10**3 in by_known and 10**6 in by_known:
        figures["health"] = Ratio.of([by_known[10**6].health_ms / by_known[10**3].health_ms])
    return figures


def _measure(server: RedisServer, fleet: Clones, cores: Cores) -> Size:
    bytes_each = fleet.settle_in(server)
    pid = stage.redis_pid(server)
    began_s = time.perf_counter()
    with stage.service(server.url, cores) as service:
        ready_s = time.perf_counter() - began_s
        fleet.check(service)
        footprint.wait_until_calm(service.spent_s)
        with (
            on_core(cores.load),
            httpx.Client(base_url=service.url, headers=service.headers, timeout=60) as client,
        ):
            service_s, redis_s = service.spent_s(), footprint.process_s(pid)
            healths = _times_ms(_HEALTHS, lambda: client.get("/health").raise_for_status())
            service_s, redis_s = service.spent_s() - service_s, footprint.process_s(pid) - redis_s
            pages = {name: _pages_ms(client, query) for name, query in FILTERS.items()}
        memory_kb = footprint.resident_kb(service.group)
    return Size(
        known=fleet.known,
        failing=fleet.failing,
        opened=fleet.opened,
        ready_s=round(ready_s, 2),
        service_mb=round(memory_kb / 1024, 1),
        health_ms=round(statistics.median(healths), 3),
        health_service_us=round(service_s * 1e6 / _HEALTHS),
        health_redis_us=round(redis_s * 1e6 / _HEALTHS),
        page_ms={name: round(statistics.median(times), 2) for name, times in pages.items()},
        report_redis_us=round(asyncio.run(_reports_us(server, pid, fleet)), 1),
        bytes_each=round(bytes_each, 1),
        bytes_each_failing=0,
    )


def _times_ms(count: int, ask: Callable[[], object]) -> list[float]:
    times = []
    for _ in range(count):
        began_s = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began_s) * 1000)
    return times


def _pages_ms(client: httpx.Client, query: dict[str, str]) -> list[float]:
    """Ask for one page after the other, beginning anew where there are no more."""
    cursor: str | None = None

    def ask() -> None:
        nonlocal cursor
        params = {"limit": "100", **query} | ({"cursor": cursor} if cursor else {})
        cursor = client.get("/v1/instances", params=params).raise_for_status().json()["cursor"]

    return _times_ms(_PAGES, ask)


async def _reports_us(server: RedisServer, pid: int, fleet: Clones) -> float:
    """Return what a failure of an instance that was connected costs Redis."""
    async with stage.scripts_on(server) as scripts:

        async def fail(number: int) -> None:
            name = name_of(fleet.failing + number % (fleet.known - fleet.failing))
            await scripts.report(a_failure(name, number))

        await fail(0)  # loads the script
        before_s = footprint.process_s(pid)
        for first in range(1, _REPORTS, 200):
            await asyncio.gather(*map(fail, range(first, first + 200)))
        return (footprint.process_s(pid) - before_s) * 1e6 / _REPORTS


def _available_bytes() -> int:
    """Return the memory that processes can still have (Linux); elsewhere, as much as it takes."""
    try:
        lines_of = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return sys.maxsize
    kb = next(line.split()[1] for line in lines_of if line.startswith("MemAvailable"))
    return int(kb) * 1024


# --------------------------------------------------------------------------- the command


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print a table, write the results."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.scale", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="instances")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the figures")
    chosen = parser.parse_args(words)
    run(chosen.sizes, chosen.results)
    return 0


def run(sizes: Sequence[int], folder: Path) -> dict[str, Ratio]:
    """Measure, print a table, write the results; return the figures that have a target."""
    found = measure(sizes, f"python -m loadtest.scale --sizes {' '.join(map(str, sizes))}")
    keep(folder, "scale", found, _plot(found))
    print(_table(found))
    return ratios(found)


def _table(found: Scale) -> str:
    rows = {
        "bytes in Redis, each": [f"{size.bytes_each:,.0f}" for size in found.sizes],
        "bytes, each failing": [f"{size.bytes_each_failing:,.0f}" for size in found.sizes],
        "/health, ms": [f"{size.health_ms:.2f}" for size in found.sizes],
        "  service, us": [f"{size.health_service_us:,.0f}" for size in found.sizes],
        "  Redis, us": [f"{size.health_redis_us:,.0f}" for size in found.sizes],
        "report, Redis us": [f"{size.report_redis_us:.1f}" for size in found.sizes],
        "service, MB": [f"{size.service_mb:.0f}" for size in found.sizes],
        "ready after, s": [f"{size.ready_s:.1f}" for size in found.sizes],
    }
    for name in FILTERS:
        rows[f"page {name}, ms"] = [f"{size.page_ms[name]:.1f}" for size in found.sizes]
    head = "".join(f"{size.known:>12,}" for size in found.sizes)
    table = [f"{'instances':<30}{head}"]
    table += [f"{name:<30}{''.join(f'{one:>12}' for one in each)}" for name, each in rows.items()]
    table += [f"left out for want of memory: {known:,} instances" for known in found.left_out]
    return "\n".join(table)


def _plot(found: Scale) -> str:
    def panel(name: str, value: Callable[[Size], float]) -> Line:
        return Line(name, [(size.known, value(size)) for size in found.sizes])

    panels = [
        panel("/health, ms", lambda size: size.health_ms),
        panel("a page of 100 instances, ms", lambda size: size.page_ms["all"]),
        panel("bytes in Redis per failing instance", lambda size: size.bytes_each_failing),
        panel("bytes in Redis per instance, 1 % failing", lambda size: size.bytes_each),
    ]
    title = "What a fleet's size costs"
    return lines(panels, title=title, note=found.command, axis="instances", log=True)


if __name__ == "__main__":
    sys.exit(main())
