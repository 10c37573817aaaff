"""Everything about one instance, on a screen of its own."""

import asyncio
import time
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from sekring.cli.failures import ServiceRefused, Unreachable
from sekring.cli.instance import headline
from sekring.cli.moments import local, now_ms
from sekring.cli.printable import printable
from sekring.cli.watching.row import Row
from sekring.cli.watching.sections import Account, page
from sekring.cli.watching.service import Service

__all__ = ["Detail"]

#: Transitions that are shown, at most.
_HISTORY = 50

#: How often it is read anew although nothing was heard of it, in seconds.
_PAUSE_S = 5.0


class Detail(Screen[None]):
    """Read when it is opened, when something happens to the instance, and now and then."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter", "app.pop_screen", "Back")]

    def __init__(self, service: Service, instance_id: str) -> None:
        """Show this instance."""
        super().__init__()
        self.instance_id = instance_id
        self._service = service
        self._account: Account | None = None
        self._away_ms: int | None = None

    @property
    def row(self) -> Row | None:
        """The instance as it was read last."""
        return self._account.row if self._account else None

    def compose(self) -> ComposeResult:
        """Lay out the screen."""
        yield Static(Text(printable(self.instance_id), "bold"), id="heading")
        yield Static(id="stale")
        with VerticalScroll(id="account"):
            yield Static(Text("Reading …", "dim"), id="page")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Read it, and have the time left count down."""
        self.query_one("#stale").display = False
        self.query_one("#account").focus()
        self.read_again()
        self.set_interval(_PAUSE_S, self.read_again)
        self.set_interval(1.0, self._show)

    def read_again(self) -> None:
        """Read it now."""
        self.run_worker(self._read(), group="detail", exclusive=True)

    async def _read(self) -> None:
        name, service = self.instance_id, self._service
        try:
            found, history = await asyncio.gather(
                service.detail(name), service.history(name, _HISTORY)
            )
        except (ServiceRefused, Unreachable) as error:
            self._away_ms = self._away_ms or now_ms()
            words = f"Not current since {local(self._away_ms)}: {error}"
            self._say(printable(words))
            return
        self._away_ms = None
        self._say("")
        row = Row(found.snapshot, time.monotonic())
        self._account = Account(row, found, history.transitions)
        heading = printable(headline(found.snapshot))
        self.query_one("#heading", Static).update(Text(heading, "bold"))
        self._show()

    def _say(self, words: str) -> None:
        stale = self.query_one("#stale", Static)
        stale.display = bool(words)
        stale.update(Text(words))

    def _show(self) -> None:
        if self._account is not None:
            self.query_one("#page", Static).update(page(self._account, time.monotonic()))
