"""Sekring beside other breakers on Redis: calls a second, round trips, and whether they can count.

    python -m loadtest.peers --seconds 1 --rounds 4

All are on one Redis and do the same work: calls that go round 200 instances, one thread
(`loadtest.guarded` says more; its figures are written as well). Round trips are the reads that
Redis' server has done meanwhile, so that a pipeline is one. What Sekring sends is what its service
sends, all that happens behind the calls included, until the service has taken every report.

Counting: 8 replicas, each of which begins with its first failure, report 25 failures each of one
instance, at the same time; then one more replica begins, and reports one. A breaker that counts
finds 201.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec import Struct

from loadtest import guarded
from loadtest.breakers import INSTANCES, PEERS, Broken, Peer, names
from loadtest.chart import Bar, bars
from loadtest.figures import Ratio
from loadtest.keeping import RESULTS, keep
from loadtest.machine import described
from loadtest.stage import open_url, redis_name
from sekring.client import Sekring
from tests.replicas import Replica
from tests.servers import RedisServer

__all__ = ["Results", "main", "ratios"]

_REPLICAS, _EACH = 8, 25

#: Calls over which round trips are counted.
_CALLS = 5 * INSTANCES


class RoundTrips(Struct, frozen=True):
    """Reads of Redis' server per guarded call."""

    success: float
    failure: float


class Results(Struct, frozen=True):
    """Everything that was measured, by the breakers' names."""

    command: str
    machine: str
    redis: str
    #: Calls a second, of the best round.
    success_per_s: dict[str, float]
    failure_per_s: dict[str, float]
    round_trips: dict[str, RoundTrips]
    failures_sent: int
    failures_counted: dict[str, int]
    left_out: dict[str, str]


def measure(rates: guarded.Measurement, command: str = "") -> Results:
    """Measure what `rates` do not say already."""
    with (
        tempfile.TemporaryDirectory() as folder,
        RedisServer(Path(folder)) as server,
        Replica(server.url, redis_timeout_ms=5_000) as service,
    ):
        pace = {"base_ms": 0, "cap_ms": 0}
        service.set_policy(failure_threshold=10_000, backoff=pace, fleet_guard={"enabled": False})
        round_trips = {"sekring": _of_sekring(server, service)}
        counted = {"sekring": _counted_by_sekring(service)}
        url = open_url(server)
        for name, make in PEERS.items():
            peer = make(url)
            peer.work(INSTANCES, fails=False)
            peer.work(INSTANCES, fails=True)
            round_trips[name] = RoundTrips(
                success=_reads(server, partial(peer.work, _CALLS, fails=False)),
                failure=_reads(server, partial(peer.work, _CALLS, fails=True)),
            )
            _replicas(partial(_fail, make, url))
            counted[name] = make(url).known("shared")
        return Results(
            command=command,
            machine=described(),
            redis=redis_name(server),
            success_per_s=rates.calls_per_s["success"],
            failure_per_s=rates.calls_per_s["failure"],
            round_trips=round_trips,
            failures_sent=_REPLICAS * _EACH + 1,
            failures_counted=counted,
            left_out={"sony/gobreaker v2": "it needs Go, and a network with Go's modules"},
        )


def ratios(rates: guarded.Measurement) -> dict[str, Ratio]:
    """Return the figures that have a target (`loadtest.targets`)."""
    return {
        f"guarded_{what}": Ratio.of([rates.times_pybreaker[what]["sekring"]])
        for what in ("success", "failure")
    }


def _reads(server: RedisServer, work: Callable[[], None]) -> float:
    with server.client() as client:

        def count() -> int:
            return int(client.info("stats")["total_reads_processed"])

        before = count()
        work()
        # The second look is a read too.
        return round((count() - before - 1) / _CALLS, 2)


def _of_sekring(server: RedisServer, service: Replica) -> RoundTrips:
    with Sekring(service.url, kept_max=1_000_000) as breaker:
        breaker.ready(60)

        def succeed() -> None:
            for _, name in zip(range(_CALLS), names(), strict=False):
                with breaker.guard(name):
                    pass
            breaker.flush(60)

        def fail() -> None:
            for _, name in zip(range(_CALLS), names(), strict=False):
                with suppress(Broken), breaker.guard(f"failing-{name}"):
                    raise Broken
            breaker.flush(60)

        return RoundTrips(success=_reads(server, succeed), failure=_reads(server, fail))


def _counted_by_sekring(service: Replica) -> int:
    def fail(times: int) -> None:
        with Sekring(service.url) as breaker:
            breaker.ready(60)
            for _ in range(times):
                with suppress(Broken), breaker.guard("shared"):
                    raise Broken
            breaker.flush(60)

    _replicas(fail)
    return int(service.instance("shared")["failures"])


def _fail(make: Callable[[str], Peer], url: str, times: int) -> None:
    make(url).fail("shared", times)


def _replicas(fail: Callable[[int], None]) -> None:
    """Have replicas that begin at the same time fail so often, and then a late one, once."""
    with ThreadPoolExecutor(_REPLICAS) as pool:
        for done in [pool.submit(fail, _EACH) for _ in range(_REPLICAS)]:
            done.result()
    fail(1)


# --------------------------------------------------------------------------- the command


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print a table, write the results."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.peers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1, help="of each [default: 1]")
    parser.add_argument("--rounds", type=int, default=4, help="the best counts [default: 4]")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the figures")
    chosen = parser.parse_args(words)
    run(chosen.seconds, chosen.rounds, chosen.results)
    return 0


def run(seconds: float, rounds: int, folder: Path) -> dict[str, Ratio]:
    """Measure, print a table, write the results; return the figures that have a target."""
    options = f"--seconds {seconds:g} --rounds {rounds}"
    rates = guarded.measure(seconds, rounds, f"python -m loadtest.guarded {options}")
    keep(folder, "guarded", rates)
    found = measure(rates, f"python -m loadtest.peers {options}")
    keep(folder, "peers", found, _plot(found))
    print(_table(found))
    return ratios(rates)


def _table(found: Results) -> str:
    lines = [f"{'':<18}{'success/s':>12}{'failure/s':>12}{'round trips':>14}{'counted':>14}"]
    for name, trips in found.round_trips.items():
        both = f"{trips.success:g} / {trips.failure:g}"
        counted = f"{found.failures_counted[name]} of {found.failures_sent}"
        lines.append(
            f"{name:<18}{found.success_per_s[name]:>12,.0f}{found.failure_per_s[name]:>12,.0f}"
            f"{both:>14}{counted:>14}"
        )
    lines += [f"left out: {name}, since {why}" for name, why in found.left_out.items()]
    return "\n".join(lines)


def _plot(found: Results) -> str:
    rows = []
    for name in found.round_trips:
        counted = found.failures_counted[name]
        rows.append(Bar(f"{name}: success", rate := found.success_per_s[name], f"{rate:,.0f} /s"))
        rate = found.failure_per_s[name]
        text = f"{rate:,.0f} /s"
        if counted != found.failures_sent:
            text += f", counts {counted} of {found.failures_sent}"
        rows.append(Bar(f"{name}: failure", rate, text, colour=0))
    return bars(
        rows,
        title="Guarded calls a second, by breakers on one Redis (logarithmic)",
        note=found.command,
    )


if __name__ == "__main__":
    sys.exit(main())
