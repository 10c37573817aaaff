"""What tracing costs: permits and reports without it, sampled at 1 %, and all of them.

    python -m loadtest.tracing --seconds 5 --rounds 5

starts a Redis, a collector and three services that differ in nothing else, and has wrk ask them in
turn, several rounds of it; of the rounds the best counts, since a busy machine only ever adds to
it. Where there are two cores, the services have one of them and everything else the other. `per_s`
is what wrk counts, `cpu_us` what the service's processes use per request; the ratios are of that,
since on a core of its own a service answers as many requests as it has time for. Permits are of
instances never seen, reports failures of 20,000 instances (`load.lua`).
"""

import argparse
import asyncio
import contextlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from loadtest import footprint, stage, wrk
from loadtest.keeping import RESULTS, keep
from loadtest.machine import Cores, described, on_core
from loadtest.stage import Collector, Served

__all__ = ["Measurement", "measure"]

#: At 1 %, at least so much of what is done without.
TARGET: Final = 0.9

#: What is asked, by the kinds of `load.lua`.
_ASKED: Final = {"permit": "permit_closed", "report": "report"}

#: Numbers that a load may use up: no two say the same.
_NUMBERS: Final = 10_000_000


class Rates(Struct, frozen=True):
    """Of one service: requests a second, and processor time of each (µs)."""

    per_s: float
    cpu_us: float


class Measurement(Struct, frozen=True):
    """By what was asked and how much was traced."""

    command: str
    machine: str
    rates: dict[str, dict[str, Rates]]
    #: What a service does in the same time, to one that does not trace.
    ratios: dict[str, dict[str, float]]


def measure(seconds: float, rounds: int, command: str = "") -> Measurement:
    """Measure on servers of its own."""
    found: dict[str, dict[str, list[Rates]]] = {}
    cores = Cores.of_this_machine()
    numbers = itertools.count(0, _NUMBERS)
    with on_core(cores.load), _services(cores) as services:
        for _ in range(rounds):
            for what, kind in _ASKED.items():
                for name, service in services.items():
                    rates = _load(service, kind, seconds, next(numbers), cores)
                    found.setdefault(what, {}).setdefault(name, []).append(rates)
    best = {
        what: {name: _best(rates) for name, rates in by_name.items()}
        for what, by_name in found.items()
    }
    return Measurement(
        command=command,
        machine=described(),
        rates=best,
        ratios={
            what: {name: round(by["off"].cpu_us / rates.cpu_us, 3) for name, rates in by.items()}
            for what, by in best.items()
        },
    )


@contextlib.contextmanager
def _services(cores: Cores) -> Iterator[dict[str, Served]]:
    collector = Collector()
    with contextlib.ExitStack() as stack:
        stack.callback(collector.close)
        server = stack.enter_context(stage.redis_server(cores))
        asyncio.run(stage.set_policy(server, stage.LASTING))
        yield {
            name: stack.enter_context(stage.service(server.url, cores, None, **settings))
            for name, settings in {
                "off": dict[str, object](),
                "1 %": collector.settings,
                "100 %": {**collector.settings, "OTEL_TRACES_SAMPLER_ARG": 1},
            }.items()
        }


def _load(service: Served, kind: str, seconds: float, first: int, cores: Cores) -> Rates:
    before_s = service.spent_s()
    answered = wrk.send(
        service.url, kind, token=service.token, first=first, seconds=seconds, core=cores.load
    )
    footprint.wait_until_calm(service.spent_s)
    return Rates(answered.per_s, (service.spent_s() - before_s) / answered.requests * 1e6)


def _best(rates: Sequence[Rates]) -> Rates:
    return Rates(
        round(max(one.per_s for one in rates)),
        round(min(one.cpu_us for one in rates), 1),
    )


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print a table, write the results; 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5, help="of each [default: 5]")
    parser.add_argument("--rounds", type=int, default=5, help="the best counts [default: 5]")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the figures")
    chosen = parser.parse_args(words)
    command = f"python -m loadtest.tracing --seconds {chosen.seconds:g} --rounds {chosen.rounds}"
    found = measure(chosen.seconds, chosen.rounds, command)
    print(f"{'':8} {'tracing':8} {'per s':>8} {'CPU, us':>8} {'to off':>8}")
    for what, by_name in found.rates.items():
        for name, rates in by_name.items():
            ratio = found.ratios[what][name]
            print(f"{what:8} {name:8} {rates.per_s:8.0f} {rates.cpu_us:8.1f} {ratio:8.2f}")
    keep(chosen.results, "tracing", found)
    return int(min(ratios["1 %"] for ratios in found.ratios.values()) < TARGET)


if __name__ == "__main__":
    sys.exit(main())
