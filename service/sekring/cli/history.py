"""`sekring history ID`: who changed what, when and why."""

import argparse

from sekring.cli.api import PAGE_MAX, Api
from sekring.cli.exits import Exit
from sekring.cli.moments import local, now_ms, relative
from sekring.cli.options import add_command, add_id, at_least_one
from sekring.cli.tables import print_json, print_line, print_table
from sekring.model import State, Transition

__all__ = ["register", "run"]

_HEADINGS = ("TIME", "AGO", "ACTION", "FROM", "TO", "CAUSE", "BY", "REASON")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "history",
        help="show an instance's latest transitions",
        description="Show an instance's latest transitions, newest first: when, what, who and why."
        "\nThe service keeps the last 100.",
        examples="  sekring history 6281234567890 --limit 10",
    )
    add_id(parser)
    parser.add_argument(
        "--limit", metavar="N", type=at_least_one, default=20, help="at most so many [default: 20]"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask and show."""
    with Api.of(options) as api:
        answer = api.history(options.id, min(options.limit, PAGE_MAX))
    if options.json:
        print_json(answer.body)
    elif not answer.value.transitions:
        print_line(f"Nothing has changed the breaker of {options.id} lately.")
    else:
        now = now_ms()
        print_table(_HEADINGS, [_row(one, now) for one in answer.value.transitions], wraps=False)
    return Exit.DONE


def _row(transition: Transition, now: int) -> list[str]:
    by = " ".join(filter(None, (transition.actor, transition.source)))
    return [
        local(transition.at_ms),
        relative(transition.at_ms, now, coarse=True),
        transition.action,
        _state(transition.before),
        _state(transition.after),
        transition.cause,
        by,
        transition.reason,
    ]


def _state(word: str) -> str:
    return State(word) if word in set(State) else word
