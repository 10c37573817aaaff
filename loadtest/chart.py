"""Plots as SVG: bars on a logarithmic scale, and lines. Readable on light and on dark ground."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from msgspec import Struct

__all__ = ["COLOURS", "STYLE", "Bar", "Line", "bars", "lines"]

#: Colours that can be told apart by everybody, on light and on dark ground.
COLOURS = ("#d55e00", "#0a84c6", "#009e73", "#a05fb4")

STYLE = """
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #24292f }
.title { font-size: 18px; font-weight: 600 }
.note, .tick { fill: #57606a }
.tick { font-size: 12px }
.ground { fill: #ffffff }
.grid { stroke: #d0d7de; stroke-width: 1 }
.axis { stroke: #8c959f; stroke-width: 1 }
.label { paint-order: stroke; stroke: #ffffff; stroke-width: 6px }
.outage { fill: #8c959f; opacity: .16 }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note, .tick { fill: #9da7b3 }
  .ground { fill: #0d1117 }
  .grid { stroke: #2a313a }
  .axis { stroke: #6e7681 }
  .label { stroke: #0d1117 }
}
"""

_WIDTH = 960
_TOP, _ROW, _FOOT = 86, 30, 44

#: Of bars: where they begin, and how much room is left for what stands behind them.
_BARS_AT, _BEHIND = 360, 190

#: Of lines.
_LEFT, _RIGHT, _GAP = 92, 24, 28


class Bar(Struct, frozen=True):
    """One bar: its name, how long it is, what is written behind it, and its colour's number."""

    name: str
    value: float
    text: str
    colour: int = 1


class Line(Struct, frozen=True):
    """A panel of its own with one curve through `points`; `zero` has its scale begin there."""

    name: str
    points: Sequence[tuple[float, float]]
    zero: bool = True


def bars(
    rows: Sequence[Bar], *, title: str, note: str, mark: float | None = None, mark_name: str = ""
) -> str:
    """Draw bars from the left, on a logarithmic scale, and a line across them at `mark`."""
    values = [bar.value for bar in rows] + ([mark] if mark else [])
    low = 10 ** math.floor(math.log10(min(values) * 0.999))
    high = max(values)
    width = _WIDTH - _BARS_AT - _BEHIND
    height = _TOP + _ROW * len(rows) + _FOOT

    def x(value: float) -> float:
        return _BARS_AT + width * math.log(value / low) / math.log(high / low)

    parts = _head(title, note, height)
    for number, bar in enumerate(rows):
        y = _TOP + _ROW * number
        parts.append(
            f'<text x="{_BARS_AT - 10}" y="{y + 19}" text-anchor="end">{escape(bar.name)}</text>'
            f'<rect x="{_BARS_AT}" y="{y + 5}" width="{max(1.0, x(bar.value) - _BARS_AT):.1f}"'
            f' height="{_ROW - 10}" rx="2" fill="{COLOURS[bar.colour]}"/>'
        )
    bottom = _TOP + _ROW * len(rows)
    parts.append(f'<line class="axis" x1="{_BARS_AT}" x2="{_BARS_AT}" y1="{_TOP}" y2="{bottom}"/>')
    if mark:
        parts.append(
            f'<line class="axis" x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="{_TOP - 4}"'
            f' y2="{bottom + 6}" stroke-dasharray="4 3"/>'
            f'<text class="note" x="{x(mark):.1f}" y="{bottom + 24}" text-anchor="middle">'
            f"{escape(mark_name)}</text>"
        )
    # Over the line, each on ground of its own.
    parts += [
        f'<text class="label" x="{x(bar.value) + 8:.1f}" y="{_TOP + _ROW * number + 19}">'
        f"{escape(bar.text)}</text>"
        for number, bar in enumerate(rows)
    ]
    return _closed(parts)


def lines(
    panels: Sequence[Line],
    *,
    title: str,
    note: str,
    axis: str,
    log: bool = False,
    panel_height: int = 132,
) -> str:
    """Draw panels under each other; the axis below is theirs, with `log` by powers."""
    every = [x for panel in panels for x, _ in panel.points]
    scale: Mapping[float, float] = {x: math.log10(x) if log else x for x in every}
    first, last = min(scale.values()), max(scale.values())
    width = _WIDTH - _LEFT - _RIGHT
    each = panel_height + 18 + _GAP
    height = _TOP + each * len(panels) + _FOOT

    def across(x: float) -> float:
        return _LEFT + width * (scale[x] - first) / ((last - first) or 1)

    parts = _head(title, note, height)
    bottom = _TOP
    for number, panel in enumerate(panels):
        top = _TOP + 18 + each * number
        bottom = top + panel_height
        parts += _panel(panel, number, top, bottom, across)
    for x in sorted(set(every)) if log else [tick for tick in _ticks(first, last) if tick <= last]:
        at = across(x) if log else _LEFT + width * (x - first) / ((last - first) or 1)
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{bottom + 19}" text-anchor="middle">{x:,g}</text>'
        )
    parts.append(
        f'<text x="{_LEFT + width / 2:.0f}" y="{bottom + 42}" text-anchor="middle">'
        f"{escape(axis)}</text>"
    )
    return _closed(parts)


def _panel(
    panel: Line, number: int, top: int, bottom: int, across: Callable[[float], float]
) -> list[str]:
    values = [y for _, y in panel.points]
    low, high = (0.0 if panel.zero else min(values)), max(values)
    if high <= low:
        high = low + 1
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    parts = [f'<text x="{_LEFT}" y="{top - 10}">{escape(panel.name)}</text>']
    parts += [
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}"'
        f' y2="{y(tick):.1f}"/><text class="tick" x="{_LEFT - 8}" y="{y(tick) + 4:.1f}"'
        f' text-anchor="end">{tick:,g}</text>'
        for tick in ticks
    ]
    places = [(across(x), y(value)) for x, value in panel.points]
    path = " ".join(f"{x:.1f},{height:.1f}" for x, height in places)
    colour = COLOURS[(number + 1) % len(COLOURS)]
    parts.append(f'<polyline class="curve" stroke="{colour}" points="{path}"/>')
    if len(places) <= 12:
        parts += [f'<circle cx="{x:.1f}" cy="{h:.1f}" r="3.5" fill="{colour}"/>' for x, h in places]
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers that span the range."""
    rough = (high - low) / 4 or 1
    power = 10 ** math.floor(math.log10(rough))
    step = next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= rough)
    first = math.floor(low / step)
    return [round(n * step, 10) for n in range(first, math.ceil(high / step) + 1)]


def _head(title: str, note: str, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{_WIDTH}" height="{height}"/>',
        f'<text class="title" x="24" y="30">{escape(title)}</text>',
        f'<text class="note" x="24" y="52">{escape(note)}</text>',
    ]


def _closed(parts: list[str]) -> str:
    return "\n".join([*parts, "</svg>", ""])
