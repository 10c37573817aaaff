"""The fleet in figures: the two lines at the top."""

from collections.abc import Iterable

from rich.text import Text
from textual.widgets import Static

from sekring.cli.moments import local
from sekring.cli.printable import printable
from sekring.cli.tables import STATE_STYLES
from sekring.cli.watching.board import Board, Contact
from sekring.cli.watching.view import Chosen
from sekring.guide import HealthData
from sekring.model import State

__all__ = ["Choice", "Figures", "Notice", "Title"]

#: From here on the health score is good, and from here on it is not bad.
_GOOD = 80
_FAIR = 50

_GAP = "  "

_CONTACT_STYLES = {
    Contact.STARTING: "yellow",
    Contact.LIVE: "green",
    Contact.POLLING: "yellow",
    Contact.AWAY: "bold red",
}


class Title(Static):
    """Which service this is, and how it is followed."""

    def show(self, board: Board, url: str) -> None:
        """Show it."""
        contact = board.link.contact
        words = (
            f"away since {local(board.link.since_ms)[11:19]}"
            if contact is Contact.AWAY
            else contact
        )
        who = f"{board.caller.name} ({board.caller.role})" if board.caller else ""
        right = Text.assemble(
            (printable(who), "dim"), _GAP if who else "", (f"● {words}", _CONTACT_STYLES[contact])
        )
        room = max(8, self.content_size.width - right.cell_len - 2)
        left = Text.assemble(("Sekring", "bold"), _GAP, printable(url))
        left.truncate(room, overflow="ellipsis", pad=True)
        self.update(Text.assemble(left, _GAP, right))


class Figures(Static):
    """What a person looks at first."""

    def show(self, board: Board) -> None:
        """Show it."""
        health = board.health
        if health is None:
            self.update(Text("No figures yet.", "dim"))
            return
        parts = [
            Text.assemble("health ", (f"{health.health_score}", _score_style(health.health_score))),
            *(
                Text.assemble((f"{count:,}", "bold"), f" {name}")
                for count, name in (
                    (health.total_instances, "known"),
                    (health.active_connections, "connected"),
                    (health.connecting, "connecting"),
                    (health.total_recent_failures, "failures"),
                )
            ),
            _guard(health),
        ]
        self.update(_flow(parts, self.content_size.width))


class Choice(Static):
    """The states to choose from, how many breakers each has, and which one is shown."""

    def show(self, board: Board) -> None:
        """Show it."""
        counts = {} if board.health is None else _counts(board.health)
        parts = []
        for digit, chosen in enumerate(Chosen):
            count = f" {counts[chosen]:,}" if chosen in counts else ""
            style = "bold reverse" if chosen is board.view.chosen else ""
            parts.append(Text.assemble((f"{digit}", "bold"), f" {chosen}{count}", style=style))
        self.update(_flow(parts, self.content_size.width))


class Notice(Static):
    """What is wrong, in a sentence; gone when nothing is."""

    def show(self, board: Board) -> None:
        """Show it."""
        words = _notice(board)
        self.display = bool(words)
        self.set_class(board.link.contact is Contact.AWAY, "away")
        self.update(Text(printable(words)))


def _flow(parts: Iterable[Text], width: int) -> Text:
    """Put the parts beside each other, and below each other where a line has no more room."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(_GAP) + part.cell_len <= width:
            lines[-1].append(_GAP).append_text(part)
        else:
            lines.append(Text().append_text(part))
    return Text("\n").join(lines)


def _score_style(score: int) -> str:
    return "bold green" if score >= _GOOD else "bold yellow" if score >= _FAIR else "bold red"


def _guard(health: HealthData) -> Text:
    style = "" if health.guard is State.CLOSED else STATE_STYLES[health.guard]
    words = Text.assemble("guard ", (health.guard, style))
    if health.guard_rate_per_s is not None:
        words.append(f", {health.guard_rate_per_s:,g} permits/s")
    return words


def _counts(health: HealthData) -> dict[Chosen, int]:
    opened = health.circuit_breaker_activations - health.forced_open
    not_closed = health.circuit_breaker_activations + health.half_open
    return {
        Chosen.NOT_CLOSED: not_closed,
        Chosen.OPEN: opened,
        Chosen.HALF_OPEN: health.half_open,
        Chosen.FORCED_OPEN: health.forced_open,
        Chosen.DISABLED: health.disabled,
        Chosen.CLOSED: health.total_instances - not_closed - health.disabled,
        Chosen.ALL: health.total_instances,
    }


def _notice(board: Board) -> str:
    link = board.link
    if link.contact is Contact.AWAY:
        known = "What is shown is what was last known. " if board.health else ""
        return f"The service is away since {local(link.since_ms)}: {link.why} {known}Trying again."
    if board.health is not None and board.health.degraded:
        return (
            "Degraded: Redis is not reachable, or has yet to learn what was reported meanwhile. "
            "The figures and the list are the last known ones."
        )
    if link.contact is Contact.POLLING:
        return f"No live feed ({link.why}): asking every few seconds instead."
    return ""
