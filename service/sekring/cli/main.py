"""`sekring COMMAND …`: finds the command, runs it, and turns errors into one line and a code.

Exit codes: 0 done · 1 the service refused, or the state is not the one asked for · 2 the command
line or a setting is wrong · 3 the service cannot be reached, or cannot answer now · 130 interrupted
(`sekring.cli.exits`).
"""

import argparse
import contextlib
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence

from sekring import __version__
from sekring.cli.exits import Exit
from sekring.cli.failures import ServiceRefused, Unreachable
from sekring.cli.printable import printable
from sekring.errors import InvalidInput, SekringError, StartError

__all__ = ["main"]

#: Each is a module of this package with `register` and `run`, in the order of `--help`.
_COMMANDS = (
    "serve",
    "up",
    "gateway",
    "status",
    "reset",
    "trip",
    "disable",
    "policy",
    "history",
    "health",
    "watch",
    "token",
    "doctor",
)

_EPILOG = """\
examples:
  sekring serve
  sekring status 6281234567890
  sekring reset 6281234567890 --reason "the proxy is back"
  sekring watch

environment:
  SEKRING_URL    where the service is [default: http://localhost:8000]
  SEKRING_TOKEN  an API token, where the service asks for one
  NO_COLOR       no colours; a pipe never gets any
`sekring serve --help` lists the settings of the service, `sekring gateway --help` the gateway's.

exit codes:
  0  done
  1  the service refused, or the state is not the one asked for
  2  the command line or a setting is wrong; nothing was sent
  3  the service cannot be reached, or cannot answer now
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character gets its number.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has what it wanted (`| head`).
        _discard_stdout()
        return Exit.DONE
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        # The disk is full, the one behind `> file` for example.
        _discard_stdout()
        print(f"sekring: {error.strerror}.", file=sys.stderr)
        return Exit.REFUSED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "sekring":
            raise
        # The client alone was installed.
        print(
            f"sekring: {error.name} is missing: this installation has the client alone. For the"
            " command: pip install 'sekring[service]'",
            file=sys.stderr,
        )
        return Exit.USAGE
    return code


def _run(words: Sequence[str]) -> int:
    try:
        options = _parser(words).parse_args(words)
    except SystemExit as ended:  # after --help, --version and wrong usage
        return ended.code if isinstance(ended.code, int) else Exit.USAGE
    try:
        code: int = options.run(options)
    except ServiceRefused as error:
        if getattr(options, "json", False):
            print(error.body.decode())
        return _fail(error, error.code)
    except Unreachable as error:
        return _fail(error, Exit.UNREACHABLE)
    except (StartError, InvalidInput) as error:
        return _fail(error, Exit.USAGE)
    except SekringError as error:
        return _fail(error, Exit.REFUSED)
    return code


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sekring",
        description="A circuit breaker for WhatsApp sessions, shared by all gateways.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sekring {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # Only the command that is named is imported: `status` need not wait for a web framework.
    named = next((word for word in words if not word.startswith("-")), None)
    for name in (named,) if named in _COMMANDS else _COMMANDS:
        importlib.import_module(f"sekring.cli.{name}").register(commands)
    return parser


def _fail(error: SekringError, code: Exit) -> Exit:
    sys.stdout.flush()
    print(f"sekring: {printable(str(error))}", file=sys.stderr)
    return code


def _discard_stdout() -> None:
    """Send what is still buffered nowhere, or the interpreter complains at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
