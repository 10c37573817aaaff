"""Which breakers are shown, and in which order."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct

from sekring.cli.watching.row import Row
from sekring.model import State

__all__ = ["Chosen", "Order", "View"]


class Chosen(StrEnum):
    """Which states are shown; each has the digit that chooses it as its place."""

    NOT_CLOSED = "not closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    FORCED_OPEN = "forced open"
    DISABLED = "disabled"
    CLOSED = "closed"
    ALL = "all"

    @property
    def states(self) -> tuple[State | None, ...]:
        """The states to ask the service for, one after the other; `None` is every state."""
        return _STATES[self]


_STATES: Mapping[Chosen, tuple[State | None, ...]] = MappingProxyType(
    {
        Chosen.NOT_CLOSED: (State.OPEN, State.FORCED_OPEN, State.HALF_OPEN),
        Chosen.OPEN: (State.OPEN,),
        Chosen.HALF_OPEN: (State.HALF_OPEN,),
        Chosen.FORCED_OPEN: (State.FORCED_OPEN,),
        Chosen.DISABLED: (State.DISABLED,),
        Chosen.CLOSED: (State.CLOSED,),
        Chosen.ALL: (None,),
    }
)


class Order(StrEnum):
    """By what the list is sorted."""

    TIME_LEFT = "time left"
    FAILURES = "failures"
    LATEST = "opened last"
    INSTANCE = "instance"

    @property
    def next(self) -> "Order":
        """The one that comes after it when the key is pressed."""
        orders = list(Order)
        return orders[(orders.index(self) + 1) % len(orders)]


#: What a row is sorted by; equals go by their id.
_KEYS: Mapping[Order, Callable[[Row], float]] = MappingProxyType(
    {
        # Without an end of its own: last.
        Order.TIME_LEFT: lambda row: row.snapshot.resets_at_ms or float("inf"),
        Order.FAILURES: lambda row: -row.snapshot.failures,
        Order.LATEST: lambda row: -(row.snapshot.opened_at_ms or 0),
        Order.INSTANCE: lambda _: 0,
    }
)


class View(Struct, frozen=True):
    """What an operator wants to see."""

    chosen: Chosen = Chosen.NOT_CLOSED
    #: What the ids begin with.
    prefix: str = ""
    order: Order = Order.TIME_LEFT

    @property
    def words(self) -> str:
        """What a breaker is that is shown."""
        states = "in any state" if self.chosen is Chosen.ALL else str(self.chosen)
        return f"{states}, its id beginning with {self.prefix}" if self.prefix else states

    def shows(self, row: Row) -> bool:
        """Tell whether the row belongs on the list."""
        states = self.chosen.states
        return row.snapshot.instance_id.startswith(self.prefix) and (
            states == (None,) or row.snapshot.state in states
        )

    def sorted(self, rows: list[Row]) -> list[Row]:
        """Return the rows in their order."""
        key = _KEYS[self.order]
        return sorted(rows, key=lambda row: (key(row), row.snapshot.instance_id))
