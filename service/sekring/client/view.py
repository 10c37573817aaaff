"""The client's own view of the fleet: every instance that is not closed, fed by `/v1/events`.

What it says is at most as old as its staleness bound: the stream proves again and again up to when
it has told everything (`AliveNotice`). One that was not proven for that long is not gone by.

An attempt that it permits carries the time up to which it knew everything, by Redis' clock, or the
instance's own epoch if that is later. Epochs are such times: what an instance has gone through
since then has a higher one, so the attempt's outcome is late if the breaker has moved on.
"""

import math
import threading
import time
from collections.abc import Mapping

from sekring.client.record import Facts, Record
from sekring.model import State, Transition
from sekring.policy import Policy

__all__ = ["View"]

_STATES = frozenset(State)

#: Transitions after which nothing that was counted before counts.
_CLEARING = frozenset({"reset", "recover"})


class View:
    """Written by the client's own thread, and by callers under `lock`; read by anybody."""

    def __init__(self, staleness_s: float) -> None:
        """Begin with nothing known."""
        self.lock = threading.RLock()
        self.records: dict[str, Record] = {}
        #: Until when plain instances are permitted without any question (CLOCK_MONOTONIC, s).
        self.plain_until = -math.inf
        #: Up to when everything is known, by Redis' clock; 0: nothing is.
        self.epoch = 0
        #: The fleet's.
        self.policy = Policy()
        self._staleness_s = staleness_s
        self._proven_s = -math.inf
        self._paced: frozenset[str] = frozenset()
        self._alone = False
        # Until Redis' clock is known, this machine's has to do.
        self._offset_ms = time.time() * 1000 - time.monotonic() * 1000

    # --------------------------------------------------------------------- what it is asked

    def record(self, instance_id: str) -> Record:
        """Return what is known of an instance.

        Raises:
            InvalidInput: no instance can have that id.
        """
        found = self.records.get(instance_id)
        return found or self.records.setdefault(instance_id, Record(instance_id))

    def is_current(self) -> bool:
        """Whether it is known to be younger than the bound."""
        return time.monotonic() < self._proven_s + self._staleness_s

    @property
    def alone(self) -> bool:
        """Whether the service is away."""
        return self._alone

    @property
    def paced(self) -> bool:
        """Whether the service is asked even of closed instances: it paces the fleet, say."""
        return bool(self._paced)

    def clock_ms(self) -> int:
        """Return the time by Redis' clock, as far as it is known."""
        return round(time.monotonic() * 1000 + self._offset_ms)

    # ---------------------------------------------------------------------- what it is told

    def prove(self, at_s: float, redis_ms: int) -> None:
        """Everything is known up to then, by this process's monotonic clock and by Redis'."""
        self._proven_s = at_s
        self._offset_ms = redis_ms - at_s * 1000
        self.epoch = redis_ms
        self._open_the_short_way()

    def set_paced(self, by: str, *, paced: bool) -> None:
        """Have the service asked of everything, or not: by the fleet guard, or for our build."""
        self._paced = self._paced | {by} if paced else self._paced - {by}
        self._open_the_short_way()

    def set_alone(self, *, alone: bool) -> None:
        """Go no short way while the service is away: whoever decides then says so."""
        self._alone = alone
        self._open_the_short_way()

    def load(self, listed: Mapping[str, Facts]) -> None:
        """Take a list of all that are not closed, in place of what was known of their states."""
        with self.lock:
            for name in listed.keys() - self.records.keys():
                self.record(name)
            for record in list(self.records.values()):
                facts = listed.get(record.instance_id)
                if facts is not None:
                    self._note(record, facts)
                elif record.facts is not None:
                    record.facts = record.instance = None
                    record.settle()
            self._prune()

    def apply(self, transition: Transition) -> None:
        """Take what has happened to an instance."""
        if transition.after not in _STATES:
            return
        with self.lock:
            record = self.record(transition.instance_id)
            if transition.epoch < record.epoch:
                return
            if transition.after == State.CLOSED:
                record.epoch = transition.epoch
                record.facts = None
                if transition.action in _CLEARING:
                    record.instance = None
                record.settle()
                return
            facts = Facts(
                state=State(transition.after),
                epoch=transition.epoch,
                cause=transition.cause,
                reason=transition.reason,
                until_ms=transition.until_ms or 0,
            )
            self._note(record, facts)

    def forget(self) -> None:
        """Know nothing any more: what is there now is another fleet, or another process."""
        with self.lock:
            # Records are replaced, not emptied: guards that hold one go on with it.
            self.records = {}
            self.epoch = 0
            self._proven_s = -math.inf
            self._open_the_short_way()

    def fork(self) -> None:
        """Be as new in a forked process, where nobody holds the lock."""
        self.lock = threading.RLock()
        self.forget()

    def _note(self, record: Record, facts: Facts) -> None:
        if facts.epoch < record.epoch:
            return
        record.epoch = facts.epoch
        record.facts = facts
        record.instance = None
        record.settle()

    def _prune(self) -> None:
        """Drop those of which nothing is known that everybody else would not know as well."""
        for name, record in list(self.records.items()):
            idle = record.plain and record.course is None and not record.unsent
            if idle and record.epoch < self.epoch:
                del self.records[name]

    def _open_the_short_way(self) -> None:
        asks = self.paced or self._alone
        self.plain_until = -math.inf if asks else self._proven_s + self._staleness_s
