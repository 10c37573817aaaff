"""`sekring COMMAND …`: finds the command, runs it, and turns errors into one line and a code.

Exit codes: 0 done · 1 the service refused, or the state is not the one asked for · 2 the command
line or a setting is wrong · 3 the service cannot be reached · 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence

from sekring import __version__
from sekring.cli import serve
from sekring.errors import SekringError, StartError

__all__ = ["main"]

_COMMANDS = (serve,)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="sekring",
        description="A circuit breaker for WhatsApp sessions, shared by all gateways.",
    )
    parser.add_argument("--version", action="version", version=f"sekring {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.register(commands)
    options = parser.parse_args(arguments)
    try:
        code: int = options.run(options)
    except StartError as error:
        return _fail(error, 2)
    except SekringError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return 130
    return code


def _fail(error: SekringError, code: int) -> int:
    print(f"sekring: {error}", file=sys.stderr)
    return code
