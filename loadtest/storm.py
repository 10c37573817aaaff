"""The storm: 20,000 sessions lose WhatsApp for 5 minutes, and then all want it back.

``python -m loadtest.storm`` runs it three times, in virtual time: without any breaker, with a
breaker per instance, and with the fleet guard above them. Sekring's own code and its Lua scripts
run on a real embedded Valkey; the sessions and WhatsApp are simulated (`loadtest.fleet`,
`loadtest.whatsapp` say how). It prints the figures, and writes them and a plot to
`loadtest/results/`. `--quick` does it with 1,000 sessions.
"""

import argparse
import asyncio
import logging
import os
import platform
import random
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import redis
import structlog
from msgspec import Struct

from loadtest.fleet import START_MS, Course, Fleet
from loadtest.gates import Gate, NoGate, SekringGate
from loadtest.plot import draw
from loadtest.virtual import NOW_MS
from loadtest.whatsapp import WhatsApp
from sekring.policy import FleetGuard
from sekring.store.embedded import Embedded
from sekring.store.redis import RedisLink

__all__ = ["main"]

_OUTAGE_S = 300
_MOST_S = 1_800

#: The sessions were connected this long before, so that their successes are credited.
_BEFORE_MS = 120_000

#: Permits that were given before the guard opened are used up to this much later: the longest
#: backoff that the default policy recommends.
_LAST_UNPACED_S = 20

_NAMES = ("no breaker", "a breaker per instance", "with the fleet guard")


class Storm(Struct, frozen=True):
    """What is simulated."""

    sessions: int = 20_000
    #: Logins that WhatsApp takes in a second after the outage; what is more it refuses.
    logins_per_s: int = 200
    outage_s: int = _OUTAGE_S
    seed: int = 1


class Figures(Struct, frozen=True):
    """What came of one run; seconds are counted from WhatsApp's return."""

    attempts: int
    #: In any second, and in any second from WhatsApp's return on.
    peak_attempts_per_s: int
    peak_attempts_per_s_after: int
    #: Attempts while WhatsApp was down: all in vain.
    attempts_in_vain: int
    #: From WhatsApp's return until so many percent are connected; `None`: not within the run.
    recovered_s: dict[str, int | None]
    course: Course


class GuardStep(Struct, frozen=True):
    """One transition of the guard, in seconds from the outage's beginning."""

    at_s: float
    action: str
    state: str
    rate_per_s: float | None


class GuardFigures(Struct, frozen=True):
    """What the guard did, and whether its pace was kept."""

    policy: FleetGuard
    steps: list[GuardStep]
    #: Seconds, among those in which only paced permits are used, and those with more attempts than
    #: the rate in force and the burst allow: a permit may wait out the rest of its instance's
    #: backoff and meet later ones.
    paced_s: int
    over_pace_s: int


class Results(Struct, frozen=True):
    """What is written down."""

    command: str
    machine: str
    took_s: int
    storm: Storm
    runs: dict[str, Figures]
    guard: GuardFigures


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the storm as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.storm", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 sessions, 10 logins a second")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    storm = Storm(seed=options.seed)
    if options.quick:
        storm = Storm(sessions=1_000, logins_per_s=10, seed=options.seed)
    # 20,000 breakers that trip would say so.
    level = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=level)
    started = time.monotonic()
    runs, guard = asyncio.run(_all_runs(storm))
    results = Results(
        command=" ".join(["python -m loadtest.storm", *(arguments or sys.argv[1:])]),
        machine=f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}",
        took_s=round(time.monotonic() - started),
        storm=storm,
        runs=runs,
        guard=guard,
    )
    options.results.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.encode(results)
    shown = msgspec.json.format(encoded, indent=1)
    # A course has a figure a second: in one line.
    shown = re.sub(rb"\[[\d\s.,]+\]", lambda row: b"".join(row[0].split()), shown)
    (options.results / "storm.json").write_bytes(shown + b"\n")
    (options.results / "storm.svg").write_text(_plot(storm, runs))
    print(_table(runs))
    return 0


async def _all_runs(storm: Storm) -> tuple[dict[str, Figures], GuardFigures]:
    alone, per_instance, guarded = _NAMES
    runs = {alone: await _run(storm, NoGate(storm.sessions))}
    runs[per_instance], _ = await _run_sekring(storm, guarded=False)
    runs[guarded], guard = await _run_sekring(storm, guarded=True)
    return runs, guard


async def _run_sekring(storm: Storm, *, guarded: bool) -> tuple[Figures, GuardFigures]:
    with tempfile.TemporaryDirectory() as folder, Embedded(Path(folder)) as server:
        link = RedisLink(server.url, timeout_ms=60_000)
        with redis.Redis.from_url(server.url) as client:
            gate = SekringGate(client, link, guarded=guarded)
            NOW_MS.set(START_MS - _BEFORE_MS)
            await gate.prepare(storm.sessions)
            NOW_MS.set(START_MS - 1)
            for replica in range(gate.REPLICAS):
                await gate.sweep(replica)
            figures = await _run(storm, gate)
            steps = [
                GuardStep((one.at_ms - START_MS) / 1000, one.action, one.after, one.rate_per_s)
                for one in await gate.guard_history()
            ]
        await link.close()
    return figures, _judged(gate.policy, steps, figures.course)


async def _run(storm: Storm, gate: Gate) -> Figures:
    random.seed(storm.seed)  # the service's own jitter
    chance = random.Random(storm.seed)  # noqa: S311 - a simulation
    whatsapp = WhatsApp(1000 * storm.outage_s, storm.logins_per_s, chance)
    course = await Fleet(storm.sessions, gate, whatsapp, chance).run(1000 * _MOST_S)
    return Figures(
        attempts=sum(course.attempts),
        peak_attempts_per_s=max(course.attempts),
        peak_attempts_per_s_after=max(course.attempts[storm.outage_s :]),
        attempts_in_vain=sum(course.attempts[: storm.outage_s]),
        recovered_s={
            f"{percent} %": _recovered(course, percent * storm.sessions / 100, storm.outage_s)
            for percent in (50, 95, 99)
        },
        course=course,
    )


def _recovered(course: Course, wanted: float, outage_s: int) -> int | None:
    late = range(outage_s, len(course.connected))
    return next((s - outage_s for s in late if course.connected[s] >= wanted), None)


def _judged(policy: FleetGuard, steps: Sequence[GuardStep], course: Course) -> GuardFigures:
    paced = over = 0
    for second, attempts in enumerate(course.attempts):
        before = [one for one in steps if one.at_s < second + 1]
        # What was permitted at a higher rate shortly before may still be on its way.
        recent = [one.rate_per_s for one in before if one.at_s > second - _LAST_UNPACED_S]
        if before and before[-1].rate_per_s and None not in recent:
            opened = max(one.at_s for one in before if one.action == "guard_trip")
            if second > opened + _LAST_UNPACED_S:
                rates = [before[-1].rate_per_s, *(rate for rate in recent if rate)]
                paced += 1
                over += attempts > max(rates) + policy.burst
    return GuardFigures(policy, list(steps), paced, over)


def _table(runs: dict[str, Figures]) -> str:
    rows = [f"{'':<24}{'attempts':>10}{'peak/s':>8}{'after':>7}{'50 %':>7}{'95 %':>7}{'99 %':>7}"]
    for name, one in runs.items():
        times = "".join(f"{'-' if s is None else s:>7}" for s in one.recovered_s.values())
        rows.append(
            f"{name:<24}{one.attempts:>10,}{one.peak_attempts_per_s:>8,}"
            f"{one.peak_attempts_per_s_after:>7,}{times}"
        )
    return "\n".join(rows)


def _plot(storm: Storm, runs: dict[str, Figures]) -> str:
    return draw(
        {name: one.course for name, one in runs.items()},
        title=f"{storm.sessions:,} sessions lose WhatsApp for {storm.outage_s // 60} minutes",
        note=f"When it is back, WhatsApp takes {storm.logins_per_s} logins a second and refuses "
        "what is more.",
        outage_s=storm.outage_s,
        sessions=storm.sessions,
    )


if __name__ == "__main__":
    sys.exit(main())
