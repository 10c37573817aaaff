"""Failures per minute as a drawing: where each bar of it stands."""

from collections.abc import Sequence

from msgspec import Struct

from sekring.wire import Minute

__all__ = ["HEIGHT", "WIDTH", "Bar", "Chart"]

#: The drawing's own units; a page stretches it to its place.
WIDTH, HEIGHT = 600, 100

#: The part of a minute's width that its bar takes.
_FILLED = 0.75

#: What a scale may end with, times a power of ten: such figures are read easily.
_ROUND = (1, 2, 5, 10)


class Bar(Struct, frozen=True):
    """One minute; lengths in the drawing's units, from its upper left corner."""

    minute: Minute
    x: float
    y: float
    width: float
    height: float


class Chart(Struct, frozen=True):
    """Bars, and what they say in figures."""

    bars: tuple[Bar, ...]
    #: What the drawing's full height stands for.
    top: int
    total: int
    #: The minute with the most failures; of several, the latest.
    peak: Minute

    @classmethod
    def of(cls, minutes: Sequence[Minute]) -> "Chart":
        """Draw at least one minute."""
        peak = max(reversed(minutes), key=lambda minute: minute.failures)
        top = _round_up(peak.failures)
        step = WIDTH / len(minutes)
        bars = []
        for place, minute in enumerate(minutes):
            height = round(HEIGHT * minute.failures / top, 2)
            x, y = round(step * place, 2), round(HEIGHT - height, 2)
            bars.append(Bar(minute, x, y, round(step * _FILLED, 2), height))
        return cls(tuple(bars), top, sum(minute.failures for minute in minutes), peak)


def _round_up(count: int) -> int:
    power = 1
    while True:
        for digit in _ROUND:
            if digit * power >= max(count, _ROUND[-1]):
                return digit * power
        power *= 10
