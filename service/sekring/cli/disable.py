"""`sekring disable ID`: switch a breaker off."""

import argparse

from sekring.cli import forcing
from sekring.cli.api import Api
from sekring.cli.options import add_command, add_for, add_id, add_reason

__all__ = ["register", "run"]


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "disable",
        help="switch a breaker off: permit every attempt",
        description="Switch a breaker off: every attempt is permitted, for a time or until a "
        "reset.\nFailures are still recorded.",
        examples='  sekring disable 6281234567890 --reason "testing the proxy" --for 2h',
    )
    add_id(parser)
    add_reason(parser, required=True)
    add_for(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Disable it and say what it was."""
    with Api.of(options) as api:
        return forcing.show(api.disable(options.id, forcing.body_of(options)), options)
