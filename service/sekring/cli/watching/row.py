"""One breaker on the list, and the time that it has left."""

from msgspec import Struct

from sekring.cli.instance import open_end
from sekring.model import Snapshot

__all__ = ["Row", "clock"]

_MINUTE_S = 60
_HOUR_S = 3_600
_DAY_S = 86_400


class Row(Struct, frozen=True):
    """An instance as the service sent it, and when that came (monotonic seconds)."""

    snapshot: Snapshot
    read_s: float

    @property
    def ends_s(self) -> float | None:
        """When its state ends by itself (monotonic seconds); `None`: not by time."""
        left_ms = self.snapshot.remaining_ms
        return None if left_ms is None else self.read_s + left_ms / 1000

    def left(self, now_s: float, *, short: bool = False) -> str:
        """Return the time left as a clock, or what ends the state; `short`: without `until`."""
        if self.ends_s is not None:
            return clock(self.ends_s - now_s)
        end = open_end(self.snapshot)
        if end is None:
            return ""
        return end if short else f"until {end}"


def clock(seconds: float) -> str:
    """Return `4:12`, `1:04:12` or `3 d 2 h`; what is over is `0:00`."""
    whole = max(0, round(seconds))
    if whole >= _DAY_S:
        return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"
    minutes, rest = whole % _HOUR_S // _MINUTE_S, whole % _MINUTE_S
    if whole >= _HOUR_S:
        return f"{whole // _HOUR_S}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}"
