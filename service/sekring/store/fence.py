"""Whether what was written has reached the replicas.

Redis answers a write before its replicas have it; a failover in between loses it. A fence closes
that window for those who ask: one more write, on a connection of its own, and `WAIT`. Replication
is one stream, so a replica that has the fence has everything that came before it.
"""

import asyncio
import time
from typing import NamedTuple

from sekring.store.connection import Address, Command, ConnectionLost, Connector, Dialogue
from sekring.store.keys import FENCE_MS, fence_beside
from sekring.telemetry.spans import background

__all__ = ["Fence"]


class _Waiter(NamedTuple):
    key: str
    replicas: int
    since_s: float
    deadline_s: float
    answer: asyncio.Future[bool]


class Fence:
    """Confirms what was written on one node. One fence serves all who asked before it was sent."""

    def __init__(self, connector: Connector, address: Address) -> None:
        """Prepare; nothing is sent yet."""
        self._dialogue = Dialogue(connector, address)
        self._timeout_s = connector.timeout_s
        self._waiting: list[_Waiter] = []
        self._task: asyncio.Task[None] | None = None
        #: The server's own name for this run of it, and when that was seen to change.
        self._run_id: bytes | None = None
        self._changed_s = 0.0

    async def confirm(self, key: str, replicas: int, timeout_ms: int, since_s: float) -> bool:
        """Tell whether `replicas` replicas have what was written since `since_s`; never raises.

        What was written before a restart is not confirmed: the server may have lost it.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_ms / 1000
        waiter = _Waiter(key, replicas, since_s, deadline_s, loop.create_future())
        self._waiting.append(waiter)
        if self._task is None:
            self._task = background(self._run())
        try:
            async with asyncio.timeout_at(deadline_s):
                return await waiter.answer
        except TimeoutError:
            return False

    async def close(self) -> None:
        """Close the connection; whoever waits is told that nothing is confirmed."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for waiter in self._waiting:
            _tell(waiter, confirmed=False)
        await self._dialogue.close()

    async def _run(self) -> None:
        served: list[_Waiter] = []
        try:
            while self._waiting:
                replicas = self._waiting[0].replicas
                served = [waiter for waiter in self._waiting if waiter.replicas == replicas]
                self._waiting = [one for one in self._waiting if one.replicas != replicas]
                try:
                    reached = await self._reach(served)
                except ConnectionLost:
                    reached = -1
                for waiter in served:
                    known = waiter.since_s > self._changed_s
                    _tell(waiter, confirmed=known and reached >= replicas)
        finally:
            self._task = None
            for waiter in served:
                _tell(waiter, confirmed=False)

    async def _reach(self, waiters: list[_Waiter]) -> int:
        """Put up a fence; return how many replicas have it, -1 where that would prove nothing."""
        left_s = max(waiter.deadline_s for waiter in waiters) - asyncio.get_running_loop().time()
        wait_ms = max(1, round(left_s * 1000))  # 0 would wait without end
        commands: list[Command] = [
            ("SET", fence_beside(waiters[0].key), 1, "PX", FENCE_MS),
            ("WAIT", waiters[0].replicas, wait_ms),
        ]
        if not self._dialogue.is_open:
            commands.insert(0, ("INFO", "server"))
        answers = await self._dialogue.exchange(commands, wait_ms / 1000 + self._timeout_s)
        if any(isinstance(answer, Exception) for answer in answers):
            return -1
        if len(answers) > 2:  # noqa: PLR2004 - the connection is new
            self._recognise(answers[0])
        reached = answers[-1]
        return reached if isinstance(reached, int) else -1

    def _recognise(self, info: object) -> None:
        lines = info.splitlines() if isinstance(info, bytes) else []
        run_id = next((line for line in lines if line.startswith(b"run_id:")), b"")
        if self._run_id not in {None, run_id}:
            self._changed_s = time.monotonic()
        self._run_id = run_id


def _tell(waiter: _Waiter, *, confirmed: bool) -> None:
    if not waiter.answer.done():
        waiter.answer.set_result(confirmed)
