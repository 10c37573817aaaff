"""Everything that is to be shown, in one run, beside its targets.

    python -m loadtest
    python -m loadtest bench scale
    python -m loadtest --quick --results /somewhere/else

runs the parts that are named, or all but the long ones, and prints the table. A part that fails
does not keep the others from running. Each writes its figures to `loadtest/results/`, and the table
is written there too, with a plot. Measure on a machine that has nothing else to do.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from loadtest import bench, peers, redis_cost, scale, soak, staleness, storm
from loadtest.figures import Ratio
from loadtest.keeping import RESULTS, keep
from loadtest.machine import described
from loadtest.targets import TARGETS, plot, table

__all__ = ["main"]

#: The call of `redis_cost` that has a target.
_REPORT = "report, a failure that counts"


class Effort(Struct, frozen=True):
    """How much is done."""

    bench_rounds: int = 5
    bench_seconds: float = 2
    calls: int = 10_000
    call_rounds: int = 7
    peer_seconds: float = 0.7
    peer_rounds: int = 4
    sizes: Sequence[int] = scale.SIZES
    soak_seconds: float = 90
    stale_trips: int = 300


#: Whether it runs at all: its figures mean nothing.
_QUICK = Effort(
    bench_rounds=1,
    bench_seconds=0.2,
    calls=280,
    call_rounds=1,
    peer_seconds=0.05,
    peer_rounds=1,
    sizes=(200, 1_000),
    soak_seconds=4,
    stale_trips=5,
)


class Part(Struct, frozen=True):
    """A part: what it says of itself, and what runs it and returns the figures with a target."""

    words: str
    run: Callable[[Effort, Path], dict[str, Ratio]]
    #: Runs only where it is named.
    named_only: bool = False


class Row(Struct, frozen=True):
    """A line of the table."""

    what: str
    against: str
    measured: Ratio
    wanted: float
    at_most: bool
    ok: bool


class Table(Struct, frozen=True):
    """What was shown."""

    command: str
    machine: str
    took_s: int
    rows: dict[str, Row]
    failed: dict[str, str]


def _bench(effort: Effort, folder: Path) -> dict[str, Ratio]:
    return bench.run(effort.bench_rounds, effort.bench_seconds, folder).ratios


def _redis(effort: Effort, folder: Path) -> dict[str, Ratio]:
    options = f"--count {effort.calls} --rounds {effort.call_rounds}"
    found = redis_cost.measure(
        effort.calls, effort.call_rounds, f"python -m loadtest.redis_cost {options}"
    )
    keep(folder, "redis_cost", found)
    for name, cost in found.costs.items():
        print(
            f"{name:38}{cost.least_us:7.1f} us of Redis {cost.times_bare:6.2f} times the bare one"
        )
    return {"redis_cost": Ratio.of([found.costs[_REPORT].times_bare])}


def _peers(effort: Effort, folder: Path) -> dict[str, Ratio]:
    return peers.run(effort.peer_seconds, effort.peer_rounds, folder)


def _scale(effort: Effort, folder: Path) -> dict[str, Ratio]:
    return scale.run(effort.sizes, folder)


def _soak(effort: Effort, folder: Path) -> dict[str, Ratio]:
    _succeed(soak.run(effort.soak_seconds, folder), "something grows, or calls failed")
    return {}


def _storm(effort: Effort, folder: Path) -> dict[str, Ratio]:
    quick = ["--quick"] if effort is _QUICK else []
    _succeed(storm.main(["--results", str(folder), *quick]), "the storm failed")
    return {}


def _staleness(effort: Effort, folder: Path) -> dict[str, Ratio]:
    options = ["--count", str(effort.stale_trips), "--out", str(folder / "staleness.json")]
    _succeed(staleness.main(options), "a replica was stale for too long")
    return {}


def _succeed(code: int, words: str) -> None:
    if code:
        raise RuntimeError(words)


PARTS: dict[str, Part] = {
    "bench": Part("the whole service beside a route that does nothing", _bench),
    "redis": Part("what each script costs Redis", _redis),
    "peers": Part("guarded calls beside other breakers", _peers),
    "scale": Part("fleets of 10^3 to 10^6", _scale),
    "soak": Part("whether anything grows", _soak),
    "staleness": Part("how late other replicas are", _staleness, named_only=True),
    "storm": Part("20,000 sessions after an outage; 15 minutes", _storm, named_only=True),
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the parts, print the table and write it; 1 if a part failed."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest",
        description=__doc__,
        epilog="\n".join(f"{name:10} {part.words}" for name, part in PARTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help="see below")
    parser.add_argument("--quick", action="store_true", help="whether it runs; figures say nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the figures")
    chosen = parser.parse_args(words)
    if chosen.quick and chosen.results == RESULTS:
        parser.error("--quick needs --results: its figures are not worth keeping")
    effort = _QUICK if chosen.quick else Effort()
    names = chosen.parts or [name for name, part in PARTS.items() if not part.named_only]
    chosen.results.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    found: dict[str, Ratio] = {}
    failed: dict[str, str] = {}
    for name in names:
        print(f"\n==== {name}: {PARTS[name].words}", flush=True)
        try:
            found |= PARTS[name].run(effort, chosen.results)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other parts go on
            failed[name] = f"{type(error).__name__}: {error}"
            print(f"==== {name} FAILED: {failed[name]}")
    command = " ".join(["python -m loadtest", *chosen.parts, *["--quick"] * chosen.quick])
    shown = Table(command, described(), round(time.monotonic() - began_s), _rows(found), failed)
    drawn = plot(found, f"{command}, {shown.machine}") if found else None
    keep(chosen.results, "table", shown, drawn)
    print(f"\n==== all, in {shown.took_s} s\n{table(found)}")
    for name, words_of in failed.items():
        print(f"FAILED: {name}: {words_of}")
    return int(bool(failed))


def _rows(found: dict[str, Ratio]) -> dict[str, Row]:
    return {
        name: Row(
            what=target.what,
            against=target.against,
            measured=found[name],
            wanted=target.wanted,
            at_most=target.at_most,
            ok=target.met_by(found[name].median),
        )
        for name, target in TARGETS.items()
        if name in found
    }


if __name__ == "__main__":
    sys.exit(main())
