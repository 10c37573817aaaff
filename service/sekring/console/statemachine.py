"""The state machine as a drawing: its states, the ways between them, and where an instance is."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from msgspec import Struct

from sekring.model import State
from sekring.policy import Policy

__all__ = ["HEIGHT", "WIDTH", "Arrow", "Box", "Machine"]

#: The drawing's own units. A page shows it in about this many CSS pixels, so that it can be read.
WIDTH, HEIGHT = 360, 232

_BOX_WIDTH, _BOX_HEIGHT = 124, 36

#: The middle of each state's box.
_PLACES: Mapping[State, tuple[float, float]] = MappingProxyType(
    {
        State.DISABLED: (66, 22),
        State.FORCED_OPEN: (294, 22),
        State.CLOSED: (66, 114),
        State.OPEN: (294, 114),
        State.HALF_OPEN: (180, 206),
    }
)

#: How far the two ways between two states are from the line between their middles.
_APART = 7

#: How far before a box an arrow ends.
_GAP = 5

#: Ways that are drawn whether or not they were taken; a reset leads from any state to closed.
_WAYS: tuple[tuple[State, State], ...] = (
    (State.CLOSED, State.OPEN),
    (State.OPEN, State.CLOSED),
    (State.OPEN, State.HALF_OPEN),
    (State.HALF_OPEN, State.CLOSED),
    (State.HALF_OPEN, State.OPEN),
    (State.CLOSED, State.FORCED_OPEN),
    (State.FORCED_OPEN, State.CLOSED),
    (State.CLOSED, State.DISABLED),
    (State.DISABLED, State.CLOSED),
)


class Box(Struct, frozen=True):
    """One state; lengths in the drawing's units, from its upper left corner."""

    state: State
    x: float
    y: float
    width: float
    height: float
    #: Whether the instance is in it.
    now: bool


class Arrow(Struct, frozen=True):
    """One way, from the edge of a box to the edge of another."""

    before: State
    after: State
    x1: float
    y1: float
    x2: float
    y2: float
    #: Whether the policy in force ever leads that way.
    used: bool
    #: Whether it is the way that led to the present state.
    came: bool


class Machine(Struct, frozen=True):
    """The whole drawing."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    @classmethod
    def of(cls, now: State, came_from: str | None, policy: Policy) -> "Machine":
        """Draw it for an instance that is `now` in a state, and came from another."""
        ways = list(_WAYS)
        came = next(((State(s), now) for s in State if s == came_from and s != now), None)
        if came and came not in ways:
            ways.append(came)
        # What was taken lies above what crosses it.
        ways.sort(key=lambda way: way == came)
        boxes = (
            Box(
                state,
                x - _BOX_WIDTH / 2,
                y - _BOX_HEIGHT / 2,
                _BOX_WIDTH,
                _BOX_HEIGHT,
                state is now,
            )
            for state, (x, y) in _PLACES.items()
        )
        return cls(tuple(boxes), tuple(_arrows(ways, came, policy)))


def _arrows(
    ways: list[tuple[State, State]], came: tuple[State, State] | None, policy: Policy
) -> Iterator[Arrow]:
    for before, after in ways:
        (ax, ay), (bx, by) = _PLACES[before], _PLACES[after]
        dx, dy = bx - ax, by - ay
        length = (dx * dx + dy * dy) ** 0.5
        ox, oy = dy / length * _APART, -dx / length * _APART
        out = _leaves(dx, dy, ox, oy)
        into = _leaves(-dx, -dy, ox, oy) + _GAP / length
        yield Arrow(
            before,
            after,
            x1=round(ax + ox + dx * out, 1),
            y1=round(ay + oy + dy * out, 1),
            x2=round(bx + ox - dx * into, 1),
            y2=round(by + oy - dy * into, 1),
            used=_is_used(before, after, policy),
            came=(before, after) == came,
        )


def _leaves(dx: float, dy: float, ox: float, oy: float) -> float:
    """Return where a line from a box's middle, moved aside, leaves it: a share of it."""
    ends = []
    if dx:
        ends.append((_BOX_WIDTH / 2 - (ox if dx > 0 else -ox)) / abs(dx))
    if dy:
        ends.append((_BOX_HEIGHT / 2 - (oy if dy > 0 else -oy)) / abs(dy))
    return min(ends)


def _is_used(before: State, after: State, policy: Policy) -> bool:
    if (before, after) == (State.OPEN, State.CLOSED):
        return policy.probes == 0
    return State.HALF_OPEN not in (before, after) or policy.probes > 0
