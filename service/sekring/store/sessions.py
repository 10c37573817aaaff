"""Sessions as Redis has them: which are to be connected, who owns them, where they stand."""

import asyncio
from collections.abc import Sequence
from typing import cast

import msgspec
from msgspec import Struct

from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.store.session_contract import ReadSessionsRequest, SessionRead
from sekring.store.session_scripts import SessionScripts
from sekring.wire import Phase, Session

__all__ = ["SessionReads"]


class _Wish(Struct, frozen=True):
    created_ms: int
    created_by: str = ""


class _Owner(Struct, frozen=True):
    #: Empty: it was given back.
    gateway: str = ""
    token: int = 0
    phase: Phase = Phase.VACANT
    since_ms: int | None = None
    device: str | None = None
    detail: str | None = None


class SessionReads:
    """Typed reads of sessions."""

    def __init__(self, scripts: SessionScripts, link: RedisLink, keyspace: Keyspace) -> None:
        """Read through `scripts`, and the names through `link`."""
        self._scripts = scripts
        self._link = link
        self._keyspace = keyspace

    async def names(self, partition: int) -> list[str]:
        """Return the ids of a partition's sessions, wanted or still owned, in their order.

        Raises:
            StoreUnavailable: the partition's server does not answer.
        """
        found = await self._link.read("ZRANGE", self._keyspace.leases(partition), 0, -1)
        return sorted(name.decode() for name in cast("list[bytes]", found))

    async def read(self, instance_ids: Sequence[str]) -> list[Session]:
        """Return these sessions in their order, also those of which nothing is known.

        Raises:
            StoreUnavailable: one of the servers does not answer.
        """
        by_partition: dict[int, list[str]] = {}
        for instance_id in instance_ids:
            by_partition.setdefault(self._keyspace.partition_of(instance_id), []).append(
                instance_id
            )
        parts = await asyncio.gather(
            *(
                self._scripts.read_sessions(partition, ReadSessionsRequest(instance_ids=names))
                for partition, names in by_partition.items()
            )
        )
        found = {
            one.instance_id: _session(one, part.now_ms) for part in parts for one in part.sessions
        }
        return [found[instance_id] for instance_id in instance_ids]


def _session(read: SessionRead, now_ms: int) -> Session:
    wish = msgspec.json.decode(read.session, type=_Wish) if read.session else None
    owner = msgspec.json.decode(read.owner, type=_Owner) if read.owner else _Owner()
    left_ms = (read.ends_ms or 0) - now_ms
    owned = owner.gateway != "" and left_ms > 0
    return Session(
        instance_id=read.instance_id,
        wanted=wish is not None,
        created_at_ms=wish.created_ms if wish else None,
        created_by=(wish.created_by or None) if wish else None,
        gateway=owner.gateway if owned else None,
        token=owner.token,
        lease_ends_in_ms=left_ms if owned else None,
        # What an owner said last holds no longer than its lease.
        phase=owner.phase if owned else Phase.VACANT,
        phase_since_ms=owner.since_ms if owned or not owner.gateway else read.ends_ms,
        device=owner.device,
        detail=owner.detail if owned else None,
    )
