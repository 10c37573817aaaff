"""Keeps the view current: follows `/v1/events`, and reads what that cannot tell.

The stream is opened first, then the instances that are not closed are listed; what happened
meanwhile is applied to the list. From when on the stream has told everything until after the
listing, the view is right. A stream that ends is resumed where it was cut off; after a gap, with
another keyspace behind the same URL, and every now and then, all is read anew.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from typing import Final, TypeVar

import msgspec

from sekring.client.client import AsyncClient
from sekring.client.options import Options
from sekring.client.reach import Reach
from sekring.client.record import Facts, Record
from sekring.client.sse import ServerSent, read_events
from sekring.client.view import View
from sekring.errors import InvalidInput, SekringError, ServiceUnavailable
from sekring.model import State, Transition
from sekring.wire import AliveNotice

__all__ = ["Follower"]

#: How long until the stream is tried again, in seconds; the first and the longest wait.
_PAUSE_S: Final = (0.1, 2.0)

#: After how long all is read anew, in seconds. Two clocks run apart by a tenth of a second in that
#: time, at most; and no message tells of what Redis has lost.
_RENEW_S: Final = 600.0

#: How many proofs may fail to come until the stream is given up.
_SILENCE: Final = 6

#: Between one instance's policy and the next, in seconds: when many begin to fail at once, the
#: service has other things to do.
_POLICY_PAUSE_S: Final = 0.05

_FLEET: Final = "*"

_LISTED: Final = (State.OPEN, State.FORCED_OPEN, State.HALF_OPEN, State.DISABLED)

_T = TypeVar("_T")
_transition = msgspec.json.Decoder(Transition)
_alive = msgspec.json.Decoder(AliveNotice)


class Follower:
    """One coroutine of the client's own loop, `run`."""

    def __init__(self, options: Options, view: View) -> None:
        """Prepare; nothing is asked yet."""
        self._options = options
        self._view = view
        self._alive_ms = min(max(100, round(options.staleness * 1000 / 6)), 60_000)
        self._last_id: str | None = None
        self._keyspace: str | None = None
        self._opened = self._loaded = False
        #: Before then (CLOCK_MONOTONIC, s) the stream has not told of all that is not listed.
        self._not_before_s = 0.0
        #: While the lists are read: what has happened meanwhile.
        self._early: list[Transition] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._policies: asyncio.Queue[Record] = asyncio.Queue()
        self._wanted: set[str] = set()

    def fork(self) -> None:
        """Begin anew in a forked process."""
        self._last_id = self._keyspace = self._early = self._loading = None
        self._loaded = False
        self._changed = asyncio.Event()
        self._policies = asyncio.Queue()
        self._wanted = set()

    def want_policy(self, record: Record) -> None:
        """Ask for the policy of an instance that begins to fail; called on the client's loop."""
        if record.instance_id not in self._wanted:
            self._wanted.add(record.instance_id)
            self._policies.put_nowait(record)

    async def run(self, client: AsyncClient, reach: Reach) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_policies(client))
            group.create_task(self._read_changes(client))
            pause_s = _PAUSE_S[0]
            while True:
                self._opened = False
                try:
                    await self._follow(client, reach)
                except InvalidInput:
                    self._last_id = None  # of another service, which does not know that place
                    self._loaded = False
                except SekringError as error:
                    # A stream that ends says only that one replica stops.
                    if not self._opened:
                        reach.missed(error)
                finally:
                    self._stop_loading()
                if self._opened:
                    pause_s = _PAUSE_S[0]
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
                pause_s = min(2 * pause_s, _PAUSE_S[1])

    async def _follow(self, client: AsyncClient, reach: Reach) -> None:
        sent_s = time.monotonic()
        clock = _Clock(sent_s)
        silence_s = max(_SILENCE * self._alive_ms / 1000, self._options.patience)
        within_s = self._options.patience
        async with client.events(self._alive_ms, self._last_id, within_s=within_s) as chunks:
            # Until it was there, it may have begun at any time: all would seem as much older.
            self._opened = True
            if time.monotonic() - sent_s > self._options.staleness / 2:
                raise ServiceUnavailable("The stream of transitions took too long to begin.")
            async for event in _within(read_events(chunks), silence_s):
                if event.last_id is not None:
                    self._last_id = event.last_id
                    # From its first place on, the stream tells everything.
                    if not self._loaded and self._loading is None:
                        self._load_anew(client)
                if event.event == "transition":
                    self._take(_decoded(_transition, event))
                elif event.event == "gap":
                    self._load_anew(client)
                elif event.event == "alive":
                    self._prove(_decoded(_alive, event), clock, client)
                    reach.answered()
                if time.monotonic() - sent_s > _RENEW_S:
                    self._loaded = False
                    return
        raise ServiceUnavailable("The stream of transitions ended.")

    # ------------------------------------------------------------------------ what it is told

    def _take(self, transition: Transition) -> None:
        if self._early is not None:
            self._early.append(transition)
        elif transition.instance_id == _FLEET:
            self._take_fleet(transition)
        else:
            self._view.apply(transition)
            if transition.action == "policy":
                self._forget_policy(transition.instance_id)

    def _take_fleet(self, transition: Transition) -> None:
        if transition.action.startswith("guard_"):
            self._view.set_paced("fleet", paced=transition.after != State.CLOSED)
        else:  # the policy or the refused builds: what exactly they are now, is read
            self._changed.set()

    def _prove(self, notice: AliveNotice, clock: "_Clock", client: AsyncClient) -> None:
        if notice.keyspace != self._keyspace:
            if self._keyspace is not None:
                self._view.forget()
                self._load_anew(client)
            self._keyspace = notice.keyspace
        at_s = clock.here(notice)
        if self._loaded and self._early is None and at_s >= self._not_before_s:
            self._view.prove(at_s, notice.redis_ms)

    # -------------------------------------------------------------------------- what it reads

    def _load_anew(self, client: AsyncClient) -> None:
        self._stop_loading()
        self._early = []
        self._loading = asyncio.create_task(self._load(client))

    def _stop_loading(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None
            self._loaded = False
        self._early = None

    async def _load(self, client: AsyncClient) -> None:
        pause_s = _PAUSE_S[0]
        while not await self._try_to_load(client):
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S[1])
        self._not_before_s = time.monotonic()
        self._loading, self._loaded = None, True
        early, self._early = self._early or [], None
        for transition in early:
            self._take(transition)

    async def _try_to_load(self, client: AsyncClient) -> bool:
        try:
            listed = await self._listed(client)
            guard = await client.fleet_guard()
            await self._read_fleet(client)
        except SekringError:
            return False
        self._view.load(listed)
        self._view.set_paced("fleet", paced=guard.state is not State.CLOSED)
        return True

    async def _read_fleet(self, client: AsyncClient) -> None:
        """Read the fleet's policy, and whether our build is refused."""
        if self._options.build is not None:
            refused = self._options.build in await client.refused_builds()
            self._view.set_paced("build", paced=refused)
        self._view.policy = (await client.policy()).policy
        self._forget_policies()

    async def _read_changes(self, client: AsyncClient) -> None:
        """Read the same again whenever it was changed."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._read_fleet(client)
            except SekringError:
                self._changed.set()
                await asyncio.sleep(_PAUSE_S[1])

    async def _listed(self, client: AsyncClient) -> dict[str, Facts]:
        listed: dict[str, Facts] = {}
        for state in _LISTED:
            cursor: str | None = None
            while True:
                page = await client.instances(state, cursor)
                for found in page.instances:
                    listed[found.instance_id] = Facts(
                        state=found.state,
                        epoch=found.epoch,
                        cause=found.cause or "",
                        reason=found.reason or "",
                        until_ms=found.resets_at_ms or 0,
                    )
                cursor = page.cursor
                if cursor is None:
                    break
        return listed

    def _forget_policy(self, instance_id: str) -> None:
        record = self._view.record(instance_id)
        record.policy = None
        if record.instance is not None:
            self.want_policy(record)

    def _forget_policies(self) -> None:
        for record in list(self._view.records.values()):
            if record.policy is not None or record.instance is not None:
                self._forget_policy(record.instance_id)

    async def _read_policies(self, client: AsyncClient) -> None:
        """Ask for one policy after the other, in the background."""
        while True:
            record = await self._policies.get()
            self._wanted.discard(record.instance_id)
            with contextlib.suppress(SekringError):
                policy = (await client.policy(record.instance_id)).policy
                with self._view.lock:
                    record.policy = policy
                    if record.instance is not None:
                        record.instance.policy = policy
            await asyncio.sleep(_POLICY_PAUSE_S)


class _Clock:
    """Puts a replica's monotonic clock as this process's: never later than it was.

    A stream did not begin before it was asked for, and what a message calls now was not after it
    came.
    """

    def __init__(self, asked_s: float) -> None:
        self._asked_s = asked_s
        self._offset_s: float | None = None

    def here(self, notice: AliveNotice) -> float:
        """Return until when everything was told (CLOCK_MONOTONIC, s)."""
        if self._offset_s is None:
            self._offset_s = self._asked_s - notice.since_ms / 1000
        self._offset_s = min(self._offset_s, time.monotonic() - notice.sent_ms / 1000)
        return notice.proven_ms / 1000 + self._offset_s


async def _within(events: AsyncIterator[ServerSent], silence_s: float) -> AsyncIterator[ServerSent]:
    """Yield events; raise TimeoutError when none comes for so long."""
    while True:
        async with asyncio.timeout(silence_s):
            try:
                event = await anext(events)
            except StopAsyncIteration:
                return
        yield event


def _decoded(decoder: "msgspec.json.Decoder[_T]", event: ServerSent) -> "_T":
    try:
        return decoder.decode(event.data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ServiceUnavailable(f"The stream says what the service would not: {error}") from error
