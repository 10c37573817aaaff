"""What a load was answered, and whether Redis has counted it."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis
from redis.cluster import RedisCluster

from sekring.store.keys import Keyspace

__all__ = ["Call", "Kind", "Latency", "Miscount", "Recording", "counted_ids", "miscount"]

#: Report ids by instance.
Ids = dict[str, set[str]]


class Kind(StrEnum):
    """What was asked for."""

    PERMIT = "permit"
    REPORT = "report"
    #: A report that is to open the breaker.
    TRIP = "trip"
    RESET = "reset"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and how it ended. Times are `time.monotonic()`, in seconds."""

    kind: Kind
    instance_id: str
    report_id: str | None
    port: int
    started_s: float
    ended_s: float
    #: `None`: there was no answer, and `error` says why.
    status: int | None
    answer: Mapping[str, Any]
    error: str

    @property
    def acknowledged(self) -> bool:
        return self.status == 200

    @property
    def degraded(self) -> bool:
        return bool(self.answer.get("degraded"))


@dataclass(frozen=True)
class Latency:
    """How long answers took, in ms."""

    calls: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, taken_ms: list[float]) -> "Latency":
        """Sum up; without any call all figures are 0."""
        ordered = sorted(taken_ms) or [0.0]

        def share(part: float) -> float:
            return ordered[max(0, math.ceil(part * len(ordered)) - 1)]

        return cls(len(taken_ms), share(0.5), share(0.99), ordered[-1])

    def __str__(self) -> str:
        figures = f"p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms, max {self.max_ms:.1f} ms"
        return f"{self.calls} calls, {figures}"


@dataclass(frozen=True)
class Recording:
    """Calls, in the order in which they ended."""

    calls: tuple[Call, ...]

    def between(self, start_s: float, end_s: float) -> "Recording":
        """Those that began and ended in a span of time."""
        return Recording(
            tuple(
                call for call in self.calls if start_s <= call.started_s and call.ended_s <= end_s
            )
        )

    def of(self, *kinds: Kind) -> "Recording":
        """Those of some kinds."""
        return Recording(tuple(call for call in self.calls if call.kind in kinds))

    def at(self, *ports: int) -> "Recording":
        """Those of some replicas."""
        return Recording(tuple(call for call in self.calls if call.port in ports))

    @property
    def statuses(self) -> Counter[int]:
        return Counter(call.status for call in self.calls if call.status is not None)

    @property
    def errors(self) -> Counter[str]:
        """Calls without an answer, by why."""
        return Counter(call.error for call in self.calls if call.error)

    @property
    def latency(self) -> Latency:
        return Latency.of([(call.ended_s - call.started_s) * 1000 for call in self.calls])

    @property
    def degraded(self) -> "Recording":
        """Those that were answered without Redis, and said so."""
        return Recording(tuple(call for call in self.calls if call.degraded))

    def acknowledged(self) -> Ids:
        """Reports that a client was told were taken."""
        return self._ids(acknowledged=True)

    def unanswered(self) -> Ids:
        """Reports of which a client knows nothing: they may count, or not."""
        return self._ids(acknowledged=False)

    def _ids(self, *, acknowledged: bool) -> Ids:
        ids: Ids = defaultdict(set)
        for call in self.of(Kind.REPORT).calls:
            if call.report_id and call.acknowledged is acknowledged:
                ids[call.instance_id].add(call.report_id)
        return ids


@dataclass(frozen=True)
class Miscount:
    """How what is counted differs from what was acknowledged; both empty where all is well."""

    #: Acknowledged and not counted.
    missing: Ids
    #: Counted and never sent.
    invented: Ids

    def __bool__(self) -> bool:
        return bool(self.missing or self.invented)


def counted_ids(
    client: "redis.Redis | RedisCluster", instance_id: str, keyspace: Keyspace | None = None
) -> set[str]:
    """Return the ids of the reports that are in the instance's window; a set holds each once."""
    failures_key = (keyspace or Keyspace()).failures(instance_id)
    members: list[bytes] = client.zrange(failures_key, 0, -1)  # type: ignore[assignment]
    return {member.decode() for member in members}


def miscount(recording: Recording, client: "redis.Redis | RedisCluster") -> Miscount:
    """Compare with Redis; the policy must be one under which nothing trips or leaves the window."""
    acknowledged, unanswered = recording.acknowledged(), recording.unanswered()
    missing, invented = {}, {}
    for name in {*acknowledged, *unanswered}:
        sure, unsure = acknowledged.get(name, set()), unanswered.get(name, set())
        counted = counted_ids(client, name)
        if sure - counted:
            missing[name] = sure - counted
        if counted - sure - unsure:
            invented[name] = counted - sure - unsure
    return Miscount(missing, invented)
