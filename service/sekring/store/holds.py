"""Slots whose node answers, but will not take calls for the moment.

A slot that is being moved (`TRYAGAIN`), a cluster without a quorum, a server that loads its data or
has become a replica: such calls are kept in their order and repeated once a guard, a script that
might write and does not, is taken again. A slot that stays so for longer than a call may wait is
shut: what waits fails, and so does at once what comes, until the guard is taken.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from redis.exceptions import MovedError

from sekring.errors import StoreUnavailable
from sekring.store.calls import Call
from sekring.store.connection import ConnectionLost, Dialogue
from sekring.telemetry.spans import background

__all__ = ["GUARD", "Holds"]

#: A script that a node runs only where it would run one that writes; memory being full is no
#: obstacle to it, so that it tells of the node and not of the data.
GUARD: Final = "#!lua flags=allow-oom\nreturn 0"

#: How long to wait between two guards, in seconds: while calls wait, and while the slot is shut.
_PAUSE_S = 0.02
_SHUT_PAUSE_S = 0.1


class _Held:
    """One slot's calls, and since when it has taken none (by the event loop's clock)."""

    def __init__(self, key: str | bytes | int, since_s: float) -> None:
        self.key = key
        self.since_s = since_s
        self.calls: list[Call] = []
        self.shut = False
        self.words = ""


class Holds:
    """The held slots of one node."""

    def __init__(
        self,
        dialogue: Dialogue,
        *,
        timeout_s: float,
        release: Callable[[list[Call]], None],
        moved: Callable[[int, MovedError], None],
        changed: Callable[[], None],
    ) -> None:
        """Ask the guards over `dialogue`.

        `release` gets the calls of a slot that takes calls again; `moved` is told of a slot that
        is found to be elsewhere, `changed` of one that is shut or no longer so.
        """
        self._dialogue = dialogue
        self._timeout_s = timeout_s
        self._release = release
        self._moved = moved
        self._changed = changed
        self._slots: dict[int, _Held] = {}
        self._mending: asyncio.Task[None] | None = None

    def __contains__(self, slot: int) -> bool:
        return slot in self._slots

    def slots(self) -> set[int]:
        """Return the held slots that have calls."""
        return {slot for slot, held in self._slots.items() if held.calls}

    def words(self, slot: int) -> str | None:
        """Return why `slot` is shut; `None` where it is not."""
        held = self._slots.get(slot)
        return held.words if held and held.shut else None

    def add(self, call: Call, words: str | None = None) -> None:
        """Keep a call of a held slot; with `words`, what its node said, begin to hold its slot."""
        held = self._slots.get(call.slot)
        if held is None:
            now_s = asyncio.get_running_loop().time()
            held = self._slots[call.slot] = _Held(_key_of(call), now_s)
        held.words = words or held.words
        call.lane = None
        call.asking = False
        if held.shut:
            call.fail(_refusal(held))
        else:
            held.calls.append(call)
        if self._mending is None:
            self._mending = background(self._mend())

    def take(self, slot: int) -> list[Call]:
        """End the hold of `slot` and return its calls."""
        held = self._slots.pop(slot, None)
        if held is None:
            return []
        if held.shut:
            self._changed()
        return held.calls

    def take_all(self) -> list[Call]:
        """End every hold and return the calls."""
        return [call for slot in tuple(self._slots) for call in self.take(slot)]

    async def close(self) -> None:
        """Stop asking; nothing may be held any more."""
        if self._mending:
            self._mending.cancel()
            await asyncio.gather(self._mending, return_exceptions=True)
        await self._dialogue.close()

    async def _mend(self) -> None:
        try:
            while self._slots:
                shut = all(held.shut for held in self._slots.values())
                await asyncio.sleep(_SHUT_PAUSE_S if shut else _PAUSE_S)
                await self._ask()
        finally:
            self._mending = None

    async def _ask(self) -> None:
        asked = tuple(self._slots.items())
        # Two keys that do not exist, as a script's may: while a slot is being moved such calls
        # are refused on both sides.
        guards = [("EVAL", GUARD, 2, *_absent(held.key)) for _, held in asked]
        answers: list[object]
        try:
            answers = await self._dialogue.exchange(guards, self._timeout_s)
        except ConnectionLost as error:
            answers = [error] * len(asked)
        for (slot, held), answer in zip(asked, answers, strict=True):
            if self._slots.get(slot) is not held:
                continue
            if isinstance(answer, MovedError):
                self._moved(slot, answer)
            elif isinstance(answer, Exception):
                self._judge(held)
            else:
                self._release(sorted(self.take(slot), key=lambda call: call.number))

    def _judge(self, held: _Held) -> None:
        if held.shut or asyncio.get_running_loop().time() - held.since_s < self._timeout_s:
            return
        held.shut = True
        for call in held.calls:
            call.fail(_refusal(held))
        held.calls.clear()
        self._changed()


def _key_of(call: Call) -> str | bytes | int:
    """Return a call's first key: FCALL has it behind name and count, others at once."""
    return call.command[3] if call.script else call.command[1]


def _absent(key: str | bytes | int) -> tuple[str, str]:
    """Return two names of the slot of `key` that no key has, with its prefix: others are denied."""
    name = key.decode() if isinstance(key, bytes) else str(key)
    place = name[: name.index("}") + 1] if "{" in name else f"{name}:{{{name}}}"
    return f"{place}:absent:1", f"{place}:absent:2"


def _refusal(held: _Held) -> StoreUnavailable:
    return StoreUnavailable(f"Redis takes no calls for this key now: {held.words}.")
