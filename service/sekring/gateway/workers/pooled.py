"""One connection as the pool hands it out: its events, its deadlines, its end."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from msgspec import Struct, structs

from sekring.errors import DriverError
from sekring.gateway.workers.messages import (
    Answered,
    Connect,
    Connected,
    Ended,
    Event,
    Extend,
    Failed,
    LogOut,
    Order,
    Pair,
    Paired,
    QrShown,
    Send,
    Stop,
)
from sekring.taxonomy import Kind

__all__ = ["Deadlines", "PooledConnection", "WorkerEnd"]

#: Longest detail of a failure, in characters.
_DETAIL: Final = 1_000

#: Events that may wait to be taken; a worker that tells more is out of its mind.
_UNTAKEN: Final = 1_000

#: How long reading what has come may take, in seconds.
_READING_S: Final = 0.05


class Deadlines(Struct, frozen=True, kw_only=True):
    """How long things may take; past it, the worker process is killed."""

    #: From the order to a connection, a QR code or a failure.
    dial_ms: int = 60_000
    #: From the first QR code to a connection.
    pairing_ms: int = 180_000
    #: From the process' start to its readiness.
    start_ms: int = 60_000
    #: From `stop`, to the connection's end.
    stop_ms: int = 3_000
    #: From a failure, to the connection's end.
    ending_ms: int = 10_000
    #: From a question (`pair`, `send`, `log_out`) to its answer; nobody is killed for that.
    ask_ms: int = 30_000


class WorkerEnd(Protocol):
    """What a connection may ask of its worker."""

    def send(self, order: Order) -> bool:
        """Give it an order; false if it takes none."""
        ...

    def kill(self, why: str) -> None:
        """Kill the process, and with it the connections of other sessions."""
        ...


class _Deadline:
    """Calls `then` after a time, unless it is cancelled.

    Not at once: after this process was frozen, what came meanwhile is to be read first.
    """

    def __init__(self, ms: int, then: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._then = then
        self._handle = self._loop.call_later(ms / 1000, self._look_again)

    def cancel(self) -> None:
        self._handle.cancel()

    def _look_again(self) -> None:
        self._handle = self._loop.call_later(_READING_S, self._then)


class PooledConnection:
    """Implements `Connection`."""

    def __init__(
        self, order: Connect, deadlines: Deadlines, ended: Callable[["PooledConnection"], None]
    ) -> None:
        """Wait for `begin`; `ended` is told when nothing of it is left."""
        self.order = order
        self._tell_ended = ended
        self._deadlines = deadlines
        self._worker: WorkerEnd | None = None
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._timer: _Deadline | None = None
        self._stop_timer: _Deadline | None = None
        self._asks = itertools.count()
        self._answers: dict[int, asyncio.Future[str | None]] = {}
        self._ended = asyncio.Event()
        self._stopping = False
        self._left = False
        self._failed = False
        self._paired_up = False
        self._connected = False

    # ---------------------------------------------------------------- for the supervisor

    async def events(self) -> AsyncIterator[Event]:
        """Yield what happens; `Ended` is the last. To be used once."""
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, Ended):
                return

    def extend(self, until_s: float) -> None:
        """Let the connection last until then (CLOCK_MONOTONIC, s): the lease was renewed."""
        if self._ended.is_set():
            return
        if self._worker:
            self._worker.send(Extend(until_s={self.order.instance_id: until_s}))
        else:
            later_s = max(until_s, self.order.lease_until_s)
            self.order = structs.replace(self.order, lease_until_s=later_s)

    async def stop(self) -> None:
        """End the connection; returns when nothing of it is left, its process killed if need be.

        A caller that is cancelled meanwhile does not keep it from ending.
        """
        if not self._stopping and not self._ended.is_set():
            self._stopping = True
            if self._worker:
                self._worker.send(Stop(instance_id=self.order.instance_id))
                self._stop_timer = _Deadline(self._deadlines.stop_ms, self._stop_overdue)
            else:
                self.end()
        await self._ended.wait()

    async def pair(self, phone: str) -> str:
        """Return a pairing code; raises `DriverError`."""
        ask = next(self._asks)
        order = Pair(instance_id=self.order.instance_id, ask=ask, phone=phone)
        code = await self._ask(order)
        # The code is to be typed in: that takes as long as to scan one.
        self._shown()
        return code or ""

    async def send(self, to: str, text: str) -> str:
        """Send a text; return the message's id. Raises `DriverError`."""
        ask = next(self._asks)
        order = Send(instance_id=self.order.instance_id, ask=ask, to=to, text=text)
        return await self._ask(order) or ""

    async def log_out(self) -> None:
        """Unlink the device; the connection then ends. Raises `DriverError`."""
        await self._ask(LogOut(instance_id=self.order.instance_id, ask=next(self._asks)))

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it is left; events may still wait to be taken."""
        return self._ended.is_set()

    # ---------------------------------------------------------------------- for the worker

    def begin(self, worker: WorkerEnd) -> None:
        """Send the order to the worker, which is ready."""
        self._worker = worker
        self._timer = _Deadline(self._deadlines.dial_ms, self._dial_overdue)
        worker.send(self.order)

    def deliver(self, event: Event) -> None:
        """Pass on an event of the worker, other than `Ended`."""
        if self._ended.is_set():
            return
        if isinstance(event, Answered):
            self._answered(event)
            return
        if self._events.qsize() >= _UNTAKEN:
            if self._worker:
                self._worker.kill(f"{self.order.instance_id} has {_UNTAKEN} events untaken")
            return
        if isinstance(event, Failed):
            if self._failed:
                return
            self._failed = True
            event = structs.replace(event, detail=event.detail[:_DETAIL])
            self._set_timer(self._deadlines.ending_ms, self._ending_overdue)
        elif isinstance(event, Connected):
            self._connected = True
            self._set_timer(None, None)
        elif isinstance(event, QrShown | Paired):
            self._shown()
        self._events.put_nowait(event)

    def leave(self) -> None:
        """Take note that the worker has ended it, and only the process itself is left."""
        self._left = True
        self._set_timer(None, None)

    def lost(self, detail: str) -> None:
        """End with the worker process, which is gone."""
        if self._ended.is_set():
            return
        # One that was stopped, or has left, has ended as it should.
        if not self._stopping and not self._left:
            self._fail(Kind.WORKER_CRASH, detail)
        self.end()

    def end(self) -> None:
        """Nothing of it is left."""
        if self._ended.is_set():
            return
        self._ended.set()
        for timer in (self._timer, self._stop_timer):
            if timer:
                timer.cancel()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(DriverError("The connection ended before it answered."))
        self._events.put_nowait(Ended(instance_id=self.order.instance_id))
        self._tell_ended(self)

    # ------------------------------------------------------------------------ deadlines

    def _shown(self) -> None:
        """Something was shown to a person: from the first time on, that person's time runs."""
        if not self._paired_up and not self._connected and not self._failed:
            self._paired_up = True
            self._set_timer(self._deadlines.pairing_ms, self._pairing_overdue)

    def _dial_overdue(self) -> None:
        took = f"{self._deadlines.dial_ms / 1000:g} s"
        self._fail(Kind.TIMEOUT, f"no connection, QR code or failure within {took}; worker killed")
        self._kill("dialling", took)

    def _pairing_overdue(self) -> None:
        took = f"{self._deadlines.pairing_ms / 1000:g} s"
        self._fail(Kind.PAIRING, f"not paired within {took}; worker killed")
        self._kill("pairing", took)

    def _ending_overdue(self) -> None:
        self._kill("ending after a failure", f"{self._deadlines.ending_ms / 1000:g} s")

    def _stop_overdue(self) -> None:
        self._kill("stopping", f"{self._deadlines.stop_ms / 1000:g} s")

    def _kill(self, doing: str, took: str) -> None:
        if self._worker:
            self._worker.kill(f"{self.order.instance_id} took longer than {took} for {doing}")

    def _fail(self, kind: Kind, detail: str) -> None:
        if not self._failed:
            self._failed = True
            failed = Failed(instance_id=self.order.instance_id, kind=kind, detail=detail[:_DETAIL])
            self._events.put_nowait(failed)

    def _set_timer(self, ms: int | None, then: Callable[[], None] | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None if ms is None or then is None else _Deadline(ms, then)

    # ------------------------------------------------------------------------ questions

    async def _ask(self, order: Pair | Send | LogOut) -> str | None:
        if self._ended.is_set() or not self._worker:
            raise DriverError("There is no connection.")
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._answers[order.ask] = answer
        try:
            if not self._worker.send(order):
                raise DriverError("The worker process takes no orders.")
            async with asyncio.timeout(self._deadlines.ask_ms / 1000):
                return await answer
        except TimeoutError:
            raise DriverError(f"No answer within {self._deadlines.ask_ms / 1000:g} s.") from None
        finally:
            del self._answers[order.ask]
            # An end that came in the same moment as the deadline.
            if answer.done() and not answer.cancelled():
                answer.exception()

    def _answered(self, event: Answered) -> None:
        answer = self._answers.get(event.ask)
        if answer is None or answer.done():
            return
        if event.error is not None:
            answer.set_exception(DriverError(event.error[:_DETAIL]))
        else:
            answer.set_result(event.result)
