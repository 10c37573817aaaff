"""What a guarded call costs: the Python client beside other breakers, on one Redis.

    python -m loadtest.guarded --seconds 1 --rounds 6

starts a Redis and a service on it and takes the candidates in turn, several rounds of them, one
thread each; of the rounds, the best counts, for each candidate alike. A guarded call enters a
breaker and leaves it: a success does nothing inside, a failure raises. The calls go round 200
instances, and no breaker opens.

The client answers from memory and reports in batches, so there are two rates: `calls_per_s` is what
a call costs its caller, which is all that the peers' calls do; `taken_per_s` counts the time as
well until the service has taken what was reported. Successes of an instance within one batch are
told as one; `success, each another instance` is what is left where that cannot help.
"""

import argparse
import asyncio
import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from loadtest.breakers import INSTANCES, PEERS, Broken, Peer, names
from loadtest.keeping import RESULTS, keep
from loadtest.machine import described
from loadtest.stage import open_url, redis_name
from sekring.client import Sekring
from tests.replicas import Replica
from tests.servers import RedisServer

__all__ = ["Measurement", "main", "measure"]

#: More than ever fail here: no breaker opens.
_NEVER = 10_000

#: The target: so many times pybreaker's rate.
TARGETS = {"success": 100, "failure": 3}

#: Calls of one go that are all to be told, at most: the service takes them for seconds afterwards.
_TOLD_MAX = 5_000


class Candidate(Struct, frozen=True):
    """Does so many calls of its kind; then waits until the service knows of them."""

    work: Callable[[int], None]
    finish: Callable[[], None] = lambda: None
    most: int = 1_000_000_000


class Measurement(Struct, frozen=True):
    """By what was done and who did it: calls a second, and how many times pybreaker's that is."""

    command: str
    machine: str
    server: str
    instances: int
    calls_per_s: dict[str, dict[str, float]]
    taken_per_s: dict[str, dict[str, float]]
    times_pybreaker: dict[str, dict[str, float]]


def measure(seconds: float, rounds: int, command: str = "") -> Measurement:
    """Measure on servers of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        RedisServer(Path(folder)) as server,
        Replica(server.url, redis_timeout_ms=5_000) as service,
        Sekring(service.url, kept_max=10_000_000) as breaker,
    ):
        pace = {"base_ms": 0, "cap_ms": 0}
        service.set_policy(failure_threshold=_NEVER, backoff=pace, fleet_guard={"enabled": False})
        breaker.ready(60)
        work = {
            "permitted": {"sekring": _ours(breaker, _permitted)},
            "success": {
                "sekring": _ours(breaker, _success),
                "sekring, async": _ours(breaker, _success_async),
                **{
                    name: _peer(make(open_url(server)), fails=False) for name, make in PEERS.items()
                },
            },
            "success, each another instance": {"sekring": _ours(breaker, _another, _TOLD_MAX)},
            "failure": {
                "sekring": _ours(breaker, _failure, _TOLD_MAX),
                **{name: _peer(make(open_url(server)), fails=True) for name, make in PEERS.items()},
            },
        }
        rates: dict[str, dict[str, float]] = {what: {} for what in work}
        taken: dict[str, dict[str, float]] = {what: {} for what in work}
        for _ in range(rounds):
            for what, candidates in work.items():
                for name, candidate in candidates.items():
                    rate, rate_taken = _rates(candidate, seconds)
                    rates[what][name] = max(rate, rates[what].get(name, 0))
                    taken[what][name] = max(rate_taken, taken[what].get(name, 0))
        name = redis_name(server)
    return Measurement(
        command=command,
        machine=described(),
        server=name,
        instances=INSTANCES,
        calls_per_s={what: _rounded(found) for what, found in rates.items()},
        taken_per_s={what: _rounded(found) for what, found in taken.items()},
        times_pybreaker={
            what: _rounded({name: rate / found["pybreaker"] for name, rate in found.items()})
            for what, found in rates.items()
            if "pybreaker" in found
        },
    )


def _rates(candidate: Candidate, seconds: float) -> tuple[float, float]:
    """Return how many calls a second it does, and the same until all are told.

    The number of calls grows until they last for half of `seconds`, or there may be no more.
    """
    calls = 100
    while True:
        began_s = time.perf_counter()
        candidate.work(calls)
        worked_s = time.perf_counter() - began_s
        candidate.finish()
        if worked_s >= seconds / 2 or calls == candidate.most:
            return calls / worked_s, calls / (time.perf_counter() - began_s)
        wanted = int(calls * seconds / max(worked_s, 0.001))
        calls = min(candidate.most, max(2 * calls, min(10 * calls, wanted)))


def _peer(peer: Peer, *, fails: bool) -> Candidate:
    return Candidate(lambda calls: peer.work(calls, fails=fails))


# ------------------------------------------------------------------------------- the client


def _ours(
    breaker: Sekring, do: Callable[[Sekring, int], None], most: int = 1_000_000_000
) -> Candidate:
    return Candidate(lambda calls: do(breaker, calls), lambda: breaker.flush(600), most)


def _permitted(breaker: Sekring, calls: int) -> None:
    for name in itertools.islice(names(), calls):
        breaker.permitted(name)


def _success(breaker: Sekring, calls: int) -> None:
    for name in itertools.islice(names(), calls):
        with breaker.guard(name):
            pass


def _success_async(breaker: Sekring, calls: int) -> None:
    async def work() -> None:
        for name in itertools.islice(names(), calls):
            async with breaker.guard(name):
                pass

    asyncio.run(work())


def _another(breaker: Sekring, calls: int) -> None:
    for number in range(calls):
        with breaker.guard(f"other-{number}"):
            pass


def _failure(breaker: Sekring, calls: int) -> None:
    # None fails more often than an instance can before it is refused.
    go = time.monotonic_ns()
    names = [f"failing-{go}-{number}" for number in range(calls // 10 + 1)]
    for name in itertools.islice(itertools.cycle(names), calls):
        with contextlib.suppress(Broken), breaker.guard(name):
            raise Broken


def _rounded(found: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in found.items()}


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print a table, write the results; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1, help="of each [default: 1]")
    parser.add_argument("--rounds", type=int, default=6, help="the best counts [default: 6]")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the figures")
    chosen = parser.parse_args(words)
    command = f"python -m loadtest.guarded --seconds {chosen.seconds:g} --rounds {chosen.rounds}"
    found = measure(chosen.seconds, chosen.rounds, command)
    for what, rates in found.calls_per_s.items():
        for name, rate in rates.items():
            times = found.times_pybreaker.get(what, {}).get(name)
            ratio = "" if times is None else f"{times:8.1f} x"
            taken = found.taken_per_s[what][name]
            print(f"{what:32}{name:16}{rate:12,.0f}/s, taken {taken:12,.0f}/s{ratio}")
    keep(chosen.results, "guarded", found)
    missed = [
        what for what, times in TARGETS.items() if found.times_pybreaker[what]["sekring"] < times
    ]
    print(f"targets: {TARGETS}; {'missed: ' + ', '.join(missed) if missed else 'met'}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
