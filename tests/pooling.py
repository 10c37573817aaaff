"""Connections of a worker pool, for tests: ordered, and lived through to their end."""

import contextlib
import itertools
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from sekring.gateway.workers.choice import DriverChoice
from sekring.gateway.workers.connection import Connection
from sekring.gateway.workers.messages import Connect, Event, Failed
from sekring.gateway.workers.pool import WorkerPool
from sekring.gateway.workers.pooled import Deadlines

__all__ = ["UNCHECKED", "Sessions", "is_gone", "neonize_pool"]

#: A worker of neonize that does not look whether the store has a device: Go panics if not.
UNCHECKED = (
    sys.executable,
    "-u",
    "-P",
    "-c",
    """
import sekring.gateway.workers.neonize.session as session
session.lacks_device = lambda store, jid: False
from sekring.gateway.workers.host import main
main()
""",
)


@contextlib.asynccontextmanager
async def neonize_pool(
    per_worker: int = 1, *, command: tuple[str, ...] | None = None, **deadlines: int
) -> AsyncIterator[WorkerPool]:
    """Make a pool of real neonize workers, and end it."""
    pool = WorkerPool(
        DriverChoice(name="neonize"),
        per_worker=per_worker,
        deadlines=Deadlines(**deadlines),
        command=command,
    )
    try:
        yield pool
    finally:
        await pool.close()


class Ending(Struct, frozen=True):
    """All that a connection told, the processes that were there, and when it was over (s)."""

    events: list[Event]
    pids: set[int]
    took_s: float

    @property
    def failed(self) -> Failed:
        """Its only failure."""
        [failure] = [event for event in self.events if isinstance(event, Failed)]
        return failure


class Sessions:
    """Connects sessions whose devices are in files in a folder."""

    def __init__(self, pool: WorkerPool, folder: Path) -> None:
        """Use a pool."""
        self._pool = pool
        self._folder = folder
        self._numbers = itertools.count()

    def connect(
        self, proxy: str | None = None, *, lease_s: float = 600, **order: Any
    ) -> Connection:
        """Order a connection of a session of its own."""
        name = f"session-{next(self._numbers)}"
        order.setdefault("device_store", str(self._folder / f"{name}.db"))
        until_s = time.monotonic() + lease_s
        return self._pool.connect(
            Connect(instance_id=name, token=1, lease_until_s=until_s, proxy=proxy, **order)
        )

    async def lived(self, proxy: str | None = None, **order: Any) -> Ending:
        """Connect, and return when it has ended."""
        began_s = time.monotonic()
        connection = self.connect(proxy, **order)
        return await self.watched(connection, began_s)

    async def watched(self, connection: Connection, began_s: float) -> Ending:
        """Follow a connection to its end."""
        events, pids = [], set()
        async for event in connection.events():
            events.append(event)
            pids.update(self._pool.pids)
        return Ending(events, pids, time.monotonic() - began_s)


def is_gone(pid: int) -> bool:
    """Tell whether a process runs no more; it may not be reaped yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"
