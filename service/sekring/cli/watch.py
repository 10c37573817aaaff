"""`sekring watch`: the fleet on a terminal, live, with resets by key."""

import argparse
import asyncio
import os
import sys

from sekring.cli.address import address
from sekring.cli.exits import Exit
from sekring.cli.options import add_command
from sekring.cli.watching.app import Watch
from sekring.cli.watching.service import Service
from sekring.errors import InvalidInput

__all__ = ["register", "run"]


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "watch",
        help="watch the fleet on this terminal, live; reset by key",
        description="Watch the fleet on this terminal: its figures, the breakers that are not "
        "closed with their\ntime left, and every transition as it happens. Keys reset, trip, "
        "search, filter and sort;\n? lists them.\n\n"
        "Needs a terminal: in a pipe, `sekring status` and `sekring health` give the same once.",
        examples="  sekring watch\n  SEKRING_TOKEN=… sekring watch --url https://breaker.example",
        json=False,
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Watch until the user has seen enough.

    Raises:
        InvalidInput: there is no terminal, or one that cannot show a screen.
        SettingsError: the URL or the token cannot be one.
        ServiceRefused: the service refused the very first question.
    """
    there = address(options.url, os.environ)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidInput(
            "watch needs a terminal; in a pipe or a script, `sekring health` and `sekring status` "
            "(with --json) say the same once."
        )
    if os.environ.get("TERM", "") in {"", "dumb"}:
        raise InvalidInput(
            "watch needs a terminal that can show a screen, and TERM says that this one cannot; "
            "`sekring health` and `sekring status` say the same once."
        )
    answer_s = None if options.timeout_ms is None else options.timeout_ms / 1000
    return asyncio.run(_watch(Service(there, answer_s)))


async def _watch(service: Service) -> int:
    async with service:
        app = Watch(service)
        refused = await app.run_async()
    if refused is not None:
        raise refused
    return app.return_code or Exit.DONE
