"""Where there are sessions to claim, and how many are wanted in all: known, and a little old."""

import asyncio
import time

from sekring.errors import StoreUnavailable
from sekring.store.keys import Keyspace
from sekring.store.session_contract import PartitionVacancies, VacanciesRequest
from sekring.store.session_scripts import SessionScripts
from sekring.telemetry.spans import background

__all__ = ["Vacancies"]

#: How old what is known may be, in seconds.
_MAX_AGE_S = 0.5


class Vacancies:
    """What one replica knows of all partitions; all who ask at once share one reading."""

    def __init__(self, scripts: SessionScripts, keyspace: Keyspace) -> None:
        """Read by `scripts`; nothing is read yet."""
        self._scripts = scripts
        self._keyspace = keyspace
        #: `None`: that partition was never read.
        self._sessions: list[int | None] = [None] * keyspace.partitions
        self._vacant: dict[int, int] = {}
        #: Sessions that are not wanted, and yet to be forgotten.
        self._unwanted: dict[int, int] = {}
        #: Came to be vacant while a reading was under way, which may have missed it.
        self._nudged: dict[int, int] = {}
        self._read_s = -_MAX_AGE_S
        self._reading: asyncio.Task[None] | None = None

    @property
    def sessions(self) -> int:
        """How many sessions are wanted; as last known where that cannot be read."""
        return sum(count or 0 for count in self._sessions)

    @property
    def complete(self) -> bool:
        """Whether every partition was read at least once: else there are more sessions."""
        return None not in self._sessions

    @property
    def vacant(self) -> dict[int, int]:
        """How many sessions there are to claim, for each partition that has any."""
        return dict(self._vacant)

    @property
    def unowned(self) -> int:
        """How many wanted sessions nobody owns.

        Fewer than those to claim, of which some may have been dropped after their owner died; they
        are forgotten by the claim that finds them.
        """
        return sum(
            max(0, vacant - self._unwanted.get(partition, 0))
            for partition, vacant in self._vacant.items()
        )

    async def look(self) -> None:
        """Have everything known that can be read; never raises."""
        if time.monotonic() - self._read_s < _MAX_AGE_S:
            return
        if self._reading is None:
            self._reading = background(self._read_all())
        # Who stops waiting does not end it for the others.
        await asyncio.shield(self._reading)

    def nudge(self, partition: int, vacant: int, wanted: int = 0) -> None:
        """Take note that sessions came to be vacant, and that as many more are wanted."""
        for known in (self._vacant, self._nudged):
            known[partition] = known.get(partition, 0) + vacant
        known_sessions = self._sessions[partition]
        if known_sessions is not None:
            self._sessions[partition] = known_sessions + wanted

    def took(self, partition: int, claimed: int, *, all_of_them: bool) -> None:
        """Take note that sessions were claimed, and whether that were all that there are."""
        left = self._vacant.get(partition, 0) - claimed
        if all_of_them or left <= 0:
            self._vacant.pop(partition, None)
        else:
            self._vacant[partition] = left

    async def _read_all(self) -> None:
        try:
            begun_s = time.monotonic()
            self._nudged.clear()
            read = await asyncio.gather(*map(self._read, self._keyspace.all_partitions()))
            self._vacant = dict(self._nudged)
            for partition, part in enumerate(read):
                if part is not None:
                    self._sessions[partition] = part.sessions
                    self._unwanted[partition] = part.leases - part.sessions
                    if part.vacant:
                        self._vacant[partition] = part.vacant
            self._read_s = begun_s
        finally:
            self._reading = None

    async def _read(self, partition: int) -> PartitionVacancies | None:
        try:
            return await self._scripts.vacancies(partition, VacanciesRequest())
        except StoreUnavailable:
            return None
