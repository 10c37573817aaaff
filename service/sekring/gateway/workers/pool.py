"""All worker processes of a gateway: started on demand, used up, replaced.

::

    pool = WorkerPool(DriverChoice(name="scripted"), per_worker=1)
    connection = pool.connect(Connect(instance_id="demo", token=1, lease_until_s=until_s))
    async for event in connection.events(): ...
    await pool.close()
"""

import asyncio
import functools
import os
from collections.abc import Sequence

from sekring.gateway.workers.choice import DriverChoice
from sekring.gateway.workers.messages import Connect
from sekring.gateway.workers.pooled import Deadlines, PooledConnection
from sekring.gateway.workers.process import WorkerProcess
from sekring.gateway.workers.worker import Exited, Worker

__all__ = ["WorkerPool"]

#: Workers that start at the same time, for each processor: an import keeps one busy.
_STARTS_PER_CPU = 2


class WorkerPool:
    """Implements `Workers`. To be used on one event loop."""

    def __init__(
        self,
        driver: DriverChoice,
        *,
        per_worker: int = 1,
        deadlines: Deadlines | None = None,
        command: Sequence[str] | None = None,
        exited: Exited = lambda _: None,
    ) -> None:
        """Run `driver`, with at most `per_worker` connects in a worker's life.

        `exited` is told of each worker that is gone; `command` stands in for the worker's own, in
        tests.

        Raises:
            StartError: the driver's library is not installed, or its scenario is wrong.
        """
        driver.check()
        self._driver = driver
        self._build = driver.build
        self._per_worker = per_worker
        self._deadlines = deadlines or Deadlines()
        self._command = command
        self._exited = exited
        self._starts = asyncio.Semaphore(_STARTS_PER_CPU * _processors())
        self._workers: dict[asyncio.Task[None], Worker] = {}
        self._connections: dict[str, PooledConnection] = {}
        #: Which worker has a connection, from the beginning to its end.
        self._owners: dict[PooledConnection, Worker] = {}
        self._closed = False

    @property
    def build(self) -> str:
        """The driver's library and version, as the breaker is told: `neonize/0.5.2`."""
        return self._build

    @property
    def pids(self) -> list[int]:
        """The worker processes that there are."""
        return [worker.pid for worker in self._workers.values() if worker.pid is not None]

    def connect(self, order: Connect) -> PooledConnection:
        """Have a worker make a connection; what goes wrong comes as an event.

        Raises:
            RuntimeError: the instance's previous connection has not ended.
        """
        if order.instance_id in self._connections:
            raise RuntimeError(f"{order.instance_id} is still connected")
        connection = PooledConnection(order, self._deadlines, self._ended)
        self._connections[order.instance_id] = connection
        if self._closed:
            connection.end()
        else:
            worker = self._owners[connection] = self._vacancy()
            worker.take(connection)
        return connection

    async def close(self) -> None:
        """Stop all connections; returns when no process is left."""
        self._closed = True
        await asyncio.gather(*(each.stop() for each in list(self._connections.values())))
        while self._workers:
            await asyncio.wait(list(self._workers))

    def _vacancy(self) -> Worker:
        for worker in self._workers.values():
            if worker.has_room:
                return worker
        worker = Worker(
            functools.partial(WorkerProcess.start, self._driver, self._per_worker, self._command),
            self._per_worker,
            self._deadlines,
            started=self._note_build,
            bereaved=self._driver.bereaved,
            exited=self._exited,
        )
        task = asyncio.create_task(worker.run(self._starts))
        self._workers[task] = worker
        task.add_done_callback(self._gone)
        return worker

    def _ended(self, connection: PooledConnection) -> None:
        del self._connections[connection.order.instance_id]
        if worker := self._owners.pop(connection, None):
            worker.leave(connection)

    def _note_build(self, build: str) -> None:
        self._build = build

    def _gone(self, task: asyncio.Task[None]) -> None:
        del self._workers[task]


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
