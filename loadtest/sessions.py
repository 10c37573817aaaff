"""What real WhatsApp clients cost: memory and threads of worker processes and of their supervisor.

    python -m loadtest.sessions --count 100 --per-worker 1 25

has neonize connect so many sessions through a proxy on this machine that takes every connection and
says nothing: all of them dial at once, and stay. Then everything is measured, from /proc: the
proportional set size (PSS), which counts a page that several processes share in parts, so that the
sum is what the machine needs; and threads. Then the proxy breaks all connections: all sessions fail
at the same moment, each of which is told and ends, its process too. WhatsApp is never reached.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection as _Pipe
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

from sekring.gateway.workers.connection import Connection
from sekring.gateway.workers.messages import Connected, Failed
from sekring.gateway.workers.pool import WorkerPool
from tests.peers import Peer, stay_silent
from tests.pooling import Sessions, neonize_pool

__all__ = ["Cost", "Footprint", "Measurement", "measure"]

_RESULTS = Path(__file__).parent / "results" / "sessions.json"

#: Longer than everything takes together.
_PATIENCE_S = 1_200

#: After the last session began to dial, until its process has settled.
_SETTLE_S = 2.0


class Footprint(Struct, frozen=True):
    """What one or several processes have at some moment."""

    processes: int
    pss_mb: float
    threads: int
    fds: int

    @classmethod
    def of(cls, pids: Sequence[int]) -> "Footprint":
        """Read it."""
        folders = [Path("/proc") / str(pid) for pid in pids]
        return cls(
            processes=len(pids),
            pss_mb=round(sum(map(_pss_kb, folders)) / 1024, 1),
            threads=sum(len(list((folder / "task").iterdir())) for folder in folders),
            fds=sum(len(list((folder / "fd").iterdir())) for folder in folders),
        )


class Cost(Struct, frozen=True, kw_only=True):
    """One run."""

    sessions: int
    per_worker: int
    #: From the first order until all dialled.
    dialling_after_s: float
    workers: Footprint
    pss_mb_per_session: float
    threads_per_session: float
    supervisor_before: Footprint
    supervisor_with_all: Footprint
    supervisor_after: Footprint
    #: From the moment when all connections broke.
    all_failed_after_s: float
    all_gone_after_s: float
    kinds: dict[str, int]


class Measurement(Struct, frozen=True):
    """What was measured, and on what."""

    command: str
    machine: str
    driver: str
    runs: list[Cost]


async def measure(count: int, per_worker: int) -> tuple[str, Cost]:
    """Have `count` sessions dial and fail at once; return the driver, and what it cost.

    Raises:
        RuntimeError: a session did something else than to dial and to fail.
    """
    patience_ms = _PATIENCE_S * 1000
    with tempfile.TemporaryDirectory() as folder, _silent_proxy() as proxy:
        async with neonize_pool(
            per_worker, dial_ms=patience_ms, start_ms=patience_ms, ending_ms=patience_ms
        ) as pool:
            before = Footprint.of([os.getpid()])
            sessions = Sessions(pool, Path(folder))
            began_s = time.monotonic()
            url = f"socks5://127.0.0.1:{_asked(proxy, 'port')}"
            ordered = [sessions.connect(url, lease_s=_PATIENCE_S) for _ in range(count)]
            failures = [asyncio.create_task(_failure(one)) for one in ordered]
            async with asyncio.timeout(_PATIENCE_S):
                while _asked(proxy, "count") < count:  # noqa: ASYNC110 - another process counts
                    await asyncio.sleep(0.1)
                dialling_s = time.monotonic() - began_s
                await asyncio.sleep(_SETTLE_S)
                workers = Footprint.of(pool.pids)
                with_all = Footprint.of([os.getpid()])
                broken_s = time.monotonic()
                _asked(proxy, "break")
                found = await asyncio.gather(*failures)
                failed_s = time.monotonic() - broken_s
                gone_s = await _all_gone(pool, broken_s)
            after = Footprint.of([os.getpid()])
        return pool.build, Cost(
            sessions=count,
            per_worker=per_worker,
            dialling_after_s=round(dialling_s, 1),
            workers=workers,
            pss_mb_per_session=round(workers.pss_mb / count, 2),
            threads_per_session=round(workers.threads / count, 2),
            supervisor_before=before,
            supervisor_with_all=with_all,
            supervisor_after=after,
            all_failed_after_s=round(failed_s, 2),
            all_gone_after_s=round(gone_s, 2),
            kinds={kind: found.count(kind) for kind in sorted(set(found))},
        )


@contextlib.contextmanager
def _silent_proxy() -> Iterator[_Pipe]:
    """Run the proxy in a process of its own: its threads are none of the supervisor's."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_stay_silent, args=(there,), daemon=True)
    process.start()
    try:
        yield here
    finally:
        process.terminate()
        process.join()


def _stay_silent(asked: _Pipe) -> None:
    with Peer(stay_silent) as peer:
        while True:
            match asked.recv():
                case "port":
                    asked.send(peer.port)
                case "count":
                    asked.send(peer.open)
                case _:
                    peer.break_all()
                    asked.send(0)


def _asked(proxy: _Pipe, question: str) -> int:
    proxy.send(question)
    return int(proxy.recv())


async def _failure(connection: Connection) -> str:
    """Return the kind of a connection's failure, at its end."""
    kind = None
    async for event in connection.events():
        if isinstance(event, Failed):
            kind = event.kind
        elif isinstance(event, Connected):
            raise RuntimeError(f"{event.instance_id} is connected, to what?")  # noqa: TRY004
    if kind is None:
        raise RuntimeError("a connection ended without a failure")
    return kind.value


async def _all_gone(pool: WorkerPool, since_s: float) -> float:
    while pool.pids:  # noqa: ASYNC110 - processes end by themselves
        await asyncio.sleep(0.02)
    return time.monotonic() - since_s


def _pss_kb(folder: Path) -> int:
    lines = (folder / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print a table, write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100, help="sessions at once [default: 100]")
    parser.add_argument(
        "--per-worker",
        type=int,
        nargs="+",
        default=[1, 25],
        metavar="SESSIONS",
        help="sessions in a worker process, one run for each [default: 1 25]",
    )
    parser.add_argument("--out", type=Path, default=_RESULTS, help=f"[default: {_RESULTS.name}]")
    chosen = parser.parse_args(words)
    runs, driver = [], ""
    for per_worker in chosen.per_worker:
        driver, cost = uvloop.run(measure(chosen.count, per_worker))  # as the gateway does
        runs.append(cost)
    print(_table(runs))
    named = " ".join(map(str, chosen.per_worker))
    python = f"Python {platform.python_version()}"
    found = Measurement(
        command=f"python -m loadtest.sessions --count {chosen.count} --per-worker {named}",
        machine=f"{platform.platform()}, {os.cpu_count()} cores, {python}",
        driver=driver,
        runs=runs,
    )
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(msgspec.to_builtins(found), indent=2) + "\n")
    print(chosen.out)
    return 0


def _table(runs: Sequence[Cost]) -> str:
    head = ("per worker", "PSS MB each", "threads each", "supervisor MB", "all failed s", "gone s")
    rows = [
        (
            one.per_worker,
            one.pss_mb_per_session,
            one.threads_per_session,
            one.supervisor_with_all.pss_mb,
            one.all_failed_after_s,
            one.all_gone_after_s,
        )
        for one in runs
    ]
    return "\n".join("".join(f"{cell:>15}" for cell in row) for row in (head, *rows))


if __name__ == "__main__":
    sys.exit(main())
