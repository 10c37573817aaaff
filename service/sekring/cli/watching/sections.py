"""The parts of one instance's page, each as a table or a text."""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sekring.cli import sources
from sekring.cli.durations import in_words
from sekring.cli.instance import facts
from sekring.cli.moments import local, relative
from sekring.cli.printable import printable
from sekring.cli.tables import STATE_STYLES
from sekring.cli.watching.row import Row
from sekring.cli.watching.transitions import what_happened
from sekring.model import Snapshot, Transition
from sekring.wire import InstanceDetail, PolicyAnswer

__all__ = ["Account", "page"]

#: The window's failures over time, from few to many in one part of it.
_BARS = "▁▂▃▄▅▆▇█"
_PARTS = 30


class Account(Struct, frozen=True):
    """All that the service says about an instance."""

    row: Row
    detail: InstanceDetail
    transitions: list[Transition]


def page(account: Account, now_s: float) -> RenderableType:
    """Return the page as it is at `now_s` (monotonic seconds)."""
    snapshot, policy = account.detail.snapshot, account.detail.policy
    now_ms = snapshot.now_ms + int((now_s - account.row.read_s) * 1000)
    state, *others = facts(snapshot, policy)
    left = account.row.left(now_s)
    return Group(
        _facts([state, *([("Time left", left)] if left else []), *others, *_owner(account.detail)]),
        *_section(f"Failures in the last {in_words(policy.policy.window_ms)}"),
        _window(snapshot, policy, now_ms),
        *_section("History"),
        _history(account.transitions, now_ms),
        *_section("Policy in force"),
        _policy(policy),
    )


def _section(title: str) -> tuple[Text, Text]:
    return Text(), Text(title, "bold underline")


def _facts(found: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in found:
        table.add_row(name, Text(printable(value), STATE_STYLES.get(value, "")))
    return table


def _owner(detail: InstanceDetail) -> list[tuple[str, str]]:
    flying = [("Attempts in flight", f"{detail.attempts_in_flight:,}")]
    session = detail.session
    if session is None:
        return [*flying, ("Lease owner", "not known while Redis is away")]
    if session.gateway is None:
        wanted = "to be connected, by whichever gateway claims it" if session.wanted else "nobody"
        return [*flying, ("Lease owner", wanted)]
    ends = "" if session.lease_ends_in_ms is None else f", for {in_words(session.lease_ends_in_ms)}"
    return [
        *flying,
        ("Lease owner", f"{session.gateway} (token {session.token}{ends})"),
        ("Session", ": ".join(filter(None, (session.phase, session.detail)))),
    ]


def _window(snapshot: Snapshot, answer: PolicyAnswer, now_ms: int) -> Text:
    if not snapshot.recent_failures:
        return Text("None.", "dim")
    window_ms = answer.policy.window_ms
    counts = [0] * _PARTS
    for failure in snapshot.recent_failures:
        age = max(0, now_ms - failure.at_ms) * _PARTS // window_ms
        if age < _PARTS:
            counts[_PARTS - 1 - age] += 1
    most = max(1, *counts)
    bars = "".join(_BARS[count * (len(_BARS) - 1) // most] if count else " " for count in counts)
    return Text.assemble(
        ("|", "dim"), (bars, "red"), ("| now", "dim"),
        f"   {snapshot.failures} of {answer.policy.failure_threshold} open the breaker",
    )  # fmt: skip


def _history(transitions: Sequence[Transition], now_ms: int) -> RenderableType:
    if not transitions:
        return Text("Nothing has changed this breaker lately.", "dim")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in transitions:
        ago = relative(one.at_ms, now_ms, coarse=True)
        table.add_row(Text.assemble((local(one.at_ms)[:19], "dim"), f"  {ago}"), what_happened(one))
    return table


def _policy(answer: PolicyAnswer) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value, words, source in sources.rows(answer):
        table.add_row(
            Text(printable(name), "dim"),
            Text(printable(words or value)),
            Text(printable(source), "" if source == "default" else "bold"),
        )
    return table
