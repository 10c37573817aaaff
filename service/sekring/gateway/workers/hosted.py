"""The sessions of a worker process, on its event loop."""

import asyncio
import time
import traceback
from collections.abc import Coroutine

from sekring.errors import DriverError
from sekring.gateway.workers.deadman import DeadMan
from sekring.gateway.workers.driver import DrivenSession, SessionDriver, Tell
from sekring.gateway.workers.messages import (
    Answered,
    Connect,
    Ended,
    Event,
    Failed,
    LogOut,
    Order,
    Pair,
    Send,
    Stop,
)
from sekring.taxonomy import Kind

__all__ = ["Host"]


class Host:
    """The sessions of this process, on its event loop."""

    def __init__(self, driver: SessionDriver, tell: Tell, dead_man: DeadMan) -> None:
        """Run sessions of `driver`."""
        self._driver = driver
        self._tell = tell
        self._dead_man = dead_man
        self._sessions: dict[str, DrivenSession] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Return when `close` was called and no session is left."""
        await self._over.wait()

    def take(self, order: Order) -> None:
        """Begin to do as ordered."""
        if isinstance(order, Connect):
            self._connect(order)
        elif isinstance(order, Stop):
            self.stop(order.instance_id)
        elif isinstance(order, Pair | Send | LogOut):
            self._begin(self._answer(order))
        # The order thread has dealt with `Extend` itself.

    def stop(self, instance_id: str) -> None:
        """Stop a session, if there is one."""
        if session := self._sessions.get(instance_id):
            self._begin(session.stop())

    def close(self) -> None:
        """Let `run` end with the last session."""
        self._closing = True
        self._settle()

    def _settle(self) -> None:
        if self._closing and not self._sessions:
            self._over.set()

    def _begin(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # A stop that failed: the switch, or the supervisor, ends the process in a moment.
            traceback.print_exception(error)

    def _connect(self, order: Connect) -> None:
        ended = False

        def tell(event: Event) -> None:
            # A library's thread may speak up after the end.
            if not ended:
                self._tell(event)

        async def live() -> None:
            nonlocal ended
            try:
                if order.lease_until_s > time.monotonic():
                    await session.run()
            except Exception as error:  # noqa: BLE001 - a driver's fault fails its session
                tell(_fault(order, error))
            ended = True
            self._end(order)

        try:
            session = self._driver.session(order, tell)
        except Exception as error:  # noqa: BLE001 - as above
            tell(_fault(order, error))
            self._end(order)
            return
        # Known from here on, so that a `Stop` on the heels of the order finds it.
        self._sessions[order.instance_id] = session
        self._begin(live())

    def _end(self, order: Connect) -> None:
        self._sessions.pop(order.instance_id, None)
        # In this order: the next connect of the same session comes on the heels of `Ended`.
        self._dead_man.release(order.instance_id)
        self._tell(Ended(instance_id=order.instance_id))
        self._settle()

    async def _answer(self, order: Pair | Send | LogOut) -> None:
        result = error = None
        try:
            result = await self._asked(order)
        except DriverError as refusal:
            error = str(refusal)
        except Exception as fault:  # noqa: BLE001 - the asker is told
            error = f"{type(fault).__name__}: {fault}"
        self._tell(
            Answered(instance_id=order.instance_id, ask=order.ask, result=result, error=error)
        )

    async def _asked(self, order: Pair | Send | LogOut) -> str | None:
        session = self._sessions.get(order.instance_id)
        if session is None:
            raise DriverError("The connection has ended.")
        match order:
            case Pair():
                return await session.pair(order.phone)
            case Send():
                return await session.send(order.to, order.text)
            case LogOut():
                await session.log_out()
                return None


def _fault(order: Connect, error: Exception) -> Failed:
    detail = f"{type(error).__name__}: {error}"
    return Failed(instance_id=order.instance_id, kind=Kind.UNKNOWN, detail=detail)
