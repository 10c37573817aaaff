"""`?`: every key."""

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

__all__ = ["Help"]

_KEYS = (
    ("↑ ↓ j k", "choose a breaker; PgUp PgDn Home End"),
    ("Enter", "everything about it: failures, history, owner, policy"),
    ("/", "search by the beginning of the id; Enter keeps it, Esc ends it"),
    ("0 … 6", "which states are shown, as the line above the list has them"),
    ("s", "sort: time left, failures, opened last, instance"),
    ("r", "reset the breaker, with a reason"),
    ("R", "reset all that are shown; asks, and says how many"),
    ("t", "force the breaker open, with a reason and an end"),
    ("Tab", "to the transitions and back; the arrows scroll them"),
    ("Ctrl+L", "read everything anew"),
    ("q, Ctrl+C", "quit"),
)

_WORDS = (
    "The time left counts down by itself; every transition appears as it happens. Where the feed "
    "cannot be had, the service is asked every few seconds; where it is away, the last known "
    "breakers stay on the screen until it is back."
)


class Help(ModalScreen[None]):
    """The keys and what they do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss(None)", "Back")
    ]

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        table = Table.grid(padding=(0, 2))
        for keys, meaning in _KEYS:
            table.add_row(Text(keys, "bold"), Text(meaning))
        with VerticalScroll(id="question"):
            yield Static(Text("Keys", "bold"), id="asked")
            yield Static(table)
            yield Static(Text(_WORDS, "dim"), id="words")
