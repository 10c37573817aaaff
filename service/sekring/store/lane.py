"""The way to one node: turns of calls on one line, and the evidence of whether they get there.

Calls made in the same tick of the event loop share one turn, and calls reach the node in the order
in which they were made.

A node is lost by evidence, not by one error: after three failed calls or lines without a success
in between. Then whatever waits fails at once, and so does at once what comes, until three
probes in a row were answered.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable
from typing import Final, Protocol

import structlog
from redis.exceptions import MovedError

from sekring.store.calls import Call
from sekring.store.connection import Address, ConnectionLost, Connector, Dialogue
from sekring.store.holds import Holds
from sekring.store.library import Library
from sekring.store.line import Answered, Line
from sekring.store.refusals import BOUNCES, give, is_missing, refused, unreachable
from sekring.telemetry.spans import background

__all__ = ["EVIDENCE", "Desk", "Lane"]

#: Failures in a row that show a node to be lost, and answered probes in a row that show it back.
EVIDENCE: Final = 3

#: Calls in one turn at most: larger ones would make the first wait for the last.
_BATCH_MAX = 512

#: So many do not wait for others of their tick: the node works on them while those are made.
_EAGER: Final = 16

#: How long to wait before another line is opened if the one before broke as well, in seconds.
_REPEAT_S = 0.005

#: How long to wait between two probes of a lost node, in seconds.
_PROBE_S = 0.1

_log = structlog.get_logger(__name__)


class Desk(Protocol):
    """Who sends calls down the lanes (`sekring.store.redis`)."""

    library: Library | None

    def bounced(self, lane: "Lane", calls: list[tuple[Call, Exception]]) -> None:
        """Take back calls that the node did not run, in their order, each with its answer."""
        ...

    def moved(self, lane: "Lane", slot: int, error: MovedError) -> None:
        """Take note that a slot is on another node."""
        ...

    def suspect(self) -> None:
        """Take note that the node of a lane may no longer be the right one."""
        ...

    def changed(self) -> None:
        """Take note that what is available has changed."""
        ...


class Lane:
    """Sends calls to one node, in order."""

    def __init__(self, connector: Connector, address: Address, desk: Desk) -> None:
        """Prepare; nothing is sent yet."""
        self.address = address
        #: Why the node is taken to be lost; `None` where it is not.
        self.lost: str | None = None
        self._connector = connector
        self._desk = desk
        #: For what is not a call: probes, and the scripts themselves.
        self._dialogue = Dialogue(connector, address)
        self.holds = Holds(
            Dialogue(connector, address),
            timeout_s=connector.timeout_s,
            release=self.resume,
            moved=lambda slot, error: desk.moved(self, slot, error),
            changed=desk.changed,
        )
        self._waiting: deque[Call] = deque()
        self._line: Line | None = None
        #: Calls whose scripts the node lacks: nothing else is sent before they are repeated.
        self._missing: list[Call] = []
        #: Opens the line, gives the node its scripts, or probes it.
        self._task: asyncio.Task[None] | None = None
        self._flush_planned = False
        self._failures = 0
        self._retired = False

    def submit(self, call: Call) -> None:
        """Send a call behind those that wait."""
        if call.slot in self.holds:
            self.holds.add(call)
            return
        call.lane = self
        self._waiting.append(call)
        if len(self._waiting) >= _EAGER:
            self._flush()
        else:
            self._plan()

    def resume(self, calls: Iterable[Call]) -> None:
        """Send calls, in their order, before those that wait."""
        for call in reversed(list(calls)):
            if self.lost:
                call.fail(unreachable(self.lost))
            elif call.slot in self.holds:
                self.holds.add(call)
            elif not call.done:
                call.lane = self
                self._waiting.appendleft(call)
        self._plan()

    def take(self, slot: int) -> list[Call]:
        """Return the calls of `slot` that wait here, and let go of them."""
        taken = [call for call in self._waiting if call.slot == slot and not call.asking]
        if taken:
            self._waiting = deque(
                call for call in self._waiting if call.slot != slot or call.asking
            )
        return sorted(taken + self.holds.take(slot), key=lambda call: call.number)

    def slots(self) -> set[int]:
        """Return the slots whose calls wait here, without those that were sent here to ask."""
        return {call.slot for call in self._waiting if not call.asking} | self.holds.slots()

    def retire(self) -> list[Call]:
        """End the lane; return every call without an answer, those under way included.

        A call under way may have been run; every script may be run again with the same request.
        """
        self._retired = True
        calls = [*self._hang_up(), *self._waiting, *self.holds.take_all()]
        self._waiting.clear()
        return sorted((call for call in calls if not call.done), key=lambda call: call.number)

    def missed(self) -> None:
        """Take note that a call got no answer within its deadline."""
        self._fail("no answer within the deadline")

    async def drain(self) -> None:
        """Wait for what is under way; each call ends at its deadline at the latest."""
        while calls := [call for call in (*self._under_way(), *self._waiting) if not call.done]:
            await asyncio.wait([call.answer for call in calls])

    async def close(self) -> None:
        """Close the connections; the lane must have been retired."""
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)
        await self.holds.close()
        await self._dialogue.close()

    # ----------------------------------------------------------------------------- turns

    def _plan(self) -> None:
        if not self._flush_planned and self._waiting:
            self._flush_planned = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_planned = False
        if self._task or self._missing or self.lost or self._retired:
            return
        if self._line is None:
            if self._waiting:
                self._begin(self._open())
            return
        while self._waiting and self._line.is_free:
            batch: list[Call] = []
            while self._waiting and len(batch) < _BATCH_MAX:
                call = self._waiting.popleft()
                if not call.done:  # else its caller has given up
                    batch.append(call)
            if batch:
                self._line.send(batch)

    def _begin(self, work: Coroutine[object, object, None]) -> None:
        self._task = background(work)
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None
            self._flush()

    async def _open(self) -> None:
        if self._failures > 1:
            await asyncio.sleep(_REPEAT_S)
        try:
            writer = await self._connector.open(self.address)
        except ConnectionLost as error:
            if error.denied:
                for call in self._waiting:
                    call.fail(unreachable(str(error)))
            self._broke(str(error))
            return
        self._line = Line(
            writer, self._connector.timeout_s, answered=self._answered, broke=self._broke
        )

    def _answered(self, answered: Answered) -> None:
        self._failures = 0
        bounced: list[tuple[Call, Exception]] = []
        for call, answer in answered:
            if call.answer.done():
                continue
            if not isinstance(answer, Exception):
                call.answer.set_result(answer)
            elif isinstance(answer, BOUNCES):
                bounced.append((call, answer))
            elif is_missing(answer) and self._desk.library and call.given is None:
                self._missing.append(call)
            else:
                given = call.given
                call.fail(refused(call, given if isinstance(given, Exception) else answer))
        if bounced:
            self._desk.bounced(self, bounced)
        if self._missing and self._line and self._line.is_idle and not self._task:
            self._begin(self._give())
        elif self._waiting:
            self._flush()

    async def _give(self) -> None:
        """Give a new server, or one that has our last version, the scripts, then repeat calls."""
        library = self._desk.library
        assert library is not None  # noqa: S101 - else no call is missing one
        try:
            given = await give(library, self._dialogue, self._connector.timeout_s)
        except ConnectionLost as error:
            self._broke(str(error))
            return
        calls, self._missing = self._missing, []
        for call in calls:
            call.given = given
        self.resume(calls)

    def _under_way(self) -> list[Call]:
        return [*(self._line.calls if self._line else ()), *self._missing]

    def _hang_up(self) -> list[Call]:
        """Close the line and end what goes on; return the calls that were under way."""
        calls = sorted(self._under_way(), key=lambda call: call.number)
        self._missing = []
        if self._line:
            self._line.close()
            self._line = None
        task, self._task = self._task, None
        if task and task is not asyncio.current_task():
            task.cancel()
        return calls

    # -------------------------------------------------------------------------- evidence

    def _broke(self, words: str) -> None:
        """Take note that the line broke, or could not be opened."""
        opening = self._line is None
        calls = self._hang_up()
        if not any(call.missed for call in (self._waiting if opening else calls)):
            self._fail(words)  # else each of them was counted
        self.resume(calls)

    def _fail(self, words: str) -> None:
        self._failures += 1
        if self._failures >= EVIDENCE and self.lost is None and not self._retired:
            self._lose(words)

    def _lose(self, words: str) -> None:
        self.lost = words
        _log.warning("redis node lost", node=str(self.address), evidence=words)
        for call in (*self._hang_up(), *self._waiting, *self.holds.take_all()):
            call.fail(unreachable(words))
        self._waiting.clear()
        self._begin(self._probe())
        self._desk.suspect()
        self._desk.changed()

    async def _probe(self) -> None:
        good = 0
        while good < EVIDENCE:
            await asyncio.sleep(_PROBE_S)
            try:
                (answer,) = await self._dialogue.exchange([("PING",)], self._connector.timeout_s)
            except ConnectionLost as error:
                answer = error
            if isinstance(answer, Exception):
                good = 0
                self._desk.suspect()
            else:
                good += 1
        self.lost = None
        self._failures = 0
        _log.info("redis node back", node=str(self.address))
        self._desk.changed()
