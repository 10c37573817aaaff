"""Instances in pages: all, by state, by the beginning of their ids, open ones first."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from msgspec import Struct

from sekring.errors import InvalidInput
from sekring.model import INSTANCE_ID_PATTERN, Snapshot, State
from sekring.store.contract import SnapshotRequest
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads
from sekring.store.scripts import Scripts

__all__ = ["Listing", "Page", "page_start"]

#: Partitions that are asked at once for a page, at most.
_PARTITIONS_AT_ONCE = 16

#: Ids that are read at once where not all of them belong on a page.
_IDS_AT_ONCE = 500

#: Ids that are passed over for one page, at most; then it is short.
_PASSED_OVER_MAX = 10_000

#: States that have an index of their own. Closed instances are the rule and have none.
_LISTED: Final = (State.OPEN, State.FORCED_OPEN, State.HALF_OPEN, State.DISABLED)

#: `open_first`: what an operator looks for before all others comes first.
_OPEN_FIRST: Final = (*_LISTED, State.CLOSED)

_CURSOR = re.compile(r"(?:([a-z_]+)~)?(.*)", re.DOTALL)


class Page(Struct, frozen=True):
    """Some instances, and the cursor of those behind them (`None`: there are none)."""

    instances: list[Snapshot]
    cursor: str | None


class _Place(Struct, frozen=True):
    """Behind which instance of which partition to go on; without one: from its beginning."""

    partition: int = 0
    after: str | None = None


class _Stretch(Struct, frozen=True):
    """Ids of a partition that belong on a page, and the last that was looked at on the way.

    `None`: the partition has no more.
    """

    ids: list[str]
    last: str | None
    looked_at: int


class Listing:
    """Reads the indexes: a page's cost grows with its length, not with the fleet."""

    def __init__(self, scripts: Scripts, reads: Reads, keyspace: Keyspace) -> None:
        """Use the store through `scripts` and `reads`."""
        self._scripts = scripts
        self._reads = reads
        self._keyspace = keyspace

    async def page(
        self,
        state: State | None,
        cursor: str | None,
        limit: int,
        *,
        prefix: str = "",
        open_first: bool = False,
    ) -> Page:
        """Return up to `limit` instances behind `cursor`: those in `state`, whose id has `prefix`.

        They come partition by partition, in the order of their ids within one; with `open_first`
        (and no `state`) those that are open come before all others, then those forced open,
        half-open, disabled, closed. One that changes its state between two pages may then be on
        both of them, or on neither. A page may be short, even empty, before the last one: `cursor`
        alone tells.

        Raises:
            InvalidInput: `cursor` is not one that such a page gave.
        """
        order: Sequence[State | None] = _OPEN_FIRST if open_first and state is None else (state,)
        number, place = self._start(cursor, order)
        found: list[Snapshot] = []
        for wanted in order[number:]:
            end = await self._fill(found, wanted, place, limit, prefix)
            if end is not None:
                where = f"{end.partition}:{end.after}"
                return Page(found, where if len(order) == 1 else f"{wanted}~{where}")
            place = _Place()
        return Page(found, None)

    async def count(self, state: State | None, prefix: str = "") -> int:
        """Return how many instances are in `state` (`None`: in any) and have ids with `prefix`.

        By the indexes: what time alone has changed within the last second may not be in them yet.
        """
        numbers = self._keyspace.all_partitions()
        if state is not State.CLOSED:
            counts = [self._reads.count(number, _label(state), prefix) for number in numbers]
            return sum(await asyncio.gather(*counts))
        known, *others = await asyncio.gather(
            *(self.count(one, prefix) for one in (None, *_LISTED))
        )
        return known - sum(others)

    async def ids(self, state: State | None, prefix: str = "") -> AsyncIterator[list[str]]:
        """Yield the ids of all instances in `state` with `prefix`, some at a time.

        Those of closed ones are among the ids of all: whoever acts on them looks at the state.
        """
        for number in self._keyspace.all_partitions():
            after: str | None = None
            while ids := await self._reads.page(
                number, _label(state), after, _IDS_AT_ONCE, prefix=prefix
            ):
                yield ids
                after = ids[-1]

    def _start(self, cursor: str | None, order: Sequence[State | None]) -> tuple[int, _Place]:
        match = _CURSOR.fullmatch(cursor or "")
        state, where = match.groups() if match else (None, cursor)
        names = [None if one is None or len(order) == 1 else str(one) for one in order]
        if cursor is not None and state not in names:
            raise _no_cursor()
        number = 0 if cursor is None else names.index(state)
        return number, _Place(*page_start(where if cursor else None, self._keyspace.partitions))

    async def _fill(
        self, found: list[Snapshot], state: State | None, place: _Place, limit: int, prefix: str
    ) -> _Place | None:
        """Add instances in `state` to `found`; return where to go on, `None` if there are no more.

        That is the case also where the page is full by the last of them.
        """
        passed_over, at_once = 0, 1
        while place.partition < self._keyspace.partitions:
            first = place.partition
            chosen = range(first, min(first + at_once, self._keyspace.partitions))
            room = limit - len(found)
            stretches = await asyncio.gather(
                *(
                    self._stretch(
                        number, state, place.after if number == first else None, room, prefix
                    )
                    for number in chosen
                )
            )
            ids, end = _cut(chosen, stretches, room)
            more = await self._snapshots(ids, state)
            found += more
            passed_over += sum(stretch.looked_at for stretch in stretches) - len(more)
            if end is None:
                place = _Place(chosen[-1] + 1)
                at_once = min(2 * at_once, _PARTITIONS_AT_ONCE)
            elif len(found) == limit or passed_over > _PASSED_OVER_MAX:
                return end
            else:
                place = end
        return None

    async def _stretch(
        self, number: int, state: State | None, after: str | None, limit: int, prefix: str
    ) -> _Stretch:
        if state is not State.CLOSED:
            ids = await self._reads.page(number, _label(state), after, limit, prefix=prefix)
            return _Stretch(ids, ids[-1] if len(ids) == limit else None, len(ids))
        size = max(limit, _IDS_AT_ONCE)
        ids = await self._reads.page(number, _label(None), after, size, prefix=prefix)
        if not ids:
            return _Stretch([], None, 0)
        others = await asyncio.gather(
            *(
                self._reads.page(number, _label(one), after, size, prefix=prefix, upto=ids[-1])
                for one in _LISTED
            )
        )
        listed = {name for names in others for name in names}
        last = ids[-1] if len(ids) == size else None
        return _Stretch([name for name in ids if name not in listed], last, len(ids))

    async def _snapshots(self, ids: Sequence[str], state: State | None) -> list[Snapshot]:
        """Read instances; those that are in another state by now are left out."""
        readings = await asyncio.gather(
            *(self._scripts.snapshot(SnapshotRequest(instance_id=name)) for name in ids)
        )
        return [
            reading.snapshot
            for reading in readings
            if reading.snapshot.known and state in {None, reading.snapshot.state}
        ]


def page_start(cursor: str | None, partitions: int) -> tuple[int, str | None]:
    """Return where a page begins: the partition, and the id in it behind which it does.

    Raises:
        InvalidInput: `cursor` is not one that a page gave.
    """
    if cursor is None:
        return 0, None
    number, _, after = cursor.partition(":")
    if (
        not re.fullmatch(r"[0-9]{1,4}", number)
        or int(number) >= partitions
        or not re.fullmatch(INSTANCE_ID_PATTERN, after)
    ):
        raise _no_cursor()
    return int(number), after


def _cut(
    numbers: Iterable[int], stretches: Iterable[_Stretch], room: int
) -> tuple[list[str], _Place | None]:
    """Return the first `room` ids of these stretches, and where to go on behind them.

    `None`: in the partition after these.
    """
    ids: list[str] = []
    end: _Place | None = None
    for number, stretch in zip(numbers, stretches, strict=True):
        some = stretch.ids[: room - len(ids)]
        ids += some
        if len(some) < len(stretch.ids):
            return ids, _Place(number, some[-1]) if some else end
        if stretch.last is not None:
            return ids, _Place(number, stretch.last)
        if stretch.ids:
            end = _Place(number, stretch.ids[-1])
    return ids, end if len(ids) == room else None


def _label(state: State | None) -> str:
    return "all" if state in {None, State.CLOSED} else str(state)


def _no_cursor() -> InvalidInput:
    return InvalidInput("cursor is not one that a page gave: leave it out to begin anew.", "cursor")
