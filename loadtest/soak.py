"""Whether a service stays as it is: memory, descriptors, keys and queues under a mixed load.

    python -m loadtest.soak --seconds 120
    python -m loadtest.soak --seconds 3600

runs a Redis and a service with a token and tracing at 1 %, and everything that `loadtest.traffic`
does. Each second it looks at what the service's processes and Redis use and at what waits; the
first part of the time does not count: until caches, pools and bounded histories are full (there is
one partition, so that this is soon). Of the rest, something grows if its slope is more than chance
explains and comes to more than a few percent. Growth is printed by name, and the exit code is 1.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import redis
from msgspec import Struct

from loadtest import footprint, stage
from loadtest.chart import Line, lines
from loadtest.figures import slope
from loadtest.keeping import RESULTS, keep
from loadtest.machine import Cores, described, on_core
from loadtest.stage import Collector, Served
from loadtest.traffic import Traffic
from sekring.policy import FleetGuardPatch, PolicyPatch

__all__ = ["Course", "Soak", "judged", "main", "measure", "run"]

#: Breakers open and recover all the time, and failures leave the window.
_LIVELY = PolicyPatch(
    window_ms=2_000,
    cooldown_ms=500,
    stable_after_ms=500,
    probe_ttl_ms=1_000,
    fleet_guard=FleetGuardPatch(enabled=False),
)

#: Part of the time that does not count.
_WARM_UP = 0.4

#: Growth over the time that counts which is none, as a share; and of what is counted in pieces.
_SHARE, _PIECES = 0.03, 3.0

#: Points of a curve: at least, and as many as are kept.
_LEAST, _KEPT = 6, 240


class Course(Struct, frozen=True):
    """What one thing did over the time; growth is that over the time that counts."""

    values: list[float]
    growth: float
    #: Growth up to which it is flat.
    allowed: float

    @property
    def flat(self) -> bool:
        """Whether it does not grow."""
        return self.growth <= self.allowed


class Soak(Struct, frozen=True):
    """Everything that was seen; times are seconds from the start."""

    command: str
    machine: str
    redis: str
    seconds: float
    trace_exports: int
    calls: int
    errors: list[str]
    times: list[float]
    courses: dict[str, Course]

    @property
    def grown(self) -> list[str]:
        """What is not flat."""
        return [name for name, course in self.courses.items() if not course.flat]


def judged(times: Sequence[float], values: Sequence[float]) -> Course:
    """Judge one thing by its slope after the warm-up."""
    first = int(_WARM_UP * len(times))
    span = times[-1] - times[first]
    growth, noise = slope(times[first:], values[first:])
    usual = statistics.median(values[first:])
    allowed = max(noise * span, _SHARE * usual, _PIECES)
    return Course([round(value, 2) for value in values], round(growth * span, 2), round(allowed, 2))


def measure(seconds: float, command: str = "") -> Soak:
    """Let it run for so long."""
    cores = Cores.of_this_machine()
    with (
        on_core(cores.load),
        contextlib.closing(Collector()) as collector,
        stage.redis_server(cores) as server,
        stage.service(server.url, cores, collector, partitions=1) as service,
        server.client() as client,
    ):
        asyncio.run(stage.set_policy(server, _LIVELY, partitions=1))
        name = stage.redis_name(server)
        with Traffic(service) as traffic:
            times, looks = _watch(service, client, seconds)
    return Soak(
        command=command,
        machine=described(),
        redis=name,
        seconds=seconds,
        trace_exports=collector.exports,
        calls=traffic.calls,
        errors=traffic.errors[:20],
        times=times,
        courses={name: judged(times, [look[name] for look in looks]) for name in looks[0]},
    )


def _watch(
    service: Served, client: "redis.Redis", seconds: float
) -> tuple[list[float], list[dict[str, float]]]:
    began_s = time.monotonic()
    pause_s = min(1.0, seconds / 12)
    times: list[float] = []
    looks: list[dict[str, float]] = []
    # A busy machine takes long for a look; a slope needs several.
    while (passed_s := time.monotonic() - began_s) < seconds or len(times) < _LEAST:
        times.append(round(passed_s, 2))
        looks.append(_look(service, client))
        time.sleep(pause_s)
    # A curve of an hour is kept in as many points as one of minutes.
    step = -(-len(times) // _KEPT)
    return times[::step], looks[::step]


def _look(service: Served, client: "redis.Redis") -> dict[str, float]:
    connection = service.connect(60)
    connection.request("GET", "/health", headers=service.headers)
    health = msgspec.json.decode(connection.getresponse().read())["data"]
    connection.close()
    return {
        "service memory, MB": footprint.resident_kb(service.group) / 1024,
        "service descriptors": footprint.descriptors(service.group),
        "Redis memory, MB": client.info("memory")["used_memory"] / 2**20,
        "Redis keys": float(client.dbsize()),
        "Redis connections": client.info("clients")["connected_clients"],
        "reports waiting": health["queued_reports"],
        "changes to confirm": health["unconfirmed_changes"],
    }


# --------------------------------------------------------------------------- the command


def main(words: Sequence[str] | None = None) -> int:
    """Let it run, say what grows, write the results; 1 if something does, or a call failed."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="[default: 120]")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the figures")
    chosen = parser.parse_args(words)
    return run(chosen.seconds, chosen.results)


def run(seconds: float, folder: Path) -> int:
    """Do what the command does."""
    found = measure(seconds, f"python -m loadtest.soak --seconds {seconds:g}")
    # Courses have hundreds of figures.
    keep(folder, "soak", found, _plot(found), indent=0)
    print(f"{found.calls:,} calls in {found.seconds:g} s, {len(found.errors)} errors")
    for name, course in found.courses.items():
        verdict = "flat" if course.flat else "GROWS"
        print(
            f"{name:<22}{statistics.median(course.values):>12,.1f}{course.growth:>+10.2f}"
            f" (allowed {course.allowed:.2f})  {verdict}"
        )
    for error in found.errors:
        print(f"error: {error}")
    return int(bool(found.grown or found.errors))


def _plot(found: Soak) -> str:
    panels = [
        Line(name, list(zip(found.times, course.values, strict=True)))
        for name, course in found.courses.items()
    ]
    title = f"{found.calls:,} calls, trips, resets and event streams"
    return lines(panels, title=title, note=found.command, axis="seconds", panel_height=66)


if __name__ == "__main__":
    sys.exit(main())
