"""Looking up which nodes there are: when something is suspected, and else at a modest interval."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from typing import Final

import structlog

from sekring.store.connection import Address, Command, ConnectionLost, Connector, Dialogue
from sekring.telemetry.spans import background

__all__ = ["Survey"]

#: How long to wait for the others once one of those asked has answered, in seconds.
_GRACE_S = 0.05

#: Look-ups in a row without an answer that show nobody to be there.
_EVIDENCE: Final = 3

_log = structlog.get_logger(__name__)


class Survey:
    """What a topology that changes has in common; a subclass says how to `look`."""

    def __init__(
        self, connector: Connector, *, guides: Connector, period_s: float, gap_s: float
    ) -> None:
        """Reach the nodes by `connector`, those who know them by `guides`; nothing is sent yet.

        Without any suspicion it is looked up every `period_s` seconds, with one as soon as
        `gap_s` seconds have passed since the last time.
        """
        self.connector = connector
        #: Why nobody can be asked; `None` as long as somebody can.
        self.lost: str | None = None
        #: Whether in the last look everybody answered who had not been silent before.
        self.heard_all = False
        self._guides = guides
        self._period_s = period_s
        self._gap_s = gap_s
        #: Who was not waited for the last time.
        self._silent: set[Address] = set()
        self._witnesses: list[Callable[[], None]] = []
        self._dialogues: dict[Address, Dialogue] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._doubt = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Look up the nodes, and `tell` if they have changed; raises `ConnectionLost`."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to look, if that has not begun."""
        if self._task is None:
            self._task = background(self._run())

    async def close(self) -> None:
        """Stop looking."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for dialogue in self._dialogues.values():
            await dialogue.close()

    def suspect(self) -> None:
        """Look soon."""
        self._doubt.set()

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after every change; returns what ends that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def witness(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after every look; returns what ends that."""
        self._witnesses.append(callback)
        return lambda: self._witnesses.remove(callback)

    def tell(self) -> None:
        """Call everyone who watches."""
        for callback in tuple(self._callbacks):
            callback()

    async def ask(
        self, addresses: Sequence[Address], commands: Sequence[Command]
    ) -> dict[Address, list[object]]:
        """Ask all `addresses` at once; who answers much later than the first is left out.

        Raises:
            ConnectionLost: nobody answered.
        """
        tasks = {
            asyncio.create_task(self._ask(address, commands)): address for address in addresses
        }
        answers: dict[Address, list[object]] = {}
        error = ConnectionLost("no node is known")
        pending = set(tasks)
        try:
            while pending:
                done, pending = await asyncio.wait(
                    pending,
                    timeout=_GRACE_S if answers else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not done:
                    break
                for task in done:
                    try:
                        answers[tasks[task]] = task.result()
                    except ConnectionLost as lost:
                        error = lost
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        if not answers:
            raise error
        silent = {tasks[task] for task in pending}
        self.heard_all = silent <= self._silent
        self._silent = silent
        return answers

    async def forget(self, known: Collection[Address]) -> None:
        """Close the connections to all but the `known` addresses."""
        for address in self._dialogues.keys() - set(known):
            await self._dialogues.pop(address).close()

    async def _ask(self, address: Address, commands: Sequence[Command]) -> list[object]:
        dialogue = self._dialogues.get(address)
        if dialogue is None:
            dialogue = self._dialogues[address] = Dialogue(self._guides, address)
        answers = await dialogue.exchange(commands, self._guides.timeout_s)
        for answer in answers:
            if isinstance(answer, Exception):
                raise ConnectionLost(f"{address}: {answer}")
        return answers

    async def _run(self) -> None:
        failures = 0
        while True:
            self._doubt.clear()
            try:
                await self.look()
            except ConnectionLost as error:
                failures += 1
                _log.debug("topology not found", error=str(error))
                if failures >= _EVIDENCE and self.lost is None:
                    self.lost = str(error)
                    self.tell()
            else:
                failures = 0
                if self.lost is not None:
                    self.lost = None
                    self.tell()
                for callback in tuple(self._witnesses):
                    callback()
            await asyncio.sleep(self._gap_s)
            if not failures:
                # Not `wait_for`: before Python 3.12 it forgets a cancellation at the same moment.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._period_s):
                        await self._doubt.wait()
