"""The screens of `sekring watch` put together, and the keys that work on all of them."""

import asyncio
import contextlib
import os
import signal
from typing import ClassVar

from rich.terminal_theme import SVG_EXPORT_THEME
from textual.app import App
from textual.binding import Binding, BindingType
from textual.worker import WorkerError

from sekring.cli.exits import Exit
from sekring.cli.failures import ServiceRefused
from sekring.cli.moments import now_ms
from sekring.cli.printable import printable
from sekring.cli.watching.board import Board, Contact, Link
from sekring.cli.watching.detail import Detail
from sekring.cli.watching.follower import Follower
from sekring.cli.watching.guidance import Help
from sekring.cli.watching.operations import Operations
from sekring.cli.watching.overview import Overview
from sekring.cli.watching.service import Service
from sekring.model import Snapshot

__all__ = ["Watch"]

#: What only an operator may do.
_OPERATING = frozenset({"reset", "trip", "reset_shown"})


class Watch(App[ServiceRefused]):
    """Returns what the service said if it refused the very first question."""

    CSS_PATH = "watch.tcss"
    TITLE = "Sekring"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "reset", "Reset"),
        Binding("t", "trip", "Trip"),
        # Reached where the token may not do the above.
        Binding("r", "refused", show=False),
        Binding("t", "refused", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
    ]

    def __init__(self, service: Service) -> None:
        """Watch `service`."""
        # Without colours of its own where the terminal is to have none.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        # One in which open and forced open, red and magenta, can be told apart.
        self.ansi_theme_dark = SVG_EXPORT_THEME
        self._service = service
        self._board = Board(Link(Contact.STARTING, now_ms()))
        self._follower = Follower(service, self._board, self._changed)
        self._operations = Operations(self, service, self._board, self._follower)

    async def on_mount(self) -> None:
        """Show the fleet and follow it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            # Or the terminal would be left as the screen needs it. Not SIGHUP: there is none then.
            loop.add_signal_handler(number, self.action_interrupt)
        await self.push_screen(Overview(self._service, self._board, self._follower))
        self._following = self.run_worker(self._follow())

    async def on_unmount(self) -> None:
        """Have the following ended before the connections are."""
        with contextlib.suppress(WorkerError):
            await self._following.wait()

    async def _follow(self) -> None:
        try:
            await self._follower.run()
        except* ServiceRefused as refused:
            self.exit(next(one for one in refused.exceptions if isinstance(one, ServiceRefused)))

    def _changed(self, ids: frozenset[str]) -> None:
        if isinstance(self.screen, Detail) and self.screen.instance_id in ids:
            self.screen.read_again()

    # ------------------------------------------------------------------------------- the keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what the token may do."""
        if action in _OPERATING:
            return self._board.may_operate
        return super().check_action(action, parameters)

    def action_reset(self) -> None:
        """Reset the breaker that is looked at."""
        if snapshot := self._subject():
            self.run_worker(self._operations.reset(snapshot), group="operation", exclusive=True)

    def action_trip(self) -> None:
        """Trip the breaker that is looked at."""
        if snapshot := self._subject():
            self.run_worker(self._operations.trip(snapshot), group="operation", exclusive=True)

    def action_reset_shown(self) -> None:
        """Reset all that are shown."""
        self.run_worker(self._operations.reset_shown(), group="operation", exclusive=True)

    def action_refused(self) -> None:
        """Say why a key does nothing."""
        caller = self._board.caller
        words = "" if caller is None else f"'{caller.name}' has the role {caller.role}"
        self.notify(
            printable(
                f"The token {words}, which may look and change nothing: put an operator's "
                "token into SEKRING_TOKEN."
            ),
            severity="warning",
            markup=False,
        )

    async def action_help(self) -> None:
        """Show the keys."""
        await self.push_screen(Help())

    def action_interrupt(self) -> None:
        """End as Ctrl-C ends every command."""
        self.exit(return_code=Exit.INTERRUPTED)

    def _subject(self) -> Snapshot | None:
        screen = self.screen
        row = None
        if isinstance(screen, Detail):
            row = screen.row
        elif isinstance(screen, Overview) and screen.selected is not None:
            row = self._board.row(screen.selected)
        if row is None:
            self.notify("No breaker is chosen.", severity="warning", markup=False)
            return None
        return row.snapshot
