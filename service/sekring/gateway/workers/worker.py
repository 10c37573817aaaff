"""One worker's life: started, given connections, retired when all of them have ended."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from sekring.gateway.workers.messages import Connect, Ended, Order, Started
from sekring.gateway.workers.pooled import Deadlines, PooledConnection
from sekring.gateway.workers.process import Garbled, WorkerProcess

__all__ = ["Bereaved", "Exited", "Worker"]

#: Told of a process that is gone and of the connections that it had until then.
Bereaved = Callable[[int, Sequence[Connect]], None]

#: Told how a process has ended: `retired`, `crashed`, `killed` or `not_started`.
Exited = Callable[[str], None]


class Worker:
    """A process and its connections: at most `room` in its whole life."""

    def __init__(
        self,
        start: Callable[[], Awaitable[WorkerProcess]],
        room: int,
        deadlines: Deadlines,
        *,
        started: Callable[[str], None],
        bereaved: Bereaved,
        exited: Exited,
    ) -> None:
        """Start with `run`; `started` is told the driver's build."""
        self._start_process = start
        self._process: WorkerProcess | None = None
        self._room = room
        self._deadlines = deadlines
        self._started = started
        self._bereaved = bereaved
        self._exited = exited
        self._live: dict[str, PooledConnection] = {}
        self._ready = False
        self._retired = False
        #: The one that has ended and waits for the process to be gone.
        self._last: PooledConnection | None = None
        self._why: str | None = None
        self._exit_timer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The process' id, `None` while it is not started."""
        return self._process.pid if self._process else None

    @property
    def has_room(self) -> bool:
        """Whether it takes a further connection."""
        return self._room > 0 and not self._retired

    def take(self, connection: PooledConnection) -> None:
        """Make a connection, now or as soon as the process is ready."""
        self._room -= 1
        self._live[connection.order.instance_id] = connection
        if self._ready:
            connection.begin(self)

    # ------------------------------------------------------------- for its connections

    def send(self, order: Order) -> bool:
        """Give the process an order; false if it takes none."""
        return self._process is not None and self._process.send(order)

    def kill(self, why: str) -> None:
        """Kill the process; the first reason is the one that is told."""
        self._retired = True
        self._why = self._why or why
        if self._process:
            self._process.kill()

    def leave(self, connection: PooledConnection) -> None:
        """Forget a connection that has ended; after the last, let the process go."""
        del self._live[connection.order.instance_id]
        if not self._live:
            self._retire()

    def _retire(self) -> None:
        """Have the process exit, by force if it does not."""
        self._retired = True
        if self._process and self._exit_timer is None:
            self._process.let_go()
            loop = asyncio.get_running_loop()
            wait_s = self._deadlines.stop_ms / 1000
            self._exit_timer = loop.call_later(wait_s, self._process.kill)

    # ------------------------------------------------------------------------- its life

    async def run(self, starts: asyncio.Semaphore) -> None:
        """Start the process when it is its turn; return when it is gone."""
        ending = "worker process was not started"
        try:
            async with starts:
                process = await self._start()
            if process:
                await self._listen(process)
        except OSError as error:
            ending = f"worker process could not be started: {error}"
        except Garbled as error:
            self.kill(str(error))
        except asyncio.CancelledError:
            # The event loop ends, and nobody has closed the pool.
            self.kill("the supervisor ends")
            raise
        finally:
            self._retired = True
            self._ready = False
            if self._exit_timer:
                self._exit_timer.cancel()
            try:
                if self._process:
                    ending = f"worker process ended by {await self._process.reap()}"
            finally:
                self._part(ending)

    async def _start(self) -> WorkerProcess | None:
        """Return the process when it is ready; `None` if it is not, or not needed any more."""
        if not self._live:
            return None
        process = self._process = await self._start_process()
        if self._retired:
            # Everybody left while it was being made.
            self._retire()
        try:
            async with asyncio.timeout(self._deadlines.start_ms / 1000):
                event = await process.event()
        except TimeoutError:
            self.kill(f"it was not ready within {self._deadlines.start_ms / 1000:g} s")
            return None
        if event is None:
            return None
        if not isinstance(event, Started):
            raise Garbled("did not say that it has started")
        self._started(event.build)
        self._ready = True
        for connection in list(self._live.values()):
            connection.begin(self)
        return process

    async def _listen(self, process: WorkerProcess) -> None:
        while (event := await process.event()) is not None:
            if isinstance(event, Started):
                raise Garbled("said twice that it has started")
            connection = self._live.get(event.instance_id)
            if connection is None:
                continue
            if not isinstance(event, Ended):
                connection.deliver(event)
            elif len(self._live) > 1:
                connection.end()
            else:
                # Nothing is left of the last one only when the process is gone.
                self._last = connection
                connection.leave()
                self._retire()

    def _part(self, ending: str) -> None:
        """End what the process had."""
        detail = f"worker process killed: {self._why}; {ending}" if self._why else ending
        left = list(self._live.values())
        broken = [connection.order for connection in left if connection is not self._last]
        self._exited(self._reason(broken=bool(broken)))
        try:
            if broken and self._process:
                self._bereaved(self._process.pid, broken)
        finally:
            for connection in left:
                connection.lost(detail)

    def _reason(self, *, broken: bool) -> str:
        if self._process is None:
            return "not_started"
        if self._why:
            return "killed"
        return "crashed" if broken else "retired"
