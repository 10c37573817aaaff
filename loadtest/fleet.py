"""The sessions of the storm lose WhatsApp and try to get it back: a discrete-event simulation.

Each session notices its loss within 20 s, reports it, asks, waits as it is told, connects, reports
how that ended, and asks again a fifth of a second later if it failed.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import accumulate, count
from typing import Any

from msgspec import Struct

from loadtest.gates import Gate, SekringGate
from loadtest.virtual import together
from loadtest.whatsapp import WhatsApp

__all__ = ["START_MS", "Course", "Fleet"]

#: The virtual clock when WhatsApp goes down, in ms since 1970.
START_MS = 1_800_000_000_000

#: Within this time of the outage's beginning each session notices: sockets that are closed at once,
#: and keep-alives that time out.
_NOTICE_MS = 20_000

#: From a failure to the next question.
_PAUSE_MS = 200

#: How often each replica sweeps: half as often as real ones, to save time.
_SWEEP_MS = 1_000

#: What happens within this time goes to Redis together, in the order and at the times it happens.
_BATCH_MS = 200


class _Dial(Struct, frozen=True):
    """An attempt that is made: what comes of it depends on who else makes one."""

    session: int
    attempt_id: str | None


#: Everything else goes to the gate, at its time.
_Call = Callable[[int], Coroutine[Any, Any, None]]


class Course(Struct, frozen=True):
    """What was seen, second by second from the outage's beginning."""

    attempts: list[int]
    connected: list[int]


class Fleet:
    """So many sessions, all connected at first."""

    def __init__(
        self, sessions: int, gate: Gate, whatsapp: WhatsApp, chance: random.Random
    ) -> None:
        """Let every session notice the outage at its time."""
        self._sessions = sessions
        self._gate = gate
        self._whatsapp = whatsapp
        self._serial = count()
        self._events: list[tuple[int, int, _Call | _Dial]] = []
        self._attempts: Counter[int] = Counter()
        self._changes: Counter[int] = Counter()
        self._connected = sessions
        for session in range(sessions):
            self._plan(chance.randint(0, _NOTICE_MS), partial(self._lose, session))
        for replica in range(SekringGate.REPLICAS):
            self._plan(replica, partial(self._sweep, replica))  # in one batch

    async def run(self, most_ms: int) -> Course:
        """Go on until all are connected again, or for `most_ms`."""
        now_ms = 0
        while now_ms < most_ms:
            now_ms = self._events[0][0]
            if self._connected == self._sessions and now_ms > self._whatsapp.outage_ms:
                break
            await self._batch(now_ms + _BATCH_MS)
        seconds = range(now_ms // 1000 + 1)
        connected = accumulate(
            (self._changes[second] for second in seconds), initial=self._sessions
        )
        return Course([self._attempts[second] for second in seconds], list(connected)[1:])

    async def _batch(self, until_ms: int) -> None:
        calls = []
        while self._events and self._events[0][0] < until_ms:
            at_ms, _, what = heapq.heappop(self._events)
            if isinstance(what, _Dial):
                self._dial(what, at_ms)
            else:
                calls.append((START_MS + at_ms, partial(what, at_ms)))
        await together(calls)

    def _plan(self, at_ms: int, what: _Call | _Dial) -> None:
        heapq.heappush(self._events, (at_ms, next(self._serial), what))

    async def _sweep(self, replica: int, now_ms: int) -> None:
        await self._gate.sweep(replica)
        self._plan(now_ms + _SWEEP_MS, partial(self._sweep, replica))

    async def _lose(self, session: int, now_ms: int) -> None:
        self._connected -= 1
        self._changes[now_ms // 1000] -= 1
        await self._fail(session, "disconnected", None, now_ms)

    async def _fail(self, session: int, kind: str, attempt_id: str | None, now_ms: int) -> None:
        await self._gate.failed(session, kind, attempt_id)
        self._plan(now_ms + _PAUSE_MS, partial(self._ask, session))

    async def _ask(self, session: int, now_ms: int) -> None:
        leave = await self._gate.ask(session)
        next_one = (
            _Dial(session, leave.attempt_id) if leave.granted else partial(self._ask, session)
        )
        self._plan(now_ms + leave.wait_ms, next_one)

    def _dial(self, dial: _Dial, now_ms: int) -> None:
        self._attempts[now_ms // 1000] += 1
        answer = self._whatsapp.connect(now_ms)
        if answer.connected:
            ended = partial(self._succeed, dial.session, dial.attempt_id)
        else:
            ended = partial(self._fail, dial.session, answer.kind, dial.attempt_id)
        self._plan(now_ms + answer.after_ms, ended)

    async def _succeed(self, session: int, attempt_id: str | None, now_ms: int) -> None:
        self._connected += 1
        self._changes[now_ms // 1000] += 1
        await self._gate.connected(session, attempt_id)
