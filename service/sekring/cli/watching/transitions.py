"""The live feed: what happens, newest first."""

from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static

from sekring.cli.moments import local
from sekring.cli.printable import printable
from sekring.cli.tables import STATE_STYLES
from sekring.cli.watching.board import Board
from sekring.model import Transition
from sekring.wire import GapNotice

__all__ = ["Transitions", "what_happened"]

#: The columns of an instance's id and of what happened, in cells.
_ID = 16
_WHAT = 11

#: Lines that are shown, at most: more is in each instance's history.
_LINES = 100


class Transitions(VerticalScroll):
    """One line each, cut off where the terminal ends: the instance's detail has the whole."""

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__(Static(id="happened"), id="transitions")
        self.border_title = "Transitions"

    def show(self, board: Board) -> None:
        """Show the latest."""
        lines = [_line(one) for _, one in zip(range(_LINES), board.feed, strict=False)]
        if not lines:
            lines = [Text("Nothing has changed since you began to watch.", "dim")]
        width = max(1, self.content_size.width - 1)
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        self.query_one("#happened", Static).update(Text("\n").join(lines))


def what_happened(transition: Transition) -> Text:
    """Say what changed, why and who did it."""
    text = Text(printable(transition.action).ljust(_WHAT))
    if transition.after:
        text.append(" ")
        text.append_text(_state(transition.before))
        text.append(" → ")
        text.append_text(_state(transition.after))
    by = " ".join(filter(None, (transition.actor, transition.source)))
    more = [transition.cause, f"by {by}" if by else "", transition.reason]
    for words in filter(None, more):
        text.append(f"  {printable(words)}")
    return text


def _line(one: Transition | GapNotice) -> Text:
    if isinstance(one, GapNotice):
        lost = "some" if one.lost is None else f"{one.lost:,}"
        words = f"{lost} transitions are missing: Redis no longer holds them"
        return Text(f"{local(one.until_ms)[11:19]}  {words}", "yellow")
    name = Text("the fleet" if one.instance_id == "*" else printable(one.instance_id), "bold")
    name.truncate(_ID, overflow="ellipsis", pad=True)
    when = Text(f"{local(one.at_ms)[11:19]}  ", "dim")
    return Text.assemble(when, name, "  ", what_happened(one))


def _state(word: str) -> Text:
    return Text(printable(word), STATE_STYLES.get(word, ""))
