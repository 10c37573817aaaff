"""The way to Redis: every call goes to the node that holds its key, in order, with a deadline.

`sekring.store.topology` knows the nodes, `sekring.store.lane` is the way to one of them. Here a
call finds its lane, also when its slot moves while it waits. What the driver raises stops here.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from redis.exceptions import AskError, MovedError

from sekring.errors import StoreUnavailable
from sekring.redisurl import RedisUrl
from sekring.store.calls import Call, Deadlines
from sekring.store.cluster import Cluster
from sekring.store.connection import Address, Command, Connector
from sekring.store.fence import Fence
from sekring.store.lane import Lane
from sekring.store.library import Library, Script
from sekring.store.refusals import unreachable
from sekring.store.sentinel import Sentinel
from sekring.store.single import Single
from sekring.store.topology import Topology

__all__ = ["RedisLink"]

#: How often a call follows nodes that send it on at once; then it waits a little before each.
_MOVES_MAX = 4


class RedisLink:
    """Runs scripts and commands on one Redis deployment."""

    def __init__(self, url: str, *, timeout_ms: int) -> None:
        """Prepare; nothing is sent yet.

        `timeout_ms` is the deadline of one call, from the call to its answer, queueing included.

        Raises:
            SettingsError: the URL has an option that does not exist.
        """
        self._timeout_s = timeout_ms / 1000
        #: Has all scripts, see `know`.
        self.library: Library | None = None
        #: Which node holds what; `sekring.store.push` follows it as well.
        self.topology = _topology(RedisUrl.parse(url), self._timeout_s)
        self.topology.watch(self._rearrange)
        self._lanes: dict[Address, Lane] = {}
        self._fences: dict[Address, Fence] = {}
        #: Calls of slots whose node is not known yet.
        self._homeless: list[Call] = []
        self._deadlines = Deadlines(self._timeout_s)
        self._callbacks: list[Callable[[], None]] = []
        self._closing: set[asyncio.Task[None]] = set()

    def know(self, library: Library) -> None:
        """Take note of what a server is given that lacks a script: all of them, at once.

        Otherwise calls of two scripts in one pipeline could change places when one is repeated.
        """
        self.library = library

    def start(self, script: Script, keys: Sequence[str], request: bytes) -> Call:
        """Run `script` on `keys` with one msgpack-encoded request, where the first key is.

        Every script may be run twice with the same request without counting twice, so a call
        whose connection breaks, or whose node changes, is repeated. Its `answer` raises
        `StoreUnavailable` if there was none within the deadline, or Redis refused.

        Raises:
            StoreUnavailable: the node is known to be lost.
        """
        command: Command = ("FCALL", script.function, len(keys), *keys, request)
        return self._begin(command, script, self.topology.slot_of(keys[0]))

    async def read(self, command: str, key: str, *arguments: str | bytes | int) -> object:
        """Run one command that changes nothing, where its key is.

        Raises:
            StoreUnavailable: no answer within the deadline, or Redis refused; at once where the
                node is known to be lost.
        """
        return await self._begin(
            (command, key, *arguments), None, self.topology.slot_of(key)
        ).answer

    async def ping(self) -> None:
        """Return if a node answers.

        Raises:
            StoreUnavailable: none does.
        """
        self.topology.start()
        lanes = [self._lane(address) for address in self.topology.owners()]
        lane = next((lane for lane in lanes if lane.lost is None), None)
        if lane is None:
            await self._begin(("PING",), None, 0).answer
            return
        call = Call(("PING",), None, 0)
        self._deadlines.add(call)
        lane.resume([call])
        await call.answer

    def available(self, key: str) -> bool:
        """Tell whether calls for `key` have a chance: false where they fail at once."""
        slot = self.topology.slot_of(key)
        address = self.topology.owner(slot)
        if address is None:
            return self.topology.lost is None
        lane = self._lanes.get(address)
        return lane is None or (lane.lost is None and lane.holds.words(slot) is None)

    @property
    def lost(self) -> frozenset[str]:
        """The nodes that are taken to be lost, and why none is known, if that is so."""
        nodes = {str(address) for address, lane in self._lanes.items() if lane.lost}
        return frozenset(nodes or ({self.topology.lost} if self.topology.lost else ()))

    def on_availability(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `available` may have changed for some keys."""
        self._callbacks.append(callback)

    async def confirm(self, key: str, replicas: int, timeout_ms: int, since_s: float) -> bool:
        """Tell whether `replicas` replicas have all that was written beside `key` since `since_s`.

        `key` is any key of the partition that was written; `since_s` (`time.monotonic()`) is when
        the first such call was made. False where it is not known within `timeout_ms`, and where
        the node has changed since then, or was restarted: then it may be lost. Never raises.
        """
        self.topology.start()
        slot = self.topology.slot_of(key)
        address = self.topology.owner(slot)
        if address is None:
            return False
        fence = self._fences.get(address)
        if fence is None:
            fence = self._fences[address] = Fence(self.topology.connector, address)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                if not await fence.confirm(key, replicas, timeout_ms, since_s):
                    return False
                await self._vouched(time.monotonic())
        except TimeoutError:
            return False
        stayed = self.topology.owned_since_s(slot) < since_s
        return stayed and self.topology.owner(slot) == address

    async def _vouched(self, at_s: float) -> None:
        """Return once it is known that the owners were still in charge at `at_s`."""
        looked = asyncio.Event()
        unwitness = self.topology.witness(looked.set)
        try:
            while self.topology.vouch() < at_s:
                looked.clear()
                await looked.wait()
        finally:
            unwitness()

    async def close(self) -> None:
        """Wait for what is under way, then close every connection."""
        for lane in tuple(self._lanes.values()):
            await lane.drain()
        await self.topology.close()
        for lane in tuple(self._lanes.values()):
            self._retire(lane)
        for call in self._homeless:
            call.fail(StoreUnavailable("The connection to Redis was closed."))
        for fence in self._fences.values():
            await fence.close()
        await asyncio.gather(*self._closing)
        self._deadlines.close()

    # ------------------------------------------------------------------------------ calls

    def _begin(self, command: Command, script: Script | None, slot: int) -> Call:
        lane = self._lane_of(slot)
        words = (lane.lost or lane.holds.words(slot)) if lane else self.topology.lost
        if words:
            raise unreachable(words)
        call = Call(command, script, slot)
        self._deadlines.add(call)
        if lane:
            lane.submit(call)
        else:
            self._homeless = [one for one in self._homeless if not one.done]
            self._homeless.append(call)
        return call

    def _lane_of(self, slot: int) -> Lane | None:
        self.topology.start()
        address = self.topology.owner(slot)
        return self._lane(address) if address else None

    def _lane(self, address: Address) -> Lane:
        lane = self._lanes.get(address)
        if lane is None:
            lane = self._lanes[address] = Lane(self.topology.connector, address, self)
        return lane

    def _resubmit(self, calls: list[Call]) -> None:
        """Send calls that were taken back, in their order, before those that wait."""
        by_lane: dict[Lane, list[Call]] = {}
        for call in sorted(calls, key=lambda call: call.number):
            call.asking = False
            call.lane = None
            lane = self._lane_of(call.slot)
            if lane is not None:
                by_lane.setdefault(lane, []).append(call)
            elif self.topology.lost:
                call.fail(unreachable(self.topology.lost))
            else:
                self._homeless.append(call)
        for lane, mine in by_lane.items():
            lane.resume(mine)

    # ------------------------------------------------------------- what the lanes report

    def bounced(self, lane: Lane, calls: list[tuple[Call, Exception]]) -> None:
        """Send on calls that a node did not run."""
        by_slot: dict[int, list[tuple[Call, Exception]]] = {}
        for call, error in calls:
            by_slot.setdefault(call.slot, []).append((call, error))
        for slot, refused in by_slot.items():
            self._bounce(lane, slot, refused)

    def moved(self, lane: Lane, slot: int, error: MovedError) -> None:
        """Send what waits for a slot to where the slot is."""
        calls = lane.take(slot)
        self.topology.learn(slot, _target(error, lane))
        self._resubmit(calls)

    def suspect(self) -> None:
        """Have the nodes looked up."""
        self.topology.suspect()

    def changed(self) -> None:
        """Tell whoever asked to be told of availability."""
        for callback in tuple(self._callbacks):
            callback()

    def _bounce(self, lane: Lane, slot: int, refused: list[tuple[Call, Exception]]) -> None:
        calls = [call for call, _ in refused]
        errors = [error for _, error in refused]
        patient = any(call.moves >= _MOVES_MAX for call in calls)
        for call in calls:
            call.moves += 1
        moved = next((error for error in errors if isinstance(error, MovedError)), None)
        asked = errors[0] if all(isinstance(error, AskError) for error in errors) else None
        if moved and not patient:
            self.topology.learn(slot, _target(moved, lane))
            self._resubmit(calls)
        elif isinstance(asked, AskError) and not patient:
            for call in calls:
                call.asking = True
            self._lane(_target(asked, lane)).resume(calls)
        else:
            self.suspect()
            owner = self._lane_of(slot) or lane
            for call, error in refused:
                if owner.lost:
                    call.fail(unreachable(owner.lost))
                else:
                    owner.holds.add(call, str(error))

    # --------------------------------------------------------------- when the nodes change

    def _rearrange(self) -> None:
        """Send what waits to where it belongs now; leave nodes that hold nothing any more."""
        calls, self._homeless = self._homeless, []
        owners = self.topology.owners()
        for address, lane in tuple(self._lanes.items()):
            if address not in owners:
                calls += self._retire(lane)
                continue
            for slot in lane.slots():
                if self.topology.owner(slot) != address:
                    calls += lane.take(slot)
        self._resubmit([call for call in calls if not call.done])
        self.changed()

    def _retire(self, lane: Lane) -> list[Call]:
        calls = lane.retire()
        del self._lanes[lane.address]
        endings = [lane.close()]
        if fence := self._fences.pop(lane.address, None):
            endings.append(fence.close())
        for ending in endings:
            task = asyncio.create_task(ending)
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return calls


def _topology(url: RedisUrl, timeout_s: float) -> Topology:
    connector = Connector(url, timeout_s=timeout_s)
    if url.kind == "sentinel":
        return Sentinel(url, connector)
    if url.kind == "cluster":
        return Cluster(url, connector)
    return Single(connector)


def _target(error: AskError, lane: Lane) -> Address:
    """Return where a node sends a call; without a host it means its own."""
    return Address(error.host or lane.address.host, error.port)
