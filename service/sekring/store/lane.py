"""The way to one node: a pipeline after the other, and the evidence of whether it gets there.

Calls made in the same tick of the event loop share one pipeline. While it is under way, further
calls gather in the next one, so load makes pipelines longer rather than connections more, and calls
reach the node in the order in which they were made.

A node is lost by evidence, not by one error: after three failed calls or pipelines without a
success in between. Then whatever waits fails at once, and so does at once what comes, until three
probes in a row were answered.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final, Protocol

import structlog
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from sekring.errors import StoreUnavailable
from sekring.store.calls import Call
from sekring.store.connection import Address, Command, ConnectionLost, Connector, Dialogue
from sekring.store.holds import Holds
from sekring.store.library import LIBRARIES, Library
from sekring.telemetry.spans import background

__all__ = ["EVIDENCE", "Desk", "Lane", "unreachable"]

#: Failures in a row that show a node to be lost, and answered probes in a row that show it back.
EVIDENCE: Final = 3

#: Calls in one pipeline at most: larger ones would make the first wait for the last.
_BATCH_MAX = 512

#: How long to wait before a pipeline whose new connection broke as well is repeated, in seconds.
_REPEAT_S = 0.005

#: How long to wait between two probes of a lost node, in seconds.
_PROBE_S = 0.1

#: Answers that say "not here" or "not now": the call was not run and may be repeated.
_BOUNCES = (AskError, TryAgainError, ClusterDownError, BusyLoadingError, ReadOnlyError)

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
        self._timeout_s = connector.timeout_s
        self._desk = desk
        self._dialogue = Dialogue(connector, address)
        self.holds = Holds(
            Dialogue(connector, address),
            timeout_s=connector.timeout_s,
            release=self.resume,
            moved=lambda slot, error: desk.moved(self, slot, error),
            changed=desk.changed,
        )
        self._waiting: deque[Call] = deque()
        self._sent: list[Call] = []
        self._pipeline: asyncio.Task[None] | None = None
        self._probes: asyncio.Task[None] | None = None
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
        calls = [call for call in (*self._sent, *self._waiting) if not call.done]
        self._sent.clear()
        self._waiting.clear()
        calls += self.holds.take_all()
        for task in (self._pipeline, self._probes):
            if task:
                task.cancel()
        return sorted(calls, key=lambda call: call.number)

    def missed(self) -> None:
        """Take note that a call got no answer within its deadline."""
        self._fail("no answer within the deadline")

    async def drain(self) -> None:
        """Wait for what is under way."""
        while self._pipeline:
            await asyncio.gather(self._pipeline, return_exceptions=True)

    async def close(self) -> None:
        """Close the connections; the lane must have been retired."""
        tasks = [task for task in (self._pipeline, self._probes) if task]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.holds.close()
        await self._dialogue.close()

    # ------------------------------------------------------------------------- pipelines

    def _plan(self) -> None:
        if self._pipeline is None and not self._flush_planned and self._waiting:
            self._flush_planned = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_planned = False
        if self._pipeline or self.lost or self._retired:
            return
        batch: list[Call] = []
        while self._waiting and len(batch) < _BATCH_MAX:
            call = self._waiting.popleft()
            if not call.done:  # else its caller has given up
                batch.append(call)
        if batch:
            self._sent = batch
            self._pipeline = background(self._send(batch))
            self._pipeline.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._pipeline = None
        self._sent = []
        self._flush()

    async def _send(self, batch: list[Call]) -> None:
        try:
            answers = await self._execute(batch)
        except ConnectionLost as error:
            if error.denied:
                for call in batch:
                    call.fail(unreachable(str(error)))
            if not any(call.missed for call in batch):  # else each was counted already
                self._fail(str(error))
            if not self.lost:
                if self._failures > 1:
                    await asyncio.sleep(_REPEAT_S)
                self.resume(batch)
        else:
            self._failures = 0
            self._deliver(batch, answers)

    def _deliver(self, batch: list[Call], answers: list[object]) -> None:
        bounced: list[tuple[Call, Exception]] = []
        for call, answer in zip(batch, answers, strict=True):
            if call.answer.done():
                continue
            if isinstance(answer, _BOUNCES):
                bounced.append((call, answer))
            elif isinstance(answer, Exception):
                call.fail(_refused(call, answer))
            else:
                call.answer.set_result(answer)
        if bounced:
            self._desk.bounced(self, bounced)

    async def _execute(self, batch: list[Call]) -> list[object]:
        answers = await self._round_trip(batch)
        missing = [place for place, answer in enumerate(answers) if _is_missing(answer)]
        if not missing or self._desk.library is None:
            return answers
        # A new server, or a new version of ours: give it the scripts, then repeat those calls.
        loaded = await self._load(self._desk.library)
        repeated = await self._round_trip([batch[place] for place in missing])
        for place, answer in zip(missing, repeated, strict=True):
            answers[place] = loaded if _is_missing(answer) else answer
        return answers

    async def _load(self, library: Library) -> object:
        """Return how the server has answered; that it has the library by now is no harm."""
        loaded, listed = await self._dialogue.exchange(
            [
                ("FUNCTION", "LOAD", library.text),
                ("FUNCTION", "LIST", "LIBRARYNAME", LIBRARIES),
            ],
            self._timeout_s,
        )
        if isinstance(listed, list) and (outdated := library.superfluous(listed)):
            deletes = [("FUNCTION", "DELETE", name) for name in outdated]
            await self._dialogue.exchange(deletes, self._timeout_s)
        return loaded

    async def _round_trip(self, batch: list[Call]) -> list[object]:
        commands: list[Command] = []
        places = []
        for call in batch:
            if call.asking:
                commands.append(("ASKING",))
            places.append(len(commands))
            commands.append(call.command)
        answers = await self._dialogue.exchange(commands, self._timeout_s)
        return [answers[place] for place in places]

    # -------------------------------------------------------------------------- evidence

    def _fail(self, words: str) -> None:
        self._failures += 1
        if self._failures >= EVIDENCE and self.lost is None and not self._retired:
            self._lose(words)

    def _lose(self, words: str) -> None:
        self.lost = words
        _log.warning("redis node lost", node=str(self.address), evidence=words)
        for call in (*self._sent, *self._waiting, *self.holds.take_all()):
            call.fail(unreachable(words))
        self._waiting.clear()
        if self._pipeline:
            self._pipeline.cancel()
        self._probes = background(self._probe())
        self._desk.suspect()
        self._desk.changed()

    async def _probe(self) -> None:
        if self._pipeline:
            await asyncio.gather(self._pipeline, return_exceptions=True)
        good = 0
        while good < EVIDENCE:
            await asyncio.sleep(_PROBE_S)
            try:
                (answer,) = await self._dialogue.exchange([("PING",)], self._timeout_s)
            except ConnectionLost as error:
                answer = error
            if isinstance(answer, Exception):
                good = 0
                self._desk.suspect()
            else:
                good += 1
        self.lost = None
        self._failures = 0
        self._probes = None
        _log.info("redis node back", node=str(self.address))
        self._desk.changed()


def unreachable(words: str) -> StoreUnavailable:
    """Return the error that says why Redis cannot be reached."""
    return StoreUnavailable(f"Redis cannot be reached: {words}.")


def _is_missing(answer: object) -> bool:
    return isinstance(answer, ResponseError) and str(answer) == "Function not found"


def _refused(call: Call, error: Exception) -> StoreUnavailable:
    if isinstance(error, ResponseError):
        name = call.script.name if call.script else str(call.command[0])
        _log.error("redis refused a call", call=name, error=str(error))
    return StoreUnavailable(f"Redis refused: {str(error).rstrip('.')}.")
