"""Lengths of time: as a person types them, and in words."""

import argparse
import re

__all__ = ["duration", "in_words"]

_SECOND_MS = 1_000
_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000

#: Below this, tenths of a second are worth telling.
_TENTHS_BELOW_MS = 10_000

#: Units as typed, the largest first: the order in which they may follow each other.
_UNITS = (("d", _DAY_MS), ("h", _HOUR_MS), ("m", _MINUTE_MS), ("s", _SECOND_MS), ("ms", 1))

_TYPED = re.compile("".join(rf"(?:([0-9]{{1,12}}){unit}(?![a-z]))?" for unit, _ in _UNITS))

#: Units in words, and the next smaller one of each.
_WORDS = (
    (_DAY_MS, "d", _HOUR_MS, "h"),
    (_HOUR_MS, "h", _MINUTE_MS, "min"),
    (_MINUTE_MS, "min", _SECOND_MS, "s"),
)


def duration(text: str) -> int:
    """Return the milliseconds of `90s`, `30m`, `2h`, `1d`, `500ms` or `1h30m`.

    Raises:
        argparse.ArgumentTypeError: it is none of that form, or no time at all.
    """
    match = _TYPED.fullmatch(text.strip())
    numbers = match.groups(default="0") if match else ()
    total = sum(int(number) * ms for number, (_, ms) in zip(numbers, _UNITS, strict=False))
    if total == 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no length of time, which is written like 90s, 30m, 2h, 1d, 500ms or 1h30m"
        )
    return total


def in_words(ms: int, *, coarse: bool = False) -> str:
    """Return `4 min 12 s`: the two largest units, rounded down; `coarse`: the largest alone."""
    for unit_ms, unit, smaller_ms, smaller in _WORDS:
        if ms >= unit_ms:
            rest = 0 if coarse else ms % unit_ms // smaller_ms
            return f"{ms // unit_ms} {unit}" + (f" {rest} {smaller}" if rest else "")
    if ms >= _TENTHS_BELOW_MS:
        return f"{ms // _SECOND_MS} s"
    if ms >= _SECOND_MS:
        return f"{ms // 100 / 10:g} s"
    return f"{max(0, ms)} ms"
