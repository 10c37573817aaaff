"""A plot of the storm, drawn as SVG: attempts a second above, connected sessions below."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from loadtest.chart import COLOURS, STYLE
from loadtest.fleet import Course

__all__ = ["draw"]

_WIDTH, _LEFT, _RIGHT = 960, 76, 24
_TOP, _ABOVE, _GAP, _BELOW, _FOOT = 92, 270, 46, 130, 56
_HEIGHT = _TOP + _ABOVE + _GAP + _BELOW + _FOOT

#: Seconds that a point of the upper curves stands for: their highest one, so no peak is lost.
_BIN_S = 5


def draw(
    courses: Mapping[str, Course], *, title: str, note: str, outage_s: int, sessions: int
) -> str:
    """Return the plot; the courses' names are its legend, in their order."""
    minutes = -(-max(len(course.attempts) for course in courses.values()) // 60)
    minutes += minutes % 2
    scale = _Scale(60 * minutes, max(max(course.attempts) for course in courses.values()), sessions)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}"/>',
        f'<text class="title" x="{_LEFT}" y="30">{escape(title)}</text>',
        f'<text class="note" x="{_LEFT}" y="51">{escape(note)}</text>',
        *_legend(list(courses)),
        *_frame(scale, minutes, outage_s),
    ]
    for colour, course in zip(COLOURS, courses.values(), strict=False):
        parts.append(
            _curve(colour, [(s, scale.rate(n)) for s, n in _peaks(course.attempts)], scale)
        )
        points = [(s, scale.share(n)) for s, n in enumerate(course.connected)]
        parts.append(_curve(colour, [*points, (scale.seconds, points[-1][1])], scale))
    return "\n".join([*parts, "</svg>", ""])


class _Scale:
    """From seconds, attempts a second (by its square root) and sessions to places on the plot."""

    def __init__(self, seconds: int, most: int, sessions: int) -> None:
        self.seconds = seconds
        self.sessions = sessions
        self.ticks = [tick for tick in (0, 20, 100, 250, 500, 1_000, 2_000, 5_000) if tick < most]
        self._most = 1.05 * most

    def x(self, second: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * second / self.seconds

    def rate(self, per_s: float) -> float:
        return _TOP + _ABOVE * (1 - math.sqrt(per_s / self._most))

    def share(self, connected: float) -> float:
        return _TOP + _ABOVE + _GAP + _BELOW * (1 - connected / self.sessions)


def _legend(names: Sequence[str]) -> list[str]:
    parts, x = [], _LEFT
    for colour, name in zip(COLOURS, names, strict=False):
        parts.append(
            f'<line x1="{x}" x2="{x + 22}" y1="70" y2="70" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{x + 29}" y="74">{escape(name)}</text>'
        )
        x += 58 + 7 * len(name)
    return parts


def _frame(scale: _Scale, minutes: int, outage_s: int) -> list[str]:
    upper, lower = _TOP + _ABOVE, _TOP + _ABOVE + _GAP + _BELOW
    right, width = _WIDTH - _RIGHT, scale.x(outage_s) - _LEFT
    parts = [
        f'<rect class="outage" x="{_LEFT}" y="{top}" width="{width:.1f}" height="{height}"/>'
        for top, height in ((_TOP, _ABOVE), (upper + _GAP, _BELOW))
    ]
    parts.append(
        f'<text class="note" x="{_LEFT + width / 2:.1f}" y="{_TOP + 16}" '
        'text-anchor="middle">WhatsApp is down</text>'
    )
    rates = [(f"{tick:,}", scale.rate(tick)) for tick in scale.ticks]
    shares = [(f"{part} %", scale.share(scale.sessions * part / 100)) for part in (0, 50, 100)]
    for label, y in rates + shares:
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        )
    for minute in range(0, minutes + 1, 2):
        x = scale.x(60 * minute)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{lower + 19}" text-anchor="middle">{minute}</text>'
        )
    parts += [
        f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{y}" y2="{y}"/>' for y in (upper, lower)
    ]
    middles = ((_TOP + _ABOVE / 2, "attempts per second"), (lower - _BELOW / 2, "connected"))
    parts += [
        f'<text transform="translate(18 {y:.0f}) rotate(-90)" text-anchor="middle">{label}</text>'
        for y, label in middles
    ]
    parts.append(
        f'<text x="{(_LEFT + right) / 2:.0f}" y="{lower + 42}" text-anchor="middle">'
        "minutes since WhatsApp went down</text>"
    )
    return parts


def _peaks(attempts: Sequence[int]) -> list[tuple[float, float]]:
    return [
        (first + _BIN_S / 2, max(attempts[first : first + _BIN_S]))
        for first in range(0, len(attempts), _BIN_S)
    ]


def _curve(colour: str, points: Sequence[tuple[float, float]], scale: _Scale) -> str:
    path = " ".join(f"{scale.x(second):.1f},{y:.1f}" for second, y in points)
    return f'<polyline class="curve" stroke="{colour}" points="{path}"/>'
