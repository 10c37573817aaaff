"""The whole service beside a route that does nothing, and beside Redis alone: ratios in one run.

    python -m loadtest.bench --rounds 5 --seconds 2

Each round starts a Redis, a service with a token and tracing at 1 %, and a Litestar route that does
nothing (`loadtest.noop`), all fresh, and sends each of them load in turn; a ratio is taken within a
round, and the median of the rounds is shown. The servers run on one core; wrk, Redis and the
collector of traces on the other (Redis on a third where there is one). redis-benchmark takes the
service's place. Beside each rate stands the processor time that a request took of the service's
processes and of Redis, work that was put off included: what to go by on a busy machine.

What is sent: permits of 200 open instances; permits of instances never seen, each of which
registers an attempt in Redis; failures of 20,000 instances, 14 each, of which none trips; the same
in batches of 100; batches of first failures, each of another instance, which is the one load that
redis-benchmark can send as well. The latency at a given rate is that of 256 connections that pause
between requests, by chance: wrk knows no fixed rate.

`--check` compares the ratios with the stored ones and writes nothing.
"""

import argparse
import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import httpx
import msgspec
from msgspec import Struct

from loadtest import commands, footprint, stage, wrk
from loadtest.figures import Ratio
from loadtest.keeping import RESULTS, keep
from loadtest.machine import Cores, described, on_core
from loadtest.stage import Collector, Served
from loadtest.targets import plot, table, worse
from tests.servers import RedisServer

__all__ = ["Bench", "check", "main", "measure", "run"]

#: As many as `load.lua` has.
_OPEN, _BATCH = 200, 100

#: Connections of a load; of one that sends batches, so that as many reports are under way as
#: redis-benchmark has commands (50 times 16); of one with pauses.
_CONNECTIONS, _BATCHES, _PAUSING = 64, 8, 256

#: Share of a permit's peak rate at which latencies are compared.
_SHARE = 0.7

#: Numbers that a load of a round may use up: no two loads say the same.
_NUMBERS = 10_000_000

_WARM_UP_S = 0.5

#: A machine so busy that it answers nothing in this time cannot be measured, in seconds.
_MOST_S = 30


class Cost(Struct, frozen=True):
    """What a load came to: medians of the rounds."""

    #: Requests, or reports of a batch, a second.
    per_s: float
    #: Microseconds of processor time for each, of the server's processes and of Redis.
    server_us: float
    redis_us: float
    p50_ms: float = 0
    p99_ms: float = 0


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


class _Round:
    """One round: fresh servers, every load once."""

    def __init__(self, seconds: float, cores: Cores, collector: Collector) -> None:
        self.costs: dict[str, Cost] = {}
        self.idle_percent = 0.0
        self.redis = ""
        self._seconds = seconds
        self._warm_up_s = min(_WARM_UP_S, seconds)
        self._cores = cores
        self._collector = collector
        self._loads = 0

    def run(self) -> None:
        """Measure everything."""
        cores = self._cores
        with stage.redis_server(cores) as server, stage.noop(cores) as noop:
            self.redis = stage.redis_name(server)
            self._redis_pid = stage.redis_pid(server)
            asyncio.run(stage.set_policy(server, stage.LASTING))
            asyncio.run(stage.trip(server, [f"62810{number:09}" for number in range(_OPEN)]))
            with stage.service(server.url, cores, self._collector) as service:
                see_answers(service)
                self._idle(service)
                for kind in ("permit_open", "permit_closed", "report"):
                    # Each beside the route that does nothing, within seconds.
                    self._throughput(noop, "noop", f"noop_{kind}")
                    self._throughput(service, kind)
                rate = _SHARE * self.costs["permit_open"].per_s
                self._paced(noop, "noop", rate, "noop_paced")
                self._paced(service, "permit_open", rate, "permit_paced")
                self._throughput(service, "batch", times=_BATCH)
                self._throughput(service, "batch_fresh", times=_BATCH)
            with stage.service(server.url, cores, self._collector, workers=2) as two:
                self._throughput(two, "permit_open", "permit_two_processes")
        self._redis_alone()

    def _throughput(self, served: Served, kind: str, name: str = "", times: int = 1) -> None:
        self._answered(served, kind, self._warm_up_s, times=times)
        self.costs[name or kind] = self._cost(served, kind, times=times)

    def _paced(self, served: Served, kind: str, rate: float, name: str) -> None:
        """Send about `rate` requests a second: a pause is as long as a connection has left."""
        cycle_ms = pause_ms = 1000 * _PAUSING / rate
        tried = self._answered(served, kind, self._warm_up_s, think_ms=pause_ms)
        if tried.requests:
            pause_ms -= 1000 * _PAUSING / tried.per_s - cycle_ms
        self.costs[name] = self._cost(served, kind, think_ms=max(1.0, pause_ms))

    def _cost(self, served: Served, kind: str, *, times: int = 1, think_ms: float = 0) -> Cost:
        served_s, redis_s = served.spent_s(), footprint.process_s(self._redis_pid)
        seconds = self._seconds
        answered = self._answered(served, kind, seconds, times=times, think_ms=think_ms)
        while not answered.requests:
            if seconds > _MOST_S:
                raise wrk.LoadFailed(f"{kind}: no answer within {seconds:g} s")
            seconds *= 2
            answered = self._answered(served, kind, seconds, times=times, think_ms=think_ms)
        count = answered.requests * times
        return Cost(
            per_s=answered.per_s * times,
            server_us=(served.spent_s() - served_s) * 1e6 / count,
            redis_us=(footprint.process_s(self._redis_pid) - redis_s) * 1e6 / count,
            p50_ms=answered.p50_ms,
            p99_ms=answered.p99_ms,
        )

    def _answered(
        self, served: Served, kind: str, seconds: float, *, times: int = 1, think_ms: float = 0
    ) -> wrk.Answered:
        """Send a load that says what none has said before, and wait until all its work is done."""
        self._loads += 1
        connections = _PAUSING if think_ms else _CONNECTIONS if times == 1 else _BATCHES
        answered = wrk.send(
            served.url,
            kind,
            token=served.token,
            first=_NUMBERS * self._loads // times,
            seconds=seconds,
            core=self._cores.load,
            connections=connections,
            think_ms=think_ms,
        )
        footprint.wait_until_calm(served.spent_s)
        return answered

    def _idle(self, service: Served) -> None:
        footprint.wait_until_calm(service.spent_s)
        before_s, began_s = service.spent_s(), time.monotonic()
        time.sleep(max(0.2, self._seconds / 2))
        self.idle_percent = 100 * (service.spent_s() - before_s) / (time.monotonic() - began_s)

    def _redis_alone(self) -> None:
        """Have redis-benchmark send what the service sends: first failures, each of an instance."""
        with stage.redis_server(self._cores) as server:
            asyncio.run(stage.set_policy(server, stage.LASTING))
            call = asyncio.run(commands.report(server))
            pid = stage.redis_pid(server)
            rate = self._benchmark(server, call, 2_000)
            before_s, count = footprint.process_s(pid), max(2_000, int(rate * self._seconds))
            rate = self._benchmark(server, call, count)
            redis_us = (footprint.process_s(pid) - before_s) * 1e6 / count
            with server.client() as client:
                if client.dbsize() < count:
                    raise wrk.LoadFailed("redis-benchmark has not named an instance each time")
            self.costs["redis_benchmark"] = Cost(rate, 0, redis_us)

    def _benchmark(self, server: RedisServer, call: commands.Call, count: int) -> float:
        return wrk.redis_benchmark(
            server.port,
            call.words,
            last=call.last,
            count=count,
            core=self._cores.server,
        )


def see_answers(service: Served) -> None:
    """Ask once for what is measured: the answers are those that are meant.

    Raises:
        LoadFailed: one is another.
    """
    failure = {"outcome": "failure", "kind": "websocket"}
    with httpx.Client(base_url=service.url, headers=service.headers, timeout=20) as client:
        asked = client.post("/v1/instances/62810000000000/attempts", json={}).json()
        of_closed = client.post("/v1/instances/check/attempts", json={}).json()
        verdict = client.post("/v1/instances/check/outcomes", json=failure).json()
        del client.headers["Authorization"]
        stranger = client.post("/v1/instances/check/attempts", json={})
    if asked.get("permitted") is not False:
        raise wrk.LoadFailed(f"a permit of an open instance is answered {asked}")
    if of_closed.get("permitted") is not True:
        raise wrk.LoadFailed(f"a permit of a closed instance is answered {of_closed}")
    if verdict.get("why") != "counted":
        raise wrk.LoadFailed(f"a failure is answered {verdict}")
    if stranger.status_code != 401:
        raise wrk.LoadFailed(f"without a token the answer is {stranger.status_code}")


def measure(rounds: int, seconds: float, command: str = "") -> Bench:
    """Measure so many rounds, each load for so many seconds."""
    cores = Cores.of_this_machine()
    done = []
    # The collector's threads as well are where they are begun.
    with on_core(cores.load):
        collector = Collector()
        for number in range(rounds):
            one = _Round(seconds, cores, collector)
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
            for name in ("permit_open", "permit_closed", "report")
        },
    )


def _ratios(costs: dict[str, list[Cost]], cores: Cores) -> dict[str, Ratio]:
    def rates(name: str) -> list[float]:
        return _each(costs[name], "per_s")

    one, two = costs["permit_open"], costs["permit_two_processes"]
    ratios = {
        name: Ratio.between(rates(name), rates(f"noop_{name}"))
        for name in ("permit_open", "permit_closed", "report")
    }
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
