"""The columns of the list: how wide each is on this terminal, and what stands in it."""

from collections.abc import Sequence

from msgspec import Struct
from rich.text import Text

from sekring.cli.moments import relative
from sekring.cli.printable import printable
from sekring.cli.tables import STATE_STYLES
from sekring.cli.watching.row import Row
from sekring.cli.watching.view import Order

__all__ = ["Column", "cells", "columns"]

#: From this width on there is room for the last failure, in cells; below, the detail shows it.
#: From the second on, for the words of what ends a state.
_WIDE = 76
_WIDER = 100

#: Blanks beside each column, both sides together.
_GAP = 2

_STATE = 11
_LEFT = 9
_LEFT_WIDER = 15
_FAILURES = 8
_ID_MIN = 13
_CAUSE_MIN = 9

#: From here on there is room beside the cause for the operator's reason.
_REASON_TOO = 16

#: The least room for the last failure, and the most that it needs: `stream_error 12 min ago`.
_LAST_MIN = 10
_LAST_MAX = 23

#: From here on there is room for when it was, not only for its kind.
_LAST_WHOLE = 18

#: The heading that each order marks; by the time of opening no column is sorted.
_MARKED = {Order.TIME_LEFT: "TIME LEFT", Order.FAILURES: "FAILURES", Order.INSTANCE: "INSTANCE"}


class Column(Struct, frozen=True):
    """A heading and a width in cells."""

    heading: str
    width: int
    right: bool = False

    def label(self, order: Order) -> Text:
        """Return the heading, marked if the list is sorted by it."""
        marked = _MARKED.get(order) == self.heading
        return self.fit(Text(self.heading, "bold underline" if marked else "bold"))

    def fit(self, text: Text) -> Text:
        """Cut `text` to the width, and move figures to the right."""
        text.truncate(self.width, overflow="ellipsis")
        if self.right:
            text.pad_left(self.width - text.cell_len)
        return text


def columns(width: int, rows: Sequence[Row]) -> tuple[Column, ...]:
    """Return the columns for a list that is `width` cells wide."""
    wide = width >= _WIDE
    left = _LEFT_WIDER if width >= _WIDER else _LEFT
    room = width - _STATE - left - _FAILURES - (6 if wide else 5) * _GAP
    longest = max((len(printable(row.snapshot.instance_id)) for row in rows), default=0)
    least = _CAUSE_MIN + (_LAST_MIN if wide else 0)
    name = max(_ID_MIN, min(longest, room - least))
    last = min(_LAST_MAX, room - name - _CAUSE_MIN) if wide else 0
    shown = [
        Column("INSTANCE", name),
        Column("STATE", _STATE),
        Column("TIME LEFT", left, right=True),
        Column("FAILURES", _FAILURES, right=True),
        Column("CAUSE", max(1, room - name - last)),
    ]
    if wide:
        shown.append(Column("LAST FAILURE" if last >= _LAST_WHOLE else "LAST", last))
    return tuple(shown)


def cells(row: Row, shown: Sequence[Column], now_s: float) -> list[Text]:
    """Return one line of the list as it is at `now_s` (monotonic seconds)."""
    snapshot = row.snapshot
    reason = snapshot.reason if shown[4].width >= _REASON_TOO else None
    cause = ": ".join(filter(None, (snapshot.cause, reason)))
    texts = {
        "INSTANCE": Text(printable(snapshot.instance_id)),
        "STATE": Text(snapshot.state, STATE_STYLES[snapshot.state]),
        "TIME LEFT": Text(row.left(now_s, short=shown[2].width < _LEFT_WIDER)),
        "FAILURES": Text(f"{snapshot.failures}/{snapshot.failure_threshold}"),
        "CAUSE": Text(printable(cause)),
        "LAST": Text(printable(snapshot.last_failure_kind or "")),
        "LAST FAILURE": Text(printable(_last_failure(row, now_s))),
    }
    return [column.fit(texts[column.heading]) for column in shown]


def _last_failure(row: Row, now_s: float) -> str:
    snapshot = row.snapshot
    if snapshot.last_failure_at_ms is None:
        return ""
    now_ms = snapshot.now_ms + int((now_s - row.read_s) * 1000)
    ago = relative(snapshot.last_failure_at_ms, now_ms, coarse=True)
    return f"{snapshot.last_failure_kind} {ago}"
