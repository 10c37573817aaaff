"""This replica's own view of the fleet: every instance that is not plainly closed, kept by push.

A permit for an instance that is plainly closed (no failures, no attempts) or open is answered from
the view, without Redis. What the view says is at most `staleness_ms` old: a partition counts as
current only if its push channel was proven alive within that time. A channel that is not, or a gap
in its messages, means asking Redis until the partition was read anew.

An attempt permitted from the view carries the highest epoch that the view has seen in the
partition. Whatever an instance has gone through since then has a higher one, so the attempt's
outcome is late if the breaker has moved on.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Sequence

import msgspec
import structlog
from msgspec import Struct

from sekring.errors import StoreUnavailable
from sekring.model import REFUSING, Admission, State, Verdict
from sekring.partition import PartitionState
from sekring.policy import Policy, PolicyPatch, overlay
from sekring.store.contract import (
    Announcement,
    Facts,
    PartitionTotals,
    PermitRequest,
    ViewRequest,
)
from sekring.store.keys import Keyspace
from sekring.store.reads import FLEET, StoredPolicy
from sekring.store.scripts import Scripts
from sekring.telemetry.spans import Roots, background, untraced

__all__ = ["Known", "Replica"]

#: How long to wait until a partition is read again that could not be read, in seconds.
_READ_PAUSE_S = 0.1

_log = structlog.get_logger(__name__)

_announcement = msgspec.json.Decoder(Announcement)
_policy = msgspec.json.Decoder(StoredPolicy)


class Known(Struct, frozen=True, kw_only=True):
    """What was last known of an instance, however long ago."""

    #: `None`: it was plainly closed, or nothing was ever known.
    facts: Facts | None
    policy: Policy
    #: The highest epoch that was seen in its partition.
    epoch: int
    #: Failures in the window when a report of this replica was answered last, and when (ms).
    failures: int
    counted_ms: int


class Replica:
    """Implements `PushListener` (`sekring.store.push`); channels are named like the view's keys."""

    def __init__(
        self,
        scripts: Scripts,
        keyspace: Keyspace,
        *,
        staleness_ms: int,
        changed: Callable[[int], None] = lambda _: None,
        rung: Callable[[str, str], None] = lambda *_: None,
        roots: Roots = untraced,
    ) -> None:
        """Begin with nothing known. `changed` is told of every partition in which something is new.

        `rung` is told of every bell: its topic, and what it is about. With a `staleness_ms` of 0
        the view is never current enough to answer. Reading it is a trace that `roots` begins.
        """
        self._scripts = scripts
        self._keyspace = keyspace
        self._staleness_s = staleness_ms / 1000
        self._began_s = time.monotonic()
        self._changed = changed
        self._rung = rung
        self._roots = roots
        self._partitions = [PartitionState() for _ in keyspace.all_partitions()]
        self._numbers = {keyspace.view(number): number for number in keyspace.all_partitions()}

    @property
    def channels(self) -> Sequence[str]:
        """The push channels that keep the view current."""
        return list(self._numbers)

    # ------------------------------------------------------------------------ what it is asked

    def refusal(self, instance_id: str) -> Admission | None:
        """Return the refusal of a permit, if the view can tell that it would be refused."""
        partition = self._current(instance_id)
        facts = partition.facts.get(instance_id) if partition else None
        if partition is None or facts is None:
            return None
        return _refusal(instance_id, facts, partition.clock.now_ms())

    def admit(self, request: PermitRequest) -> Admission | None:
        """Answer a permit if the view can; `None` means asking Redis.

        An attempt that is permitted here is still to be registered.
        """
        name = request.instance_id
        partition = self._current(name)
        if partition is None or (request.build and request.build in partition.builds):
            return None
        facts = partition.facts.get(name)
        if facts is not None:
            return _refusal(name, facts, partition.clock.now_ms())
        return Admission(
            instance_id=name,
            permitted=True,
            attempt_id=f"{partition.epoch:x}-{request.token}",
            epoch=partition.epoch,
            state=State.CLOSED,
            failures=0,
            retry_after_ms=0,
            backoff_ms=0,
        )

    def begin_write(self, instance_id: str) -> None:
        """Ask Redis about this instance from now on: it is being changed through this replica."""
        self._partition(instance_id).begin_write(instance_id)

    def end_write(self, instance_id: str) -> None:
        """Answer for this instance again once the view is proven as of now."""
        self._partition(instance_id).end_write(instance_id)

    def write(self, instance_id: str) -> "_Write":
        """Return a context in which the instance is changed through this replica."""
        return _Write(self._partition(instance_id), instance_id)

    def note(self, verdict: Verdict) -> None:
        """Remember how many failures Redis counted, for the case that it goes away."""
        partition = self._partition(verdict.instance_id)
        if verdict.failures:
            partition.counts[verdict.instance_id] = (verdict.failures, partition.clock.now_ms())
        else:
            partition.counts.pop(verdict.instance_id, None)

    def known(self, instance_id: str) -> Known:
        """Return what was last known of the instance: what a decision without Redis begins with."""
        partition = self._partition(instance_id)
        stored = [partition.policies.get(name) for name in (FLEET, instance_id)]
        patches = [_policy.decode(policy).patch if policy else PolicyPatch() for policy in stored]
        failures, counted_ms = partition.counts.get(instance_id, (0, 0))
        return Known(
            facts=partition.facts.get(instance_id),
            # Not `apply`: what was stored is in force, even if two changes contradict each other.
            policy=overlay(*patches),
            epoch=partition.epoch,
            failures=failures,
            counted_ms=counted_ms,
        )

    def refused_build(self, instance_id: str, build: str | None) -> tuple[str, int] | None:
        """Return why and until when (ms) the instance's partition last refused a build."""
        refusal = self._partition(instance_id).builds.get(build or "")
        if refusal is None:
            return None
        kind, _, until_ms = refusal.rpartition(" ")
        return kind, int(until_ms)

    def sent_ms(self, instance_id: str) -> int | None:
        """Return the latest that it can be now by Redis' clock; `None` where that is not known."""
        clock = self._partition(instance_id).clock
        return None if math.isinf(clock.error_ms) else clock.now_ms() + math.ceil(clock.error_ms)

    def clock_ms(self, instance_id: str) -> int:
        """Return the clock of the instance's Redis, as far as it is known."""
        return self._partition(instance_id).clock.now_ms()

    @property
    def unproven(self) -> int:
        """How many partitions are not current: permits of their instances ask Redis."""
        oldest_s = time.monotonic() - self._staleness_s
        return sum(not part.live or part.proven_s < oldest_s for part in self._partitions)

    @property
    def staleness_s(self) -> float:
        """How long ago the whole view was proven last, in seconds; at first, since it began."""
        proven_s = min(part.proven_s for part in self._partitions)
        return time.monotonic() - max(proven_s, self._began_s)

    # ------------------------------------------------------------------------ what it is told

    def opened(self, channel: str) -> None:
        """Nothing is missed from now on: read what is there."""
        self._read_anew(self._numbers[channel])

    def message(self, channel: str, payload: bytes) -> None:
        """Something has changed."""
        number = self._numbers[channel]
        partition = self._partitions[number]
        try:
            message = _announcement.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            _log.exception("a message on the push channel makes no sense", channel=channel)
            self._read_anew(number)
            return
        if message.bell is not None:
            self._rung(message.bell, message.about)
        if partition.reading:
            partition.early.append(message)
        elif partition.live and not partition.apply(message):
            self._read_anew(number)
        if message.bell is None:
            self._changed(number)

    def broken(self, channel: str) -> None:
        """Messages may be missed: the view is not current until the channel was opened again."""
        partition = self._partitions[self._numbers[channel]]
        partition.live = False
        if partition.reading:
            partition.reading.cancel()
            partition.reading = None

    def proven(self, channels: Collection[str], sent_s: float) -> None:
        """Whatever was published before `sent_s` on these channels has come."""
        for channel in channels:
            self._partitions[self._numbers[channel]].prove(sent_s)

    def seen(self, number: int) -> int:
        """Return the number of the last message that a partition's view contains."""
        return self._partitions[number].seq

    def compare(self, number: int, totals: PartitionTotals, seen: int, sent_s: float) -> None:
        """Check a partition against what Redis said: its clock, and whether it is still the same.

        It was asked at `sent_s`, and then the view had `seen`. Where Redis has lost the partition,
        no message tells: it is read anew.
        """
        partition = self._partitions[number]
        partition.clock.sample(totals.now_ms, sent_s, time.monotonic())
        if totals.seq < seen and partition.live:
            _log.warning("redis has lost a partition's state: reading it anew", partition=number)
            self._read_anew(number)

    def close(self) -> None:
        """Stop reading."""
        for channel in self._numbers:
            self.broken(channel)

    # --------------------------------------------------------------------------- how it reads

    def _current(self, instance_id: str) -> PartitionState | None:
        """Return the instance's partition if what is seen of the instance is current."""
        partition = self._partition(instance_id)
        if not partition.live or time.monotonic() - partition.proven_s > self._staleness_s:
            return None
        return None if instance_id in partition.writes else partition

    def _partition(self, instance_id: str) -> PartitionState:
        return self._partitions[self._keyspace.partition_of(instance_id)]

    def _read_anew(self, number: int) -> None:
        partition = self._partitions[number]
        partition.live = False
        partition.early = []
        if partition.reading:
            partition.reading.cancel()
        partition.reading = background(self._read(number))

    async def _read(self, number: int) -> None:
        partition = self._partitions[number]
        while True:
            sent_s = time.monotonic()
            try:
                with self._roots("view"):
                    view = await self._scripts.view(number, ViewRequest())
            except StoreUnavailable:
                await asyncio.sleep(_READ_PAUSE_S)
                continue
            partition.clock.sample(view.now_ms, sent_s, time.monotonic())
            partition.begin(view)
            early, partition.early = partition.early, []
            if all(map(partition.apply, early)):
                break
        partition.reading = None
        partition.live = True
        self._changed(number)


class _Write:
    """Has Redis asked about an instance for as long as it is being changed."""

    __slots__ = ("_instance_id", "_partition")

    def __init__(self, partition: PartitionState, instance_id: str) -> None:
        self._partition = partition
        self._instance_id = instance_id

    def __enter__(self) -> None:
        self._partition.begin_write(self._instance_id)

    def __exit__(self, *_: object) -> None:
        self._partition.end_write(self._instance_id)


def _refusal(instance_id: str, facts: Facts, now_ms: int) -> Admission | None:
    """Refuse for as long as the facts hold by themselves."""
    if facts.state not in REFUSING:
        return None
    if facts.until_ms and now_ms >= facts.until_ms:
        return None
    if facts.oldest_leaves_ms is not None and now_ms >= facts.oldest_leaves_ms:
        return None  # its failures are fewer than that by now
    return Admission(
        instance_id=instance_id,
        permitted=False,
        epoch=facts.epoch,
        state=facts.state,
        failures=facts.failures,
        retry_after_ms=facts.until_ms - now_ms if facts.until_ms else None,
        backoff_ms=0,
        cause=facts.cause,
        reason=facts.reason or None,
    )
