"""Decisions while Redis is away: from the last known view, and a count of this replica's own.

The same policy is in force, and the same rules: each instance is taken up by the breaker in plain
Python (`sekring.local`), which begins with what was last known of it. What is decided here waits in
the replay queue for Redis. Once Redis has learnt it all, the instances are let go.
"""

from collections.abc import Callable

from msgspec import Struct, structs

from sekring.local.instance import Instance
from sekring.local.memory import Partition
from sekring.model import Admission, Snapshot, State, Verdict
from sekring.policy import Policy
from sekring.replay import ReplayQueue
from sekring.replica import Known, Replica
from sekring.store.contract import (
    Facts,
    OfferRequest,
    PermitRequest,
    RefuseBuildRequest,
    ReportRequest,
)
from sekring.store.keys import Keyspace
from sekring.telemetry.answers import transition
from sekring.telemetry.spans import current

__all__ = ["Degraded"]

#: Instances of one partition that are held at most. Of more, those that were used least lately are
#: taken up anew from the last known view when they come again.
_HELD_MAX = 4_000

#: What an instance's breaker does to open it because of what was counted.
_TRIPS = frozenset({"trip", "reopen"})


class _Held(Struct):
    """An instance that is decided about here, and the epoch up to which Redis' word is known."""

    instance: Instance
    known_epoch: int


class _HeldPartition:
    __slots__ = ("held", "shared")

    def __init__(self) -> None:
        self.shared = Partition()
        self.held: dict[str, _Held] = {}


class Degraded:
    """The breaker of a replica that is alone."""

    def __init__(
        self,
        replica: Replica,
        replay: ReplayQueue,
        keyspace: Keyspace,
        available: Callable[[int], bool],
    ) -> None:
        """Begin with what `replica` knows; leave what is decided to `replay`.

        `available` tells whether a partition's Redis can be reached.
        """
        self._replica = replica
        self._replay = replay
        self._keyspace = keyspace
        self._available = available
        self._partitions: dict[int, _HeldPartition] = {}
        #: Refused builds that Redis does not know of yet, why, and until when (ms).
        self._builds: dict[str, tuple[str, int]] = {}

    def decides(self, instance_id: str) -> bool:
        """Tell whether the instance is decided about here.

        It is while its Redis cannot be reached, and until that has learnt what was decided here.
        """
        number = self._keyspace.partition_of(instance_id)
        if not self._available(number) or self._replay.behind(number):
            return True
        if self._partitions:
            self._partitions.pop(number, None)
        return False

    @property
    def partitions(self) -> int:
        """How many partitions are decided about here."""
        return sum(
            not self._available(number) or self._replay.behind(number)
            for number in self._keyspace.all_partitions()
        )

    def permit(self, request: PermitRequest) -> Admission:
        """Say whether the instance may connect now."""
        held = self._hold(request.instance_id)
        refused = self._builds.get(request.build or "") or self._replica.refused_build(
            request.instance_id, request.build
        )
        admission = held.instance.permit(request, self._clock(request.instance_id), refused)
        if admission.permitted:
            self._replay.keep(structs.replace(request, epoch=held.known_epoch))
        self._settle(held)
        return structs.replace(admission, degraded=True)

    def register(self, request: PermitRequest) -> Admission:
        """Take note of an attempt that a view has permitted, and Redis did not take."""
        held = self._hold(request.instance_id)
        admission = held.instance.permit(request, self._clock(request.instance_id), None)
        self._replay.keep(request)
        self._settle(held)
        return structs.replace(admission, degraded=True)

    def report(self, request: ReportRequest) -> Verdict:
        """Take how an attempt, or a live connection, ended."""
        held = self._hold(request.instance_id)
        verdict = held.instance.report(request, self._clock(request.instance_id))
        self._replay.keep(request)
        self._settle(held)
        return structs.replace(verdict, degraded=True)

    def refuse_build(self, request: RefuseBuildRequest) -> bool:
        """Refuse a gateway's build; whether that was news."""
        clock = self._replica.clock_ms(request.build)
        known = self._builds.get(request.build)
        if known and known[1] > clock:
            return False
        self._builds = {name: why for name, why in self._builds.items() if why[1] > clock}
        self._builds[request.build] = (request.kind or "", clock + (request.for_ms or 0))
        self._replay.keep_build(request)
        return True

    def snapshot(self, instance_id: str) -> tuple[Snapshot, Policy]:
        """Return the instance as it stands by what is known here, and the policy in force."""
        instance = self._hold(instance_id).instance
        clock = self._clock(instance_id)
        instance.advance(clock)
        return structs.replace(instance.snapshot(clock), degraded=True), instance.policy

    def _clock(self, instance_id: str) -> int:
        return self._replica.clock_ms(instance_id)

    def _hold(self, instance_id: str) -> _Held:
        number = self._keyspace.partition_of(instance_id)
        partition = self._partitions.setdefault(number, _HeldPartition())
        held = partition.held.pop(instance_id, None)
        if held is None:
            known = self._replica.known(instance_id)
            partition.shared.epoch = max(partition.shared.epoch, known.epoch)
            instance = _taken_up(instance_id, known, partition.shared)
            instance.touched = self._clock(instance_id)
            held = _Held(instance, known.epoch)
            if len(partition.held) >= _HELD_MAX:
                del partition.held[next(iter(partition.held))]
        partition.held[instance_id] = held  # the last one is the one used last
        return held

    def _settle(self, held: _Held) -> None:
        """Tell of transitions, and offer a trip to Redis.

        What was counted here alone may not suffice there.
        """
        instance, span = held.instance, current()
        for change in instance.history:
            if span:
                transition(span, instance.instance_id, change)
            if change.action in _TRIPS and instance.state is State.OPEN:
                self._replay.keep(
                    OfferRequest(
                        instance_id=instance.instance_id,
                        epoch=held.known_epoch,
                        cause=instance.cause,
                        for_ms=max(1, instance.until - self._clock(instance.instance_id)),
                    )
                )
        instance.history.clear()


def _taken_up(instance_id: str, known: Known, partition: Partition) -> Instance:
    """Return the instance as it was last known; only what the view tells is there."""
    instance = Instance(instance_id, known.policy, partition=partition)
    instance.epoch = known.epoch
    facts = known.facts or Facts(state=State.CLOSED)
    instance.known = known.facts is not None or known.failures > 0
    if facts.state is not State.CLOSED:
        instance.state = facts.state
        instance.epoch = facts.epoch
        instance.cause = facts.cause
        instance.reason = facts.reason
        instance.until = facts.until_ms
    for place in range(max(known.failures, facts.failures)):
        at = known.counted_ms or (facts.oldest_leaves_ms or 0) - known.policy.window_ms
        instance.window.kinds[f"~{place}"] = (at, "disconnected")
    return instance
