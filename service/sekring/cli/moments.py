"""Points in time, local and relative: the first to compare, the second to understand."""

import time
from datetime import UTC, datetime

from sekring.cli.durations import in_words

__all__ = ["local", "moment", "now_ms", "relative"]


def now_ms() -> int:
    """Return this machine's clock, for what the service sends without its own."""
    return time.time_ns() // 1_000_000


def local(at_ms: int) -> str:
    """Return the ISO form in this machine's time zone: `2026-11-23 15:04:05+07:00`."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone()
    return moment.isoformat(sep=" ", timespec="seconds")


def relative(at_ms: int, now: int, *, coarse: bool = False) -> str:
    """Return `4 min 12 s ago` or `in 4 min 12 s`, seen from `now`; `coarse`: `4 min ago`."""
    distance = abs(at_ms - now) // 1000 * 1000
    if distance == 0:
        return "now"
    words = in_words(distance, coarse=coarse)
    return f"in {words}" if at_ms > now else f"{words} ago"


def moment(at_ms: int, now: int) -> str:
    """Return both: `2026-11-23 15:04:05+07:00 (4 min 12 s ago)`."""
    return f"{local(at_ms)} ({relative(at_ms, now)})"
