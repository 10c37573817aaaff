"""What a command prints: tables for a person, aligned text for a pipe, the service's JSON."""

import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sekring.cli.printable import printable
from sekring.model import State

__all__ = ["STATE_STYLES", "print_facts", "print_json", "print_line", "print_table"]

#: How each state looks where colours are shown.
STATE_STYLES: Mapping[str, str] = MappingProxyType(
    {
        State.CLOSED: "green",
        State.OPEN: "bold red",
        State.HALF_OPEN: "yellow",
        State.FORCED_OPEN: "bold magenta",
        State.DISABLED: "cyan",
    }
)

#: Wider than any line: without a terminal nothing is wrapped or cut off.
_UNLIMITED = 100_000

#: Blanks between two columns.
_GAP = 2

#: The other columns are kept whole as long as the last one has this much room to wrap in.
_LAST_MIN = 12


def print_json(body: bytes) -> None:
    """Print the service's JSON: indented on a terminal, else byte for byte."""
    document = msgspec.json.format(body, indent=2) if sys.stdout.isatty() else body
    print(document.decode())


def print_line(text: str, *, style: str = "") -> None:
    """Print one line; a terminal wraps it between words."""
    _print(Text(printable(text), style))


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names with their values, one a line."""
    table = _table(show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, _cell(value))
    _print(table)


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    wraps: bool = True,
    styles: Mapping[str, str] = STATE_STYLES,
) -> None:
    """Print a table; a cell that is a `State`, or another enumeration's, has its style.

    On a terminal too narrow for it the last column wraps first; with `wraps=False` each row
    becomes a paragraph instead. A heading with a leading `>` is of a column of figures, aligned
    to the right.
    """
    rows = list(rows)
    console = _console()
    names = [heading.removeprefix(">") for heading in headings]
    *widths, last = (max(map(cell_len, column)) for column in zip(names, *rows, strict=True))
    fixed = sum(width + _GAP for width in widths)
    if not wraps and fixed + last > console.width:
        for row in rows:
            print_facts((name, cell) for name, cell in zip(names, row, strict=True) if cell)
            print()
        return
    table = _table(show_header=True)
    for heading in headings:
        table.add_column(
            heading.removeprefix(">"),
            justify="right" if heading.startswith(">") else "left",
            overflow="fold",
            no_wrap=fixed + _LAST_MIN <= console.width and heading != headings[-1],
        )
    for row in rows:
        table.add_row(*(_cell(value, styles) for value in row))
    _print(table)


def _table(*, show_header: bool) -> Table:
    return Table(
        box=None,
        show_header=show_header,
        header_style="bold",
        padding=(0, _GAP, 0, 0),
        pad_edge=False,
    )


def _cell(value: str, styles: Mapping[str, str] = STATE_STYLES) -> Text:
    return Text(printable(value), styles.get(value, "") if isinstance(value, StrEnum) else "")


def _print(what: Text | Table) -> None:
    console = _console()
    with console.capture() as captured:
        console.print(what)
    # By print, since rich ends the process where a reader has gone.
    text = captured.get()
    if console.is_terminal:
        print(text, end="")
        return
    for line in text.splitlines():
        print(line.rstrip())


def _console() -> Console:
    terminal = sys.stdout.isatty()
    # rich reads NO_COLOR and TERM itself; FORCE_COLOR colours no pipe.
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=None if terminal else _UNLIMITED,
        highlight=False,
        markup=False,
        emoji=False,
    )
