"""The use-cases on sessions that are to be connected: want, drop, look at one, list them."""

import asyncio
import time
from collections.abc import Callable

from sekring.listing import page_start
from sekring.model import Origin
from sekring.sessions.partial import Confirm, unconfirmed
from sekring.sessions.vacancies import Vacancies
from sekring.store.keys import Keyspace
from sekring.store.session_contract import DropSessionRequest, WantSessionRequest
from sekring.store.session_scripts import SessionScripts
from sekring.store.sessions import SessionReads
from sekring.wire import Session, SessionPage

__all__ = ["Wishes"]

#: Partitions that are asked at once for a page, at most.
_PARTITIONS_AT_ONCE = 16


class Wishes:
    """Which sessions are to be connected is configuration: an acknowledged change stays."""

    def __init__(
        self,
        scripts: SessionScripts,
        reads: SessionReads,
        keyspace: Keyspace,
        vacancies: Vacancies,
        *,
        confirm: Confirm,
        changed: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Change through `scripts`, read through `reads`; `changed` hears of transitions."""
        self._scripts = scripts
        self._reads = reads
        self._keyspace = keyspace
        self._vacancies = vacancies
        self._confirm = confirm
        self._changed = changed

    async def want(self, instance_id: str, origin: Origin) -> Session:
        """Have a session connected from now on; nothing changes if it is wanted already.

        Raises:
            StoreUnavailable: Redis does not answer, or its replicas do not confirm; saying it again
                does no harm.
        """
        since_s = time.monotonic()
        request = WantSessionRequest(instance_id=instance_id, origin=origin)
        is_new = await self._scripts.want_session(request)
        partition = await self._settled(instance_id, since_s)
        if is_new:
            self._vacancies.nudge(partition, 1, wanted=1)
            self._changed(partition)
        return await self.one(instance_id)

    async def drop(self, instance_id: str, origin: Origin) -> Session:
        """Have a session connected no more; its owner hears of it with its next renewal.

        Raises:
            StoreUnavailable: as from `want`.
        """
        since_s = time.monotonic()
        request = DropSessionRequest(instance_id=instance_id, origin=origin)
        was_wanted = await self._scripts.drop_session(request)
        partition = await self._settled(instance_id, since_s)
        if was_wanted:
            self._changed(partition)
        return await self.one(instance_id)

    async def one(self, instance_id: str) -> Session:
        """Return a session; one that was never wanted is `wanted: false`.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        (session,) = await self._reads.read([instance_id])
        return session

    async def page(self, cursor: str | None, limit: int) -> SessionPage:
        """Return up to `limit` sessions, wanted or still owned, behind `cursor`.

        They come partition by partition, in the order of their ids within one.

        Raises:
            InvalidInput: `cursor` is not one that a page gave.
            StoreUnavailable: Redis does not answer.
        """
        partition, after = page_start(cursor, self._keyspace.partitions)
        names: list[str] = []
        at_once = 1
        while partition < self._keyspace.partitions and len(names) <= limit:
            end = min(partition + at_once, self._keyspace.partitions)
            for found in await asyncio.gather(*map(self._reads.names, range(partition, end))):
                names += [name for name in found if after is None or name > after]
                after = None
            partition, at_once = end, min(2 * at_once, _PARTITIONS_AT_ONCE)
        shown = names[:limit]
        sessions = [
            session
            for session in await self._reads.read(shown)
            if session.wanted or session.gateway is not None
        ]
        more = len(names) > limit
        where = f"{self._keyspace.partition_of(shown[-1])}:{shown[-1]}" if more else None
        return SessionPage(sessions=sessions, cursor=where)

    async def _settled(self, instance_id: str, since_s: float) -> int:
        partition = self._keyspace.partition_of(instance_id)
        if not await self._confirm(partition, since_s):
            raise unconfirmed()
        return partition
