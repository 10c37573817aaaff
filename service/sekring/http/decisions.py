"""The part of the composition root that decides: what the breaker of a replica consists of."""

from collections.abc import Callable

from sekring.breaker import Breaker
from sekring.degraded import Degraded
from sekring.fleetguard import Guard
from sekring.pacing import PacedPermits
from sekring.pledges import Confirm, Pledges
from sekring.registrar import Registrar
from sekring.replay import ReplayQueue
from sekring.replica import Replica
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads
from sekring.store.scripts import Scripts
from sekring.telemetry.instruments import Instruments
from sekring.telemetry.meters import Meters
from sekring.telemetry.spans import Roots, untraced

__all__ = ["Decisions"]


class Decisions:
    """One replica's view, queue and breakers, wired to one store."""

    def __init__(
        self,
        scripts: Scripts,
        reads: Reads,
        keyspace: Keyspace,
        *,
        staleness_ms: int,
        replay_max: int,
        available: Callable[[int], bool],
        confirm: Confirm | None = None,
        changed: Callable[[int], None] = lambda _: None,
        rung: Callable[[str, str], None] = lambda *_: None,
        roots: Roots = untraced,
        instruments: Instruments | None = None,
    ) -> None:
        """Wire; nothing is sent.

        `available` tells whether a partition's Redis can be reached, `confirm` whether replicas of
        it have what was written about an instance; `changed` is told of partitions with news, and
        `rung` of bells; `roots` begins traces, and `instruments` count.
        """
        instruments = instruments or Instruments(Meters())
        self.replica = Replica(
            scripts,
            keyspace,
            staleness_ms=staleness_ms,
            changed=changed,
            rung=rung,
            roots=roots,
        )
        self.pledges = Pledges(scripts, confirm)
        self.replay = ReplayQueue(
            scripts,
            keyspace,
            limit=replay_max,
            available=available,
            sent_ms=self.replica.sent_ms,
            counted=self.replica.note,
            pledge=self.pledges.keep,
        )
        self.degraded = Degraded(self.replica, self.replay, keyspace, available)
        self.registrar = Registrar(
            scripts, registered=self.replica.end_write, failed=self.degraded.register
        )
        self.guard = Guard(scripts, reads)
        self.breaker = Breaker(
            (scripts, reads),
            self.replica,
            self.registrar,
            self.degraded,
            self.pledges,
            instruments=instruments,
        )
        self.permits = PacedPermits(self.breaker, self.guard, instruments)
