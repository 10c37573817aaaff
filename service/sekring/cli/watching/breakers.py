"""The list of breakers, their time left counting down."""

import time
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from sekring.cli.watching.board import Board
from sekring.cli.watching.columns import Column, cells, columns
from sekring.cli.watching.row import Row
from sekring.cli.watching.view import Order

__all__ = ["Breakers"]

#: Lines above and below those in sight that are kept current as well: a scroll shows them.
_MARGIN = 5


class Breakers(DataTable[Text]):
    """One line each; the cursor stays on its instance when the list changes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("home,g", "scroll_top", show=False),
        Binding("end,G", "scroll_bottom", show=False),
    ]

    def __init__(self) -> None:
        """Select whole lines."""
        super().__init__(cursor_type="row", id="breakers")
        self._rows: list[Row] = []
        self._ids: list[str] = []
        self._columns: tuple[Column, ...] = ()
        self._order: Order | None = None

    @property
    def selected(self) -> str | None:
        """The instance under the cursor."""
        return self._ids[self.cursor_row] if 0 <= self.cursor_row < len(self._ids) else None

    def show(self, board: Board) -> None:
        """Show the breakers of the board's view."""
        self._rows = board.rows()
        wanted = columns(self.scrollable_content_region.width, self._rows)
        ids = [row.snapshot.instance_id for row in self._rows]
        if (ids, wanted, board.view.order) == (self._ids, self._columns, self._order):
            self.tick()
        else:
            self._refill(ids, wanted, board.view.order)

    def tick(self) -> None:
        """Bring the lines in sight up to date."""
        first = max(0, int(self.scroll_y) - _MARGIN)
        now_s = time.monotonic()
        for row in self._rows[first : first + self.size.height + 2 * _MARGIN]:
            name = row.snapshot.instance_id
            for column, text in zip(self._columns, cells(row, self._columns, now_s), strict=True):
                if self.get_cell(name, column.heading) != text:
                    self.update_cell(name, column.heading, text)

    def _refill(self, ids: list[str], wanted: tuple[Column, ...], order: Order) -> None:
        kept, place = self.selected, self.cursor_row
        self._ids, self._columns, self._order = ids, wanted, order
        top = self.scroll_y
        self.clear(columns=True)
        for column in wanted:
            self.add_column(column.label(order), width=column.width, key=column.heading)
        now_s = time.monotonic()
        for row in self._rows:
            self.add_row(*cells(row, wanted, now_s), key=row.snapshot.instance_id)
        if kept in ids:
            place = ids.index(kept)
        self.scroll_to(y=top, animate=False, immediate=True)
        self.move_cursor(row=min(place, len(ids) - 1))
