"""What is asked before something is changed: the reason, for how long, and whether really."""

import argparse
from typing import ClassVar, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Label, Static

from sekring.cli.durations import duration
from sekring.cli.printable import printable
from sekring.wire import ForceBody, ResetBody

__all__ = ["AskReset", "AskResets", "AskTrip"]

#: As many characters as the service takes for a reason.
_REASON_MAX = 500

T = TypeVar("T")


class _Question(ModalScreen[T | None]):
    """A box over the list; Escape answers `None`: nothing is done."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, words: str, button: str) -> None:
        """Ask `title`; `words` says what follows from a yes."""
        super().__init__()
        self._title, self._words, self._button = title, words, button

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with VerticalScroll(id="question", can_focus=False):
            yield Static(Text(printable(self._title), "bold"), id="asked")
            yield Static(Text(printable(self._words)), id="words")
            yield from self.fields()
            yield Static(id="wrong")
            with Horizontal(id="buttons"):
                yield Button(self._button, variant="error", id="yes", compact=True)
                yield Button("Cancel (Esc)", id="no", compact=True)

    def fields(self) -> ComposeResult:
        """Lay out what is typed in."""
        yield Label("Reason, for the audit trail")
        yield Input(id="reason", max_length=_REASON_MAX, compact=True)

    @property
    def reason(self) -> str | None:
        """What was typed; `None` for nothing."""
        return self.query_one("#reason", Input).value.strip() or None

    def answer(self) -> T:
        """Return what is to be done.

        Raises:
            ValueError: something is missing or wrong; says what.
        """
        raise NotImplementedError

    def enter(self) -> None:
        """Answer, when Enter is pressed where something is typed in."""
        self._try()

    def on_input_submitted(self) -> None:
        """Answer, or go on to what is missing."""
        # By a method of ours: Textual calls the handlers of every class, not only the last one's.
        self.enter()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        if event.button.id == "no":
            _ = self.dismiss(None)
        else:
            self._try()

    def _try(self) -> None:
        try:
            answer = self.answer()
        except ValueError as error:
            self.query_one("#wrong", Static).update(Text(printable(str(error))))
        else:
            _ = self.dismiss(answer)


class AskReset(_Question[ResetBody]):
    """Reset one breaker."""

    def __init__(self, instance_id: str, state: str, *, banned: bool) -> None:
        """Ask for the reset of an instance that is in `state`; `banned`: by WhatsApp, for now."""
        words = f"It is {state}. It closes at once, its failures and retries are cleared."
        if banned:
            words += " WhatsApp has banned it: unless the ban is lifted here too, it stays open."
        super().__init__(f"Reset {instance_id}?", words, "Reset")
        self._banned = banned

    def fields(self) -> ComposeResult:
        """Lay out a reason; for a banned one, whether to lift the ban."""
        yield from super().fields()
        if self._banned:
            yield Checkbox("Lift the ban too (takes a reason)", id="force", compact=True)

    def answer(self) -> ResetBody:
        """Return the request."""
        force = self._banned and self.query_one("#force", Checkbox).value
        if force and self.reason is None:
            self.query_one("#reason").focus()
            raise ValueError("Lifting a ban takes a reason.")
        return ResetBody(reason=self.reason, force=force)


class AskResets(_Question[ResetBody]):
    """Reset many breakers: Enter in the reason is not yet a yes, the button is."""

    def __init__(self, count: int, which: str) -> None:
        """Ask for the reset of `count` breakers, which are `which`."""
        breakers = "breaker" if count == 1 else "breakers"
        super().__init__(
            f"Reset {count:,} {breakers}?",
            f"All that are shown: {which}. Their failures and retries are cleared; "
            "those that WhatsApp has banned are left alone.",
            f"Reset {count:,}",
        )

    def answer(self) -> ResetBody:
        """Return why."""
        return ResetBody(reason=self.reason)

    def enter(self) -> None:
        """Have the button pressed as well."""
        self.query_one("#yes").focus()


class AskTrip(_Question[ForceBody]):
    """Force one breaker open."""

    def __init__(self, instance_id: str, state: str) -> None:
        """Ask for the trip of an instance that is in `state`."""
        super().__init__(
            f"Force {instance_id} open?", f"It is {state}. Every attempt is refused.", "Trip"
        )

    def fields(self) -> ComposeResult:
        """Lay out a reason and an end."""
        yield from super().fields()
        yield Label("For how long: 90s, 30m, 2h or 1d; empty: until a reset")
        yield Input(id="for", compact=True)

    def answer(self) -> ForceBody:
        """Return the request."""
        if self.reason is None:
            self.query_one("#reason").focus()
            raise ValueError("A trip takes a reason.")
        length = self.query_one("#for", Input)
        try:
            for_ms = duration(length.value) if length.value.strip() else None
        except argparse.ArgumentTypeError as error:
            length.focus()
            raise ValueError(f"{error}.") from None
        return ForceBody(reason=self.reason, for_ms=for_ms)
