"""`sekring trip ID`: force a breaker open."""

import argparse

from sekring.cli import forcing
from sekring.cli.api import Api
from sekring.cli.options import add_command, add_for, add_id, add_reason

__all__ = ["register", "run"]


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "trip",
        help="force a breaker open: refuse every attempt",
        description="Force a breaker open: every attempt is refused, for a time or until a reset.",
        examples='  sekring trip 6281234567890 --reason "number under review" --for 30m',
    )
    add_id(parser)
    add_reason(parser, required=True)
    add_for(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Trip it and say what it was."""
    with Api.of(options) as api:
        return forcing.show(api.trip(options.id, forcing.body_of(options)), options)
