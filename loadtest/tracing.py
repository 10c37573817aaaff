"""What tracing costs: permits and reports without it, sampled at 1 %, and all of them.

    python -m loadtest.tracing --seconds 5 --rounds 5

starts a Redis, a collector and three services that differ in nothing else, and has wrk ask them in
turn, several rounds of it; of the rounds the best counts, since a busy machine only ever adds to
it. Where there are two cores, the services have one of them and everything else the other. `per_s`
is what wrk counts, `cpu_us` what the service's processes use per request; the ratios are of that,
since on a core of its own a service answers as many requests as it has time for.
"""

import argparse
import contextlib
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tests.replicas import Replica
from tests.servers import RedisServer, free_port

__all__ = ["Measurement", "measure"]

_RESULTS: Final = Path(__file__).parent / "results" / "tracing.json"

#: At 1 %, at least so much of what is done without.
TARGET: Final = 0.9

_CONNECTIONS: Final = 64

#: More than ever fail here: no breaker opens.
_NEVER: Final = 10_000

#: By what is asked, the path below an instance and the body.
_ASKED: Final = {
    "permit": ("attempts", "{}"),
    "report": ("outcomes", '{"outcome":"failure","kind":"dns"}'),
}

#: As many instances as a fleet has; a name for each request, in turn.
_LUA: Final = """
local number = 0
local headers = { ["Content-Type"] = "application/json" }
function request()
  number = (number + 1) %% 20000
  return wrk.format("POST", "/v1/instances/i" .. number .. "/%s", headers, '%s')
end
"""


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
    with _services() as services:
        for _ in range(rounds):
            for what in _ASKED:
                for name, service in services.items():
                    rates = _load(service, what, seconds)
                    found.setdefault(what, {}).setdefault(name, []).append(rates)
    best = {
        what: {name: _best(rates) for name, rates in by_name.items()}
        for what, by_name in found.items()
    }
    return Measurement(
        command=command,
        machine=f"{platform.platform()}, {os.cpu_count()} cores,"
        f" Python {platform.python_version()}",
        rates=best,
        ratios={
            what: {name: round(by["off"].cpu_us / rates.cpu_us, 3) for name, rates in by.items()}
            for what, by in best.items()
        },
    )


@contextlib.contextmanager
def _services() -> Iterator[dict[str, Replica]]:
    port = free_port()
    collector = multiprocessing.Process(target=_collect, args=(port,), daemon=True)
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(_pinned(1))
        collector.start()
        stack.callback(collector.terminate)
        server = stack.enter_context(RedisServer(folder))
        with _pinned(0):
            services = {
                name: stack.enter_context(Replica(server.url, redis_timeout_ms=5_000, **settings))
                for name, settings in {
                    "off": dict[str, object](),
                    "1 %": {**endpoint, "OTEL_TRACES_SAMPLER_ARG": 0.01},
                    "100 %": {**endpoint, "OTEL_TRACES_SAMPLER_ARG": 1},
                }.items()
            }
        services["off"].set_policy(
            failure_threshold=_NEVER,
            backoff={"base_ms": 0, "cap_ms": 0},
            fleet_guard={"enabled": False},
        )
        yield services


@contextlib.contextmanager
def _pinned(core: int) -> Iterator[None]:
    """Have what is started on one core, where there are two and the system knows how."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 1 + core:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _collect(port: int) -> None:
    """Take whatever comes, and forget it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def _load(service: Replica, what: str, seconds: float) -> Rates:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_LUA % _ASKED[what])
        script.flush()
        options = ["-t1", f"-c{_CONNECTIONS}", f"-d{seconds:g}", "--timeout", "20s"]
        command = ["wrk", *options, "-s", script.name]
        before_s = _cpu_s(service.pid)
        done = subprocess.run(  # noqa: S603 - our own words
            [*command, service.url], check=True, capture_output=True, text=True
        )
        used_s = _cpu_s(service.pid) - before_s
    said = done.stdout
    requests = re.search(r"(\d+) requests in", said)
    per_s = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if not requests or not per_s or "Non-2xx" in said or "Socket errors" in said:
        message = f"wrk says:\n{said}"
        raise RuntimeError(message)
    return Rates(float(per_s[1]), used_s / int(requests[1]) * 1e6)


def _cpu_s(group: int) -> float:
    """Return the processor time that the processes of a group have used."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
            if int(fields[2]) == group:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


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
    parser.add_argument("--out", type=Path, default=_RESULTS, help=f"[default: {_RESULTS.name}]")
    chosen = parser.parse_args(words)
    command = f"python -m loadtest.tracing --seconds {chosen.seconds:g} --rounds {chosen.rounds}"
    found = measure(chosen.seconds, chosen.rounds, command)
    print(f"{'':8} {'tracing':8} {'per s':>8} {'CPU, us':>8} {'to off':>8}")
    for what, by_name in found.rates.items():
        for name, rates in by_name.items():
            ratio = found.ratios[what][name]
            print(f"{what:8} {name:8} {rates.per_s:8.0f} {rates.cpu_us:8.1f} {ratio:8.2f}")
    chosen.out.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    return int(min(ratios["1 %"] for ratios in found.ratios.values()) < TARGET)


if __name__ == "__main__":
    sys.exit(main())
