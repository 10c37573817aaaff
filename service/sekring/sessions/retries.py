"""Retries: the owners of sessions hear at once that a breaker was reset."""

import asyncio
from collections.abc import Iterable

import structlog

from sekring.errors import Refused, StoreUnavailable
from sekring.sessions.errands import Errands
from sekring.store.keys import Keyspace
from sekring.store.postbox import Postbox

__all__ = ["Retries"]

#: Sessions that wait to be told of, at most; the owners of others ask by themselves in a while.
_WAITING_MAX = 100_000

#: Sessions whose owners are looked up at once.
_TOGETHER = 500

#: For how long an owner should do so, in seconds; then it has asked by itself.
_TTL_S = 30.0

_log = structlog.get_logger(__name__)


class Retries:
    """Tells owners behind the resets, so that those do not wait: as well as it can."""

    def __init__(self, errands: Errands, postbox: Postbox, keyspace: Keyspace) -> None:
        """Find owners by `postbox`, tell them by `errands`."""
        self._errands = errands
        self._postbox = postbox
        self._keyspace = keyspace
        #: In their order, each once.
        self._waiting: dict[str, None] = {}
        self._news = asyncio.Event()

    def note(self, instance_id: str) -> None:
        """Have the owner of the session told soon, if it has one."""
        if len(self._waiting) < _WAITING_MAX:
            self._waiting[instance_id] = None
            self._news.set()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                some = list(self._waiting)[:_TOGETHER]
                for name in some:
                    del self._waiting[name]
                try:
                    await self._tell(some)
                except StoreUnavailable as error:
                    _log.debug("owners were not told of resets", error=str(error))

    async def _tell(self, instance_ids: Iterable[str]) -> None:
        by_partition: dict[int, list[str]] = {}
        for name in instance_ids:
            by_partition.setdefault(self._keyspace.partition_of(name), []).append(name)
        owned = await asyncio.gather(
            *(self._postbox.owned(number, names) for number, names in by_partition.items())
        )
        await asyncio.gather(*(self._post(name) for names in owned for name in names))

    async def _post(self, instance_id: str) -> None:
        try:
            await self._errands.post(instance_id, "retry", _TTL_S)
        except Refused:
            _log.debug("too many errands wait for a retry", instance_id=instance_id)
