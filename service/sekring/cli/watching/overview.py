"""The first screen: the fleet in figures, its breakers, and what happens."""

import re
import time
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from sekring.cli.printable import printable
from sekring.cli.watching.board import Board, Contact
from sekring.cli.watching.breakers import Breakers
from sekring.cli.watching.detail import Detail
from sekring.cli.watching.figures import Choice, Figures, Notice, Title
from sekring.cli.watching.follower import Follower
from sekring.cli.watching.service import Service
from sekring.cli.watching.transitions import Transitions
from sekring.cli.watching.view import Chosen, Order, View
from sekring.model import INSTANCE_ID_PATTERN

__all__ = ["Overview"]

#: How often it is looked whether something has changed, in seconds.
_LOOK_S = 0.1

#: How often the times that are shown count on, in seconds.
_TICK_S = 1.0

#: What can be typed as the beginning of an id, and how long an id is at most.
_TYPED = r"[A-Za-z0-9._:@-]*"
_ID_MAX = 128


class Overview(Screen[None]):
    """Shows the board."""

    AUTO_FOCUS = "#breakers"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", key_display="/"),
        Binding("s", "sort", "Sort"),
        Binding("R", "app.reset_shown", "Reset all"),
        Binding("R", "app.refused", show=False),
        Binding("escape", "end_search", show=False),
        Binding("ctrl+l", "read_again", show=False),
        *(Binding(str(digit), f"choose({digit})", show=False) for digit in range(len(Chosen))),
    ]

    def __init__(self, service: Service, board: Board, follower: Follower) -> None:
        """Show `board`, which `follower` keeps current."""
        super().__init__()
        self._service, self._board, self._follower = service, board, follower
        self._shown = -1
        self._ticked_s = 0.0
        self._offered = board.may_operate

    @property
    def selected(self) -> str | None:
        """The instance under the cursor."""
        return self.query_one(Breakers).selected

    def compose(self) -> ComposeResult:
        """Lay out the screen."""
        yield Title(id="title")
        yield Notice(id="notice")
        yield Figures(id="figures")
        yield Choice(id="choice")
        yield Input(
            placeholder="the beginning of an id",
            restrict=_TYPED,
            max_length=_ID_MAX,
            id="search",
            compact=True,
        )
        yield Static(id="note")
        yield Breakers()
        yield Transitions()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Begin to show."""
        self.query_one("#search").display = False
        self.set_interval(_LOOK_S, self._look)

    def on_resize(self) -> None:
        """Lay everything out anew."""
        self._shown = -1

    # -------------------------------------------------------------------------- what is shown

    def _look(self) -> None:
        now_s = time.monotonic()
        if self._board.version != self._shown:
            self._shown, self._ticked_s = self._board.version, now_s
            self._show()
        elif now_s - self._ticked_s >= _TICK_S:
            self._ticked_s = now_s
            self.query_one(Breakers).tick()

    def _show(self) -> None:
        board = self._board
        if board.may_operate != self._offered:
            self._offered = board.may_operate
            self.refresh_bindings()
            self.app.refresh_bindings()
        self.query_one(Title).show(board, self._service.url)
        self.query_one(Notice).show(board)
        self.query_one(Figures).show(board)
        self.query_one(Choice).show(board)
        self.query_one(Breakers).show(board)
        self.query_one(Transitions).show(board)
        self.query_one("#note", Static).update(Text(printable(_note(board))))

    # --------------------------------------------------------------------------- what is done

    def action_choose(self, place: int) -> None:
        """Show other states."""
        self._change(chosen=list(Chosen)[place])

    def action_sort(self) -> None:
        """Sort by something else."""
        self._change(order=self._board.view.order.next)

    def action_search(self) -> None:
        """Type the beginning of an id."""
        search = self.query_one("#search", Input)
        search.display = True
        # Now, not after the next key: whoever types fast would choose a state instead.
        self.set_focus(search)

    def action_end_search(self) -> None:
        """Show all ids again."""
        search = self.query_one("#search", Input)
        search.value = ""
        search.display = False
        self.query_one(Breakers).focus()

    def action_read_again(self) -> None:
        """Read everything now."""
        self._follower.read_again()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search as it is typed."""
        self._change(prefix=event.value)

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go on in what was found; an id that is not on the list is opened all the same."""
        name = event.value
        self.query_one(Breakers).focus()
        if not name:
            self.action_end_search()
        elif not self._board.rows() and re.fullmatch(INSTANCE_ID_PATTERN, name):
            await self.app.push_screen(Detail(self._service, name))

    async def on_data_table_row_selected(self) -> None:
        """Open what is under the cursor."""
        if self.selected is not None:
            await self.app.push_screen(Detail(self._service, self.selected))

    def _change(
        self,
        *,
        chosen: Chosen | None = None,
        prefix: str | None = None,
        order: Order | None = None,
    ) -> None:
        view = self._board.view
        changed = View(
            chosen or view.chosen,
            view.prefix if prefix is None else prefix,
            order or view.order,
        )
        if changed != view and self._board.show(changed):
            self._follower.read_again()


def _note(board: Board) -> str:
    count, view = len(board.rows()), board.view
    if not board.loaded:
        return "" if board.link.contact is Contact.AWAY else "Reading …"
    if count == 0:
        opened = "; Enter opens the id all the same" if view.prefix else ""
        return f"No breaker is {view.words}{opened}."
    if board.more:
        return f"{count:,} of all {view.words}, by {view.order}; / finds the others."
    return f"{count:,} {view.words}, by {view.order}."
