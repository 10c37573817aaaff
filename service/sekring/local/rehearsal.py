"""What an instance's breaker would have done by some policy with the failures on record."""

from collections.abc import Iterable

from msgspec import structs

from sekring.local.instance import Instance
from sekring.policy import Policy
from sekring.store.contract import ReportRequest, ResetRequest
from sekring.store.records import Record
from sekring.taxonomy import Effect

__all__ = ["Rehearsal", "cannot_trip"]


class Rehearsal:
    """One instance's breaker, played through again with one policy.

    It knows failures alone, each at the time at which it happened, and closes at the end of a
    cooldown (as with `probes` 0): of attempts and connections nothing is on record, so probes, the
    backoff and credited successes have no part in it. Chance, which shortens a grown cooldown, has
    none either.
    """

    def __init__(self, instance_id: str, policy: Policy) -> None:
        """Begin closed, without failures."""
        self._instance = Instance(instance_id, structs.replace(policy, probes=0))
        self._taken = 0

    @property
    def trips(self) -> int:
        """How often the threshold was reached inside the window."""
        return sum(change.action == "trip" for change in self._instance.history)

    def take(self, record: Record) -> None:
        """Take the next record; they come in the order of their times."""
        instance_id = record.instance_id
        if record.why == "cleared":
            self._instance.reset(ResetRequest(instance_id=instance_id, force=True), record.at_ms)
        elif record.why != "disabled":
            self._taken += 1
            report = ReportRequest(
                instance_id=instance_id,
                id=str(self._taken),
                outcome="failure",
                effect=Effect.COUNT,
                kind=record.kind,
                gateway=record.gateway or None,
                random=0.0,
            )
            self._instance.report(report, record.at_ms)


def cannot_trip(records: Iterable[Record], policy: Policy) -> bool:
    """Tell if these do not suffice for a trip even if they are all in one window."""
    weights = policy.weights
    weight = sum(weights.get(record.kind, 1) for record in records if record.kind)
    return weight < policy.failure_threshold
