"""Keeps the board current: by the feed as long as there is one, else by asking."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from sekring.cli.exits import Exit
from sekring.cli.failures import ServiceRefused, Unreachable
from sekring.cli.moments import now_ms
from sekring.cli.watching.board import Board, Contact, Link
from sekring.cli.watching.feed import Alive, Feed
from sekring.cli.watching.row import Row
from sekring.cli.watching.service import Service
from sekring.model import Snapshot, State, Transition
from sekring.wire import GapNotice

__all__ = ["ROWS_MAX", "Follower"]

#: Breakers that are read for the list, at most.
ROWS_MAX = 1_000

#: Breakers of one page: a busy Redis gives several small ones sooner than a large one.
_PAGE = 250

#: How often the figures are read, in seconds: with the feed, and without.
_LIVE_PAUSE_S = 5.0
_PAUSE_S = 2.0

#: How old the list may become without being read anew as a whole, in seconds.
_LIST_S = 15.0

#: What happens within this time is read together, in seconds.
_GATHER_S = 0.2

#: More changed breakers than this are read as a list, not one by one; and so many at once.
_SINGLY_MAX = 30
_AT_ONCE = 6

#: How long to wait until the feed is opened again, in seconds.
_REOPEN_S = 2.0

#: What the feed tells that is not of one instance has this as its instance.
_FLEET = "*"


class Follower:
    """Two loops: one listens to the feed, one reads what has changed."""

    def __init__(
        self, service: Service, board: Board, changed: Callable[[frozenset[str]], None]
    ) -> None:
        """Fill `board`; `changed` is told the ids of instances that something happened to."""
        self._service = service
        self._board = board
        self._changed = changed
        self._feed = Feed(service)
        #: Why the feed is not there, as long as it is not.
        self._deaf: str | None = "the feed is being opened"
        self._dirty: set[str] = set()
        self._whole = True
        self._listed_s = 0.0
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled.

        Raises:
            ServiceRefused: it was so from the first question on, for a wrong token for example.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._keep_reading())

    def read_again(self, *ids: str) -> None:
        """Read these instances now, and the figures; without ids the whole list."""
        self._dirty.update(ids)
        self._whole = self._whole or not ids
        self._wake.set()

    # ------------------------------------------------------------------------------ the feed

    async def _listen(self) -> None:
        while True:
            try:
                async with contextlib.aclosing(self._feed.connection()) as messages:
                    async for message in messages:
                        self._hear(message)
                self._deaf = "the service has ended the feed"
            except (ServiceRefused, Unreachable) as error:
                self._deaf = str(error)
            # Perhaps it is not the feed alone.
            self._wake.set()
            await asyncio.sleep(_REOPEN_S)

    def _hear(self, message: Transition | GapNotice | Alive) -> None:
        if self._deaf is not None:
            # What happened before the feed was there is not in it.
            self._deaf = None
            self.read_again()
        if isinstance(message, Alive):
            return
        self._board.add(message)
        if isinstance(message, GapNotice) or message.instance_id == _FLEET:
            self._wake.set()
        else:
            self.read_again(message.instance_id)

    # --------------------------------------------------------------------------- the reading

    async def _keep_reading(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._read()
            except (ServiceRefused, Unreachable) as error:
                if self._board.health is None and _is_no(error):
                    raise
                self._whole = True
                self._note(Contact.AWAY, str(error))
            else:
                self._note(Contact.POLLING if self._deaf else Contact.LIVE, self._deaf or "")
            live = self._board.link.contact is Contact.LIVE
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LIVE_PAUSE_S if live else _PAUSE_S):
                    await self._wake.wait()
                    await asyncio.sleep(_GATHER_S)

    async def _read(self) -> None:
        if self._board.link.contact in {Contact.STARTING, Contact.AWAY}:
            # The service may have come back with other tokens.
            self._board.set_caller(await self._service.caller())
        health = await self._service.health()
        self._board.set_health(health)
        try:
            await self._read_breakers()
        except ServiceRefused:
            self._whole = True
            if not health.degraded:  # without Redis there are figures, but no lists
                raise

    async def _read_breakers(self) -> None:
        dirty, self._dirty = self._dirty, set()
        due = time.monotonic() - self._listed_s > _LIST_S
        if self._whole or due or self._deaf or len(dirty) > _SINGLY_MAX:
            await self._read_list()
        else:
            await self._read_singly(dirty)
        if dirty:
            self._changed(frozenset(dirty))

    async def _read_list(self) -> None:
        self._whole = False
        view = self._board.view
        rows: list[Row] = []
        more = False
        for state in view.chosen.states:
            more = await self._read_state(state, view.prefix, rows)
            if more:
                break
        if (view.chosen, view.prefix) == (self._board.view.chosen, self._board.view.prefix):
            self._board.replace(rows, more=more)
            self._listed_s = time.monotonic()

    async def _read_state(self, state: State | None, prefix: str, rows: list[Row]) -> bool:
        """Append a state's breakers to `rows`; tell whether there are more than it takes."""
        cursor: str | None = None
        while True:
            room = ROWS_MAX - len(rows)
            limit = max(1, min(room, _PAGE))
            page = await self._service.page(state, prefix, cursor=cursor, limit=limit)
            rows += [Row(one, time.monotonic()) for one in page.instances[:room]]
            cursor = page.cursor
            if room == 0:
                return bool(page.instances or cursor)
            if cursor is None:
                return False

    async def _read_singly(self, ids: set[str]) -> None:
        lanes = asyncio.Semaphore(_AT_ONCE)

        async def read(instance_id: str) -> Snapshot:
            async with lanes:
                return await self._service.instance(instance_id)

        for snapshot in await asyncio.gather(*map(read, ids)):
            self._board.put(Row(snapshot, time.monotonic()))

    def _note(self, contact: Contact, why: str) -> None:
        self._board.set_link(Link(contact, now_ms(), why))


def _is_no(error: ServiceRefused | Unreachable) -> bool:
    """Tell whether it would be the same a while later."""
    return isinstance(error, ServiceRefused) and error.code is Exit.REFUSED
