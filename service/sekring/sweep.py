"""The sweep: writes down what time alone has changed, so that others read it from the indexes.

Nothing depends on it for being right: every script settles its instance first, and readers correct
for what is due. It makes recoveries appear in the feed when they happen, keeps the corrections few,
gives a partition the fleet's policy that missed it, and has the replica's view read anew where
Redis has lost what it shows. Every replica sweeps; settling an instance twice changes nothing.

With the sums that a sweep reads it has the fleet guard evaluated.
"""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Sequence

import structlog

from sekring.errors import SekringError
from sekring.fleetguard import Guard
from sekring.model import FleetTotals
from sekring.policies import Policies
from sekring.replica import Replica
from sekring.store.contract import SettleRequest, TotalsRequest
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads
from sekring.store.scripts import Scripts
from sekring.telemetry.spans import Roots, untraced

__all__ = ["Sweep"]

#: From the end of one sweep to the next, in seconds, give or take a fifth.
_PAUSE_S = 0.5

#: The same after one that found much to do: more is waiting.
_PAUSE_BEHIND_S = 0.02

#: How old the latest sums may be to be told of, in seconds: a slow Redis is not an absent one.
_SUMS_MAX_AGE_S = 5.0

#: Instances settled in one partition and sweep at most: the rest waits for the next one.
_DUE_MAX = 100

#: Instances settled in one go at most: a pipeline's worth.
_AT_ONCE = 500

_log = structlog.get_logger(__name__)


class Sweep:
    """A background task of each replica."""

    def __init__(
        self,
        scripts: Scripts,
        reads: Reads,
        keyspace: Keyspace,
        policies: Policies,
        *,
        replica: Replica,
        guard: Guard,
        roots: Roots = untraced,
    ) -> None:
        """Prepare; `run` does it, each time as a trace that `roots` begins."""
        self._roots = roots
        self._replica = replica
        self._guard = guard
        self._scripts = scripts
        self._reads = reads
        self._keyspace = keyspace
        self._policies = policies
        self._sums: FleetTotals | None = None
        self._read_s = -math.inf

    @property
    def sums(self) -> FleetTotals | None:
        """The sums over all instances as read last; `None` if that was too long ago."""
        return self._sums if time.monotonic() - self._read_s < _SUMS_MAX_AGE_S else None

    async def run(self) -> None:
        """Sweep until cancelled; an unreachable Redis is tried again."""
        while True:
            settled = 0
            try:
                with contextlib.suppress(SekringError), self._roots("sweep"):
                    settled = await self.once()
            except Exception:  # noqa: BLE001 - nobody else would see it
                # A fault of ours. The next sweep is made all the same: there is no other sweeper.
                _log.exception("sweep failed")
            pause_s = _PAUSE_S if settled < _AT_ONCE else _PAUSE_BEHIND_S
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311

    async def once(self) -> int:
        """Sweep all partitions; return how many instances were settled."""
        sent_s = time.monotonic()
        seen = [self._replica.seen(number) for number in self._keyspace.all_partitions()]
        partitions = await asyncio.gather(
            *(
                self._scripts.totals(number, TotalsRequest(limit=_DUE_MAX))
                for number in self._keyspace.all_partitions()
            )
        )
        for number, totals in enumerate(partitions):
            self._replica.compare(number, totals, seen[number], sent_s)
        sums = FleetTotals.sum(partitions)
        self._sums, self._read_s = sums, sent_s
        await self._guard.evaluate(sums)
        due = [instance_id for totals in partitions for instance_id in totals.due]
        await self._settle(due)
        if len({totals.policy_version for totals in partitions}) > 1:
            await self._policies.spread(await self._reads.fleet_policy())
            _log.info("fleet policy given to partitions that missed it")
        return len(due)

    async def _settle(self, instance_ids: Sequence[str]) -> None:
        for first in range(0, len(instance_ids), _AT_ONCE):
            some = instance_ids[first : first + _AT_ONCE]
            await asyncio.gather(
                *(self._scripts.settle(SettleRequest(instance_id=name)) for name in some)
            )
