"""All that the screen shows, as it is known now. No I/O: the follower fills it, widgets read it."""

from collections import deque
from collections.abc import Iterable, Iterator
from enum import StrEnum

from msgspec import Struct

from sekring.cli.watching.row import Row
from sekring.cli.watching.view import View
from sekring.guide import HealthData
from sekring.model import Transition
from sekring.tokens import Permission
from sekring.wire import CallerAnswer, GapNotice

__all__ = ["Board", "Contact", "Link"]

#: How many of the latest transitions are kept.
_FEED = 500


class Contact(StrEnum):
    """How the service is followed."""

    #: Nothing has been heard yet.
    STARTING = "connecting"
    #: Every transition is sent at once.
    LIVE = "live"
    #: The figures come, the feed does not.
    POLLING = "polling"
    #: Nothing comes.
    AWAY = "away"


class Link(Struct, frozen=True):
    """How the service is followed, since when (ms by this machine's clock), and why not live."""

    contact: Contact
    since_ms: int
    why: str = ""


class Board:
    """What is known of the fleet; `version` grows with every change."""

    def __init__(self, link: Link) -> None:
        """Begin with nothing known."""
        self.version = 0
        self.view = View()
        self.link = link
        self.health: HealthData | None = None
        self.caller: CallerAnswer | None = None
        #: Whether the service has more breakers of this kind than were read.
        self.more = False
        #: Whether the rows are those of the view already.
        self.loaded = False
        self._rows: dict[str, Row] = {}
        self._feed: deque[Transition | GapNotice] = deque(maxlen=_FEED)

    @property
    def may_operate(self) -> bool:
        """Whether the token may change breakers; as long as that is not known, it is tried."""
        return self.caller is None or Permission.OPERATE in self.caller.permissions

    @property
    def feed(self) -> Iterator[Transition | GapNotice]:
        """The latest transitions, newest first."""
        return reversed(self._feed)

    def rows(self) -> list[Row]:
        """Return the breakers of the view, in its order."""
        return self.view.sorted([row for row in self._rows.values() if self.view.shows(row)])

    def row(self, instance_id: str) -> Row | None:
        """Return one breaker, if it is among those that were read."""
        return self._rows.get(instance_id)

    def show(self, view: View) -> bool:
        """Change the view; tell whether other breakers have to be read for it."""
        other = (view.chosen, view.prefix) != (self.view.chosen, self.view.prefix)
        self.view = view
        self.loaded = self.loaded and not other
        self.version += 1
        return other

    def set_link(self, link: Link) -> None:
        """Note how the service is followed; an unchanged state keeps its beginning."""
        same = link.contact is self.link.contact
        self.link = Link(link.contact, self.link.since_ms if same else link.since_ms, link.why)
        self.version += 1

    def set_health(self, health: HealthData) -> None:
        """Take the fleet's figures."""
        self.health = health
        self.version += 1

    def set_caller(self, caller: CallerAnswer | None) -> None:
        """Take what the token may do."""
        self.caller = caller
        self.version += 1

    def replace(self, rows: Iterable[Row], *, more: bool) -> None:
        """Take all breakers of the view anew."""
        self._rows = {row.snapshot.instance_id: row for row in rows}
        self.more, self.loaded = more, True
        self.version += 1

    def put(self, row: Row) -> None:
        """Take one breaker that has changed."""
        if self.view.shows(row):
            self._rows[row.snapshot.instance_id] = row
        else:
            self._rows.pop(row.snapshot.instance_id, None)
        self.version += 1

    def add(self, happened: Transition | GapNotice) -> None:
        """Take what the feed says."""
        self._feed.append(happened)
        self.version += 1
