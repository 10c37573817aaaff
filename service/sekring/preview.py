"""The use-case of looking ahead: what another policy would have made of the last hour.

Which failures happened was itself shaped by the policy in force: while a breaker is open nobody
attempts, so nothing fails. Hence both policies, the one in force too, are played through from the
same records, by the breaker in plain Python and on equal terms; neither figure counts what did
happen, and the difference between them is what a preview is for. Where the proposed policy opens
later, or for a shorter time, attempts would have gone on that the record knows nothing of: its
trips are a lower bound then. Where it opens earlier, or for longer, failures are on record that
would not have happened; they come while it is open, and count for nothing.

On record are also failures that were not counted and that the proposed policy might count: reported
while open because of failures (the first 64 of each time), of a kind whose weight was 0, or older
than the window. Not those that no policy counts: late ones, and those reported while a ban or an
operator held the breaker. An operator's reset clears by either policy what it cleared. The record
reaches back an hour, so a longer window sees no more than that.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import UNSET

from sekring.local.rehearsal import Rehearsal, cannot_trip
from sekring.past import Past
from sekring.policies import Policies
from sekring.policy import Policy, PolicyPatch, overlay
from sekring.slices import Slices
from sekring.store.reads import Reads
from sekring.store.records import HOUR_MS, Record, Records
from sekring.wire import PreviewAnswer, PreviewChange, PreviewSide

__all__ = ["Preview"]

#: Records that one preview considers at most, the newest of each partition: all that are kept where
#: there are 64 partitions.
_RECORDS_MAX = 256_000

#: How long one preview works at most, in s, pauses not counted; then the rest is left out.
_WORK_S = 15.0

#: Instances that are named of those gained or lost, at most.
_NAMED = 10

#: Fields of which the record cannot tell: it has no attempts and no connections.
_UNKNOWN = ("probes", "probe_ttl_ms", "backoff", "stable_after_ms", "success_clears", "fleet_guard")


class _Comparison:
    """Two policies, played through side by side, instance by instance."""

    def __init__(self) -> None:
        self.failures = 0
        self.instances = 0
        #: Trips by instance, of those that trip.
        self.in_force: Counter[str] = Counter()
        self.proposed: Counter[str] = Counter()

    def play(
        self, instance_id: str, records: Sequence[Record], in_force: Policy, proposed: Policy
    ) -> Iterator[None]:
        """Play one instance through; it counts once the last step was taken."""
        trips = []
        for policy in (in_force,) if in_force == proposed else (in_force, proposed):
            rehearsal = Rehearsal(instance_id, policy)
            if not cannot_trip(records, policy):
                for record in records:
                    rehearsal.take(record)
                    yield
            trips.append(rehearsal.trips)
        yield
        self.failures += sum(record.why != "cleared" for record in records)
        self.instances += 1
        for side, count in ((self.in_force, trips[0]), (self.proposed, trips[-1])):
            if count:
                side[instance_id] = count


class Preview:
    """Plays policies through from what is recorded; writes nothing. One preview runs at a time."""

    def __init__(self, records: Records, reads: Reads, policies: Policies) -> None:
        """Read failures from `records`, and instances' own policies from `reads`."""
        self._records = records
        self._reads = reads
        self._policies = policies
        self._alone = asyncio.Lock()

    async def fleet(self, patch: PolicyPatch) -> PreviewAnswer:
        """Tell what the last hour would have been like with `patch` laid over the fleet's policy.

        Instances that have a policy of their own keep it on top.

        Raises:
            InvalidInput: as from `Policies.change_fleet`.
            StoreUnavailable: a partition cannot be read.
        """
        fleet, changed = await self._policies.fleet_with(patch)
        plain = overlay(fleet), overlay(changed)
        limit = max(1, _RECORDS_MAX // self._records.partitions)
        slices, comparison, pasts = Slices(_WORK_S), _Comparison(), []
        async with self._alone:
            for number in range(self._records.partitions):
                past = await self._past(number, limit, slices)
                pasts.append(past)
                own = await self._reads.overrides(number, past.instances())
                for name in past.instances():
                    policies = plain
                    if name in own:
                        policies = overlay(fleet, own[name]), overlay(changed, own[name])
                    await slices.do(comparison.play(name, past.of(name), *policies))
        return await self._answer(pasts, comparison, slices, _unknown(patch, *plain))

    async def instance(self, instance_id: str, patch: PolicyPatch) -> PreviewAnswer:
        """Tell what the last hour would have been like with `patch` in the instance's own policy.

        Raises:
            InvalidInput: as from `Policies.change_instance`.
            StoreUnavailable: the partition cannot be read.
        """
        in_force, proposed = await self._policies.instance_with(instance_id, patch)
        slices, comparison = Slices(_WORK_S), _Comparison()
        number = self._records.partition_of(instance_id)
        async with self._alone:
            past = await self._past(number, _RECORDS_MAX, slices, instance_id)
            for name in past.instances():
                await slices.do(comparison.play(name, past.of(name), in_force, proposed))
        unknown = _unknown(patch, in_force, proposed)
        return await self._answer([past], comparison, slices, unknown)

    async def _past(self, number: int, limit: int, slices: Slices, only: str | None = None) -> Past:
        past = Past(await self._records.minutes(number))
        await slices.do(past.take(await self._records.lines(number, limit), only))
        return past

    async def _answer(
        self, pasts: Sequence[Past], comparison: _Comparison, slices: Slices, unknown: list[str]
    ) -> PreviewAnswer:
        now_ms = max(past.now_ms for past in pasts)
        recorded_ms = await self._records.since_ms() or now_ms
        kept_ms = max(past.since_ms for past in pasts)
        missing: Literal["young", "capped", "unfinished"] | None = None
        if slices.used_up:
            missing = "unfinished"
        elif any(past.since_ms > past.now_ms - HOUR_MS for past in pasts):
            missing = "capped"
        elif recorded_ms > now_ms - HOUR_MS:
            missing = "young"
        in_force, proposed = comparison.in_force, comparison.proposed
        return PreviewAnswer(
            failures=comparison.failures,
            instances=comparison.instances,
            in_force=PreviewSide(instances=len(in_force), trips=in_force.total()),
            proposed=PreviewSide(instances=len(proposed), trips=proposed.total()),
            gained=_change(proposed, in_force),
            lost=_change(in_force, proposed),
            complete=missing is None,
            missing=missing,
            since_ms=max(kept_ms, recorded_ms),
            now_ms=now_ms,
            not_considered=unknown,
        )


def _change(trips: Counter[str], others: Counter[str]) -> PreviewChange:
    alone = sorted(trips.keys() - others.keys())
    return PreviewChange(count=len(alone), instances=alone[:_NAMED])


def _unknown(patch: PolicyPatch, in_force: Policy, proposed: Policy) -> list[str]:
    """Return what matters and cannot be told: what is to change, and credited successes."""
    named = {name for name in _UNKNOWN if getattr(patch, name) is not UNSET}
    if in_force.success_clears or proposed.success_clears:
        named.add("success_clears")
    return [name for name in _UNKNOWN if name in named]
