"""Reports to the real scripts at times of the test's choosing, all within the last hour."""

from collections.abc import Mapping
from typing import Any

import msgspec

from sekring.model import Verdict
from sekring.policy import PolicyPatch
from sekring.store.contract import PolicyRequest, ReportRequest, ResetRequest
from sekring.store.keys import Keyspace
from sekring.store.reads import StoredPolicy
from sekring.store.records import Record, Records
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.taxonomy import EFFECTS, Effect, Kind

__all__ = ["Recorder"]


class Recorder:
    """A keyspace of one partition, in which failures are reported and read again."""

    def __init__(self, link: RedisLink, keyspace: Keyspace) -> None:
        self.scripts = Scripts(link, keyspace)
        self.records = Records(self.scripts, link, keyspace)
        self._reported = 0
        self._versions = 0

    async def begin(self, ago_ms: int) -> int:
        """Return a time so long ago, by Redis' clock."""
        return (await self.records.minutes(0)).now_ms - ago_ms

    async def set_policy(self, patch: PolicyPatch) -> None:
        self._versions += 1
        stored = StoredPolicy(self._versions, patch)
        text = msgspec.json.encode(stored).decode()
        await self.scripts.set_policy(0, PolicyRequest(policy=text, version=self._versions))

    async def fail(
        self, instance_id: str, at_ms: int, kind: Kind = Kind.DNS, **more: Any
    ) -> Verdict:
        self._reported += 1
        fields: Mapping[str, Any] = {"id": f"report-{self._reported}", "random": 0.0, **more}
        return await self.scripts.report(
            ReportRequest(
                instance_id=instance_id,
                outcome="failure",
                effect=EFFECTS[kind],
                kind=kind,
                ban_ms=600_000 if EFFECTS[kind] is Effect.BAN else None,
                now_ms=at_ms,
                **fields,
            )
        )

    async def reset(self, instance_id: str, at_ms: int) -> None:
        await self.scripts.reset(ResetRequest(instance_id=instance_id, force=True, now_ms=at_ms))

    async def recorded(self) -> list[Record]:
        """Return everything on record, as it came."""
        lines = await self.records.lines(0, 1_000_000)
        return [Record.parse(line.decode()) for line in lines]

    async def counted(self) -> dict[int, int]:
        """Return the counts by minute since 1970."""
        flat = (await self.records.minutes(0)).counts
        return {int(minute): int(n) for minute, n in zip(flat[::2], flat[1::2], strict=True)}
