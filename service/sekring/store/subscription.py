"""One node's channels: subscribed, listened to, and asked again and again whether they still are.

Every round goes out at once: what is to be subscribed or not any more, then for each slot a guard
and a PING. The guard is a script that may write and does not: a node runs it only while it is in
charge of the slot and takes writes, so a demoted master, a cluster without a quorum and a slot that
is being moved (whose scripts may already run elsewhere) show at once. The PING tells which guard an
error belongs to: a subscription that succeeds has no answer of its own, one that fails has.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from sekring.store.connection import Address, Command, ConnectionLost
from sekring.store.holds import GUARD
from sekring.store.topology import Topology
from sekring.store.wire import Wire

__all__ = ["Subscription"]

#: How long to wait before a connection that failed is made anew, at first and at most, in seconds.
_PAUSE_S = 0.05
_PAUSE_MAX_S = 0.5

_log = structlog.get_logger(__name__)


class _Listener(Protocol):
    """`sekring.store.push.PushListener`."""

    def opened(self, channel: str) -> None: ...
    def message(self, channel: str, payload: bytes) -> None: ...
    def broken(self, channel: str) -> None: ...
    def proven(self, channels: Collection[str], sent_s: float) -> None: ...


class _Asked(NamedTuple):
    """A guard on its way: the channels of its slot, and when it was sent (`time.monotonic()`)."""

    channels: tuple[str, ...]
    sent_s: float
    last_of_round: bool


class _Round(NamedTuple):
    """A round that was answered: the channels that it found well, and when it was sent."""

    channels: tuple[str, ...]
    sent_s: float


class Subscription:
    """Keeps the channels of one node subscribed."""

    def __init__(
        self, topology: Topology, address: Address, listener: _Listener, *, ping_s: float
    ) -> None:
        """Prepare; nothing is sent yet."""
        self._topology = topology
        self._listener = listener
        self._ping_s = ping_s
        self._timeout_s = topology.connector.timeout_s
        self._address = address
        self._wanted: Mapping[str, int] = {}
        self._subscribed: set[str] = set()
        #: Channels that are told to be open, each with when that was.
        self._open: dict[str, float] = {}
        self._asked: deque[_Asked] = deque()
        self._error: Exception | None = None
        self._well: list[str] = []
        #: Rounds whose node has yet to be vouched for.
        self._rounds: deque[_Round] = deque()
        #: When a channel was last found not to be well.
        self._ill_s: dict[str, float] = {}
        self._hurry = asyncio.Event()

    def want(self, channels: Mapping[str, int]) -> None:
        """Hold these channels, each with its slot, and no other."""
        if channels == self._wanted:
            return
        for channel in self._wanted.keys() - channels.keys():
            self._break(channel)
        self._wanted = dict(channels)
        self._hurry.set()

    async def run(self) -> None:
        """Hold the connection until cancelled."""
        unwitness = self._topology.witness(self._settle)
        try:
            await self._run()
        finally:
            unwitness()

    async def _run(self) -> None:
        pause_s = _PAUSE_S
        while True:
            try:
                await self._listen()
            except ConnectionLost as error:
                pause_s = _PAUSE_S if self._open else min(pause_s * 2, _PAUSE_MAX_S)
                _log.debug("push connection lost", error=str(error))
            finally:
                for channel in tuple(self._open):
                    self._break(channel)
            self._topology.suspect()
            await asyncio.sleep(pause_s)

    async def _listen(self) -> None:
        self._subscribed.clear()
        self._asked.clear()
        self._well.clear()
        self._rounds.clear()
        self._error = None
        ended: list[Exception] = []

        def end(error: Exception) -> None:
            ended.append(error)
            self._hurry.set()

        def taken(answers: Sequence[object]) -> None:
            try:
                for answer in answers:
                    self._take(answer)
            except Exception as error:  # noqa: BLE001 - the event loop would merely log it
                end(error)

        writer = await self._topology.connector.open(self._address)
        wire = Wire(writer, taken=taken, broke=lambda words: end(ConnectionLost(words)))
        try:
            while not ended:
                self._send_round(wire)
                # Not `wait_for`: before Python 3.12 it forgets a cancellation at the same moment.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._ping_s):
                        await self._hurry.wait()
                if self._asked and time.monotonic() - self._asked[0].sent_s > self._timeout_s:
                    raise ConnectionLost(f"{self._address} answers nothing")
        finally:
            wire.close()
        raise ended[0]

    def _send_round(self, wire: Wire) -> None:
        self._hurry.clear()
        commands: list[Command] = []
        for channel in self._subscribed - self._wanted.keys():
            self._subscribed.discard(channel)
            commands.append(("SUNSUBSCRIBE", channel))
        sent_s = time.monotonic()
        if commands:  # a node that the slot has left refuses: that is nobody else's error
            commands.append(("PING", ""))
            self._asked.append(_Asked((), sent_s, last_of_round=False))
        by_slot: dict[int, list[str]] = {}
        for channel, slot in self._wanted.items():
            by_slot.setdefault(slot, []).append(channel)
        for place, channels in enumerate(by_slot.values(), start=1):
            commands += [("SSUBSCRIBE", name) for name in channels if name not in self._subscribed]
            commands += [("EVAL", GUARD, 1, channels[0]), ("PING", channels[0])]
            self._asked.append(_Asked(tuple(channels), sent_s, place == len(by_slot)))
        if commands:
            wire.write(commands)

    def _take(self, answer: object) -> None:
        if isinstance(answer, Exception):
            self._error = answer
        elif isinstance(answer, bytes):  # a PONG
            error, self._error = self._error, None
            self._judge(self._asked.popleft(), error)
        elif isinstance(answer, list):
            self._take_push(*answer)

    def _take_push(self, kind: bytes, name: bytes, payload: object, *_: object) -> None:
        channel = name.decode()
        if kind == b"smessage":
            if channel in self._open and isinstance(payload, bytes):
                self._listener.message(channel, payload)
        elif kind == b"ssubscribe":
            self._subscribed.add(channel)
        elif kind == b"sunsubscribe" and channel in self._wanted:
            # The server's own doing: the slot is no longer here.
            self._subscribed.discard(channel)
            self._break(channel)
            self._topology.suspect()

    def _judge(self, asked: _Asked, error: Exception | None) -> None:
        """Take note of how a slot is, now that its guard has answered."""
        if not asked.channels:
            return
        for channel in asked.channels:
            if error is None and channel in self._subscribed and channel in self._wanted:
                self._well.append(channel)
            else:
                self._break(channel)
        if error is not None:
            _log.debug("push channel refused", channel=asked.channels[0], error=str(error))
            self._topology.suspect()
        if asked.last_of_round:
            self._rounds.append(_Round(tuple(self._well), asked.sent_s))
            self._well.clear()
            self._settle()

    def _settle(self) -> None:
        """Open and prove what was found well by a node that has been vouched for since."""
        while self._rounds and self._rounds[0].sent_s <= self._topology.vouch():
            channels, sent_s = self._rounds.popleft()
            proven = []
            for channel in channels:
                if channel not in self._wanted or self._ill_s.get(channel, 0.0) >= sent_s:
                    continue
                if channel not in self._open:
                    self._listener.opened(channel)
                    self._open[channel] = time.monotonic()
                elif self._open[channel] < sent_s:
                    proven.append(channel)
            if proven:
                self._listener.proven(proven, sent_s)

    def _break(self, channel: str) -> None:
        self._ill_s[channel] = time.monotonic()
        if self._open.pop(channel, None) is not None:
            self._listener.broken(channel)
