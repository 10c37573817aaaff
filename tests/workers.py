"""Worker processes in tests: pools with a scenario, their log, and workers that misbehave."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from msgspec import Struct

from sekring.gateway.workers.choice import DriverChoice
from sekring.gateway.workers.messages import Connect, Ended, Event
from sekring.gateway.workers.pool import WorkerPool
from sekring.gateway.workers.pooled import Deadlines, PooledConnection

__all__ = [
    "FAKE",
    "LogLine",
    "Playing",
    "collect",
    "fake",
    "is_dead",
    "is_gone",
    "playing",
    "until",
]

#: What a worker that is none begins with: `say(bytes)` writes to the supervisor.
FAKE = """
import json, os, sys, time
fd = json.loads(sys.argv[1])["events_fd"]
def say(line): os.write(fd, line)
def started(): say(b'{"event":"started","build":"fake/1"}\\n')
"""


class LogLine(Struct, frozen=True):
    """A line of the scripted driver's log."""

    event: str
    instance: str
    token: int
    number: int
    pid: int
    at_s: float
    length: int | None = None


class Playing:
    """A pool that plays a scenario, with short deadlines."""

    def __init__(self, folder: Path, scenario: str = "", **settings: object) -> None:
        """Play `scenario`, the text of a TOML file; `settings` are the pool's and deadlines."""
        self.log_path = folder / "scripted.jsonl"
        path = folder / "scenario.toml"
        path.write_text(scenario)
        self.driver = DriverChoice(name="scripted", scenario=str(path), log=str(self.log_path))
        deadlines = {
            name: settings.pop(name) for name in Deadlines.__struct_fields__ if name in settings
        }
        self.pool = WorkerPool(
            self.driver,
            deadlines=Deadlines(**deadlines),  # type: ignore[arg-type]
            **settings,  # type: ignore[arg-type]
        )

    def connect(self, instance_id: str, lease_s: float = 60, number: int = 0) -> PooledConnection:
        """Connect a session whose lease lasts so long."""
        until_s = time.monotonic() + lease_s
        return self.pool.connect(
            Connect(instance_id=instance_id, token=1, lease_until_s=until_s, number=number)
        )

    def log(self, event: str | None = None) -> list[LogLine]:
        """Return what was logged until now, of one event or of all."""
        if not self.log_path.exists():
            return []
        lines = [json.loads(line) for line in self.log_path.read_text().splitlines()]
        return [LogLine(**line) for line in lines if event in {None, line["event"]}]


@contextlib.asynccontextmanager
async def playing(folder: Path, scenario: str = "", **settings: object) -> AsyncIterator[Playing]:
    """Have a pool, and see at the end that it leaves no process behind."""
    play = Playing(folder, scenario, **settings)
    try:
        yield play
    finally:
        pids = play.pool.pids
        await play.pool.close()
        assert not play.pool.pids
        assert all(is_gone(pid) for pid in pids)


async def collect(connection: PooledConnection) -> list[Event]:
    """Return all events of a connection, when it has ended: once, by `Ended`."""
    async with asyncio.timeout(30):
        events = [event async for event in connection.events()]
    assert [type(event) for event in events].count(Ended) == 1
    assert isinstance(events[-1], Ended)
    return events


async def until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Wait until `condition` holds; fail with `what` after a generous time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.01)


def fake(code: str) -> Sequence[str]:
    """Return the command of a worker that runs `code` instead."""
    return (sys.executable, "-u", "-c", FAKE + code)


def is_gone(pid: int) -> bool:
    """Whether there is no such process, not even a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def is_dead(pid: int) -> bool:
    """Whether the process runs no more, be it that nobody has reaped it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return is_gone(pid)
    return stat.rpartition(")")[2].split()[0] == "Z"
