"""The whole service beside a route that does nothing, and beside Redis alone: ratios in one run.

    python -m loadtest.bench --rounds 5 --seconds 2

Each round starts a Redis, a service with a token and tracing at 1 %, and a Litestar route that does
nothing (`loadtest.noop`), all fresh, and sends each of them load in turn; a ratio is taken within a
round, and the median of the rounds is shown. The servers run on one core; wrk, Redis and the
collector of traces on the other (Redis on a third where there is one). redis-benchmark takes the
service's place. Beside each rate stands the processor time that a request took of the service's
processes and of Redis, work that was put off included: what to go by on a busy machine.

What is sent: permits of 200 open instances, without a body and with one that names the gateway;
permits of instances never seen, each of which registers an attempt in Redis; failures of 20,000
instances, 14 each, of which none trips; the same in batches of 100; batches of first failures, each
of another instance, which is the one load that redis-benchmark can send as well. The latency at a
given rate is that of 256 connections that pause between requests, by chance: wrk knows no fixed
rate.

`--check` compares the ratios with the stored ones and writes nothing.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from loadtest import wrk
from loadtest.figures import Ratio
from loadtest.keeping import RESULTS, keep
from loadtest.machine import Cores, described, on_core
from loadtest.rounds import BESIDE, Cost, Round
from loadtest.stage import Collector
from loadtest.targets import plot, table, worse

__all__ = ["Bench", "check", "main", "measure", "run"]


class Bench(Struct, frozen=True):
    """Everything that was measured."""

    command: str
    machine: str
    cores: str
    redis: str
    #: Exports that the collector has had: 0 means that nothing was traced.
    trace_exports: int
    rounds: int
    seconds: float
    #: Share of its core, in percent, that the service uses while nobody asks it.
    idle_percent: float
    costs: dict[str, Cost]
    #: Those that have a target, by `TARGETS`.
    ratios: dict[str, Ratio]
    #: Others: processor time per request, to that of the route that does nothing.
    server_cpu: dict[str, Ratio]


def measure(rounds: int, seconds: float, command: str = "") -> Bench:
    """Measure so many rounds, each load for so many seconds."""
    cores = Cores.of_this_machine()
    done = []
    # The collector's threads as well are where they are begun.
    with on_core(cores.load):
        collector = Collector()
        for number in range(rounds):
            one = Round(seconds, cores, collector)
            one.run()
            done.append(one)
            print(f"round {number + 1} of {rounds} done", file=sys.stderr)
        collector.close()
    costs: dict[str, list[Cost]] = defaultdict(list)
    for one in done:
        for name, cost in one.costs.items():
            costs[name].append(cost)
    return Bench(
        command=command,
        machine=described(),
        cores=str(cores),
        redis=done[0].redis,
        trace_exports=collector.exports,
        rounds=rounds,
        seconds=seconds,
        idle_percent=Ratio.of([one.idle_percent for one in done]).median,
        costs={name: _median(found) for name, found in costs.items()},
        ratios=_ratios(costs, cores),
        server_cpu={
            name: Ratio.between(
                _each(costs[name], "server_us"), _each(costs[f"noop_{name}"], "server_us")
            )
            for name in BESIDE
        },
    )


def _ratios(costs: dict[str, list[Cost]], cores: Cores) -> dict[str, Ratio]:
    def rates(name: str) -> list[float]:
        return _each(costs[name], "per_s")

    one, two = costs["permit_open"], costs["permit_two_processes"]
    ratios = {name: Ratio.between(rates(name), rates(f"noop_{name}")) for name in BESIDE}
    ratios["batch"] = Ratio.between(rates("batch_fresh"), rates("redis_benchmark"))
    ratios["permit_p99"] = Ratio.between(
        _each(costs["permit_paced"], "p99_ms"), _each(costs["noop_paced"], "p99_ms")
    )
    ratios["two_processes_cpu"] = Ratio.between(_each(two, "server_us"), _each(one, "server_us"))
    if cores.second is not None:
        ratios["two_processes"] = Ratio.between(_each(two, "per_s"), _each(one, "per_s"))
    return ratios


def _each(costs: Sequence[Cost], field: str) -> list[float]:
    return [float(getattr(cost, field)) for cost in costs]


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(**{field: Ratio.of(_each(costs, field)).median for field in Cost.__struct_fields__})


# --------------------------------------------------------------------------- the command


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print tables, write the results; with `--check`, 1 if a ratio got worse."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="[default: 5]")
    parser.add_argument("--seconds", type=float, default=2, help="of each load [default: 2]")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for figures and plot")
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare with bench.json in that folder, write nothing, exit 1 if a ratio got worse",
    )
    chosen = parser.parse_args(words)
    file = chosen.results / "bench.json"
    try:
        if not chosen.check:
            print(table(run(chosen.rounds, chosen.seconds, chosen.results).ratios))
            return 0
        stored = msgspec.json.decode(file.read_bytes(), type=Bench)
        found = measure(chosen.rounds, chosen.seconds)
    except (OSError, msgspec.MsgspecError, wrk.LoadFailed) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{shown(found)}\n\n{table(found.ratios)}")
    return check(stored, found)


def check(stored: Bench, found: Bench) -> int:
    """Say what got worse than it was; 1 if anything did."""
    lines = worse(stored.ratios, found.ratios)
    print("\n".join(["got worse:", *lines] if lines else ["nothing is worse than it was"]))
    return int(bool(lines))


def run(rounds: int, seconds: float, folder: Path) -> Bench:
    """Measure, print what each load came to, write figures and plot."""
    found = measure(
        rounds, seconds, f"python -m loadtest.bench --rounds {rounds} --seconds {seconds:g}"
    )
    print(shown(found))
    keep(folder, "bench", found, plot(found.ratios, found.command))
    return found


def shown(found: Bench) -> str:
    """Lay out what each load came to."""
    traced = f"{found.trace_exports} exports" if found.trace_exports else "NOT TRACED"
    lines = [
        f"{found.machine}; {found.cores}; {found.redis}; {traced}",
        f"the service's own work takes {found.idle_percent:.1f} % of its core",
        f"{'':<24}{'per s':>10}{'server us':>11}{'Redis us':>10}{'p50 ms':>9}{'p99 ms':>9}",
    ]
    lines += [
        f"{name:<24}{cost.per_s:>10,.0f}{cost.server_us:>11.1f}{cost.redis_us:>10.1f}"
        f"{cost.p50_ms:>9.2f}{cost.p99_ms:>9.2f}"
        for name, cost in found.costs.items()
    ]
    lines += [
        f"CPU of {name}, to the route that does nothing: {ratio.median:.2f}"
        for name, ratio in found.server_cpu.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
