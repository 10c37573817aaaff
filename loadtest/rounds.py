"""One round of the bench: fresh servers, and every load once."""

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import httpx
from msgspec import Struct

from loadtest import commands, footprint, stage, wrk
from loadtest.machine import Cores
from loadtest.stage import Collector, Served
from tests.servers import RedisServer

__all__ = ["BESIDE", "Cost", "Round"]

#: Loads, and what the route that does nothing is sent beside each: as little, or as much.
BESIDE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "permit_open": "noop",
        "permit_open_body": "noop_body",
        "permit_closed": "noop",
        "report": "noop_body",
    }
)

#: As many as `load.lua` has.
_OPEN, _BATCH = 200, 100

#: Connections of a load; of one that sends batches, so that as many reports are under way as
#: redis-benchmark has commands (50 times 16); of one with pauses.
_CONNECTIONS, _BATCHES, _PAUSING = 64, 8, 256

#: Share of the lower peak rate at which latencies are compared.
_SHARE = 0.7

#: Numbers that a load of a round may use up: no two loads say the same.
_NUMBERS = 10_000_000

_WARM_UP_S = 0.5

#: A machine so busy that it answers nothing in this time cannot be measured, in seconds.
_MOST_S = 30


class Cost(Struct, frozen=True):
    """What a load came to."""

    #: Requests, or reports of a batch, a second.
    per_s: float
    #: Microseconds of processor time for each, of the server's processes and of Redis.
    server_us: float
    redis_us: float
    p50_ms: float = 0
    p99_ms: float = 0


class _Load(Struct, frozen=True):
    """What is sent: requests of a kind of `load.lua`, with `times` reports in each."""

    kind: str
    times: int = 1
    #: Each has as many connections as one alone would have, so as much to do at a time.
    processes: int = 1
    #: Mean pause of a connection between an answer and its next request.
    think_ms: float = 0

    @property
    def connections(self) -> int:
        """Over how many connections."""
        if self.think_ms:
            return _PAUSING
        return _CONNECTIONS * self.processes if self.times == 1 else _BATCHES


class Round:
    """Runs once; then `costs` has what every load came to, by its name."""

    def __init__(self, seconds: float, cores: Cores, collector: Collector) -> None:
        """Prepare; nothing is started yet."""
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
                for kind, beside in BESIDE.items():
                    # Within seconds of each other.
                    self._throughput(noop, beside, f"noop_{kind}")
                    self._throughput(service, kind)
                # That both can keep up with.
                rate = _SHARE * min(
                    self.costs[name].per_s for name in ("permit_open", "noop_permit_open")
                )
                self._paced(noop, "noop", rate, "noop_paced")
                self._paced(service, "permit_open", rate, "permit_paced")
                self._throughput(service, _Load("batch", times=_BATCH))
                self._throughput(service, _Load("batch_fresh", times=_BATCH))
            with stage.service(server.url, cores, self._collector, workers=2) as two:
                self._throughput(two, _Load("permit_open", processes=2), "permit_two_processes")
        self._redis_alone()

    def _throughput(self, served: Served, load: _Load | str, name: str = "") -> None:
        if isinstance(load, str):
            load = _Load(load)
        self._answered(served, load, self._warm_up_s)
        self.costs[name or load.kind] = self._cost(served, load)

    def _paced(self, served: Served, kind: str, rate: float, name: str) -> None:
        """Send about `rate` requests a second: a pause is as long as a connection has left."""
        cycle_ms = pause_ms = 1000 * _PAUSING / rate
        tried = self._answered(served, _Load(kind, think_ms=pause_ms), self._warm_up_s)
        if tried.requests:
            pause_ms -= 1000 * _PAUSING / tried.per_s - cycle_ms
        self.costs[name] = self._cost(served, _Load(kind, think_ms=max(1.0, pause_ms)))

    def _cost(self, served: Served, load: _Load) -> Cost:
        served_s, redis_s = served.spent_s(), footprint.process_s(self._redis_pid)
        seconds = self._seconds
        answered = self._answered(served, load, seconds)
        while not answered.requests:
            if seconds > _MOST_S:
                raise wrk.LoadFailed(f"{load.kind}: no answer within {seconds:g} s")
            seconds *= 2
            answered = self._answered(served, load, seconds)
        count = answered.requests * load.times
        return Cost(
            per_s=answered.per_s * load.times,
            server_us=(served.spent_s() - served_s) * 1e6 / count,
            redis_us=(footprint.process_s(self._redis_pid) - redis_s) * 1e6 / count,
            p50_ms=answered.p50_ms,
            p99_ms=answered.p99_ms,
        )

    def _answered(self, served: Served, load: _Load, seconds: float) -> wrk.Answered:
        """Send a load that says what none has said before, and wait until all its work is done."""
        self._loads += 1
        answered = wrk.send(
            served.url,
            load.kind,
            token=served.token,
            first=_NUMBERS * self._loads // load.times,
            seconds=seconds,
            core=self._cores.load,
            connections=load.connections,
            think_ms=load.think_ms,
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
