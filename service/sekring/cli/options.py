"""Options and arguments that several subcommands share."""

import argparse
import re

from sekring.cli.durations import duration
from sekring.model import INSTANCE_ID_PATTERN, PREFIX_PATTERN, State

__all__ = [
    "add_command",
    "add_for",
    "add_id",
    "add_prefix",
    "add_reason",
    "add_state",
    "at_least_one",
    "instance_id",
    "prefix",
]


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    *,
    help: str,  # noqa: A002 - argparse's own word
    description: str,
    examples: str,
    remote: bool = True,
    json: bool = True,
) -> argparse.ArgumentParser:
    """Add a subcommand: with `--json`; with `--url` and `--timeout` where it calls the service."""
    parser = commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if remote:
        parser.add_argument(
            "--url",
            metavar="URL",
            help="where the service is [default: SEKRING_URL, else http://localhost:8000]",
        )
        parser.add_argument(
            "--timeout",
            dest="timeout_ms",
            metavar="TIME",
            type=duration,
            help="how long to wait for an answer [default: 15s]",
        )
    if json:
        sent = ", as the service sends it" if remote else ""
        parser.add_argument("--json", action="store_true", help=f"print JSON{sent}")
    return parser


def instance_id(text: str) -> str:
    """Return `text` if it can name an instance.

    Raises:
        argparse.ArgumentTypeError: it cannot.
    """
    if not re.fullmatch(INSTANCE_ID_PATTERN, text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no instance ID, which takes 1 to 128 of A-Z a-z 0-9 . _ : @ -"
        )
    return text


def prefix(text: str) -> str:
    """Return the beginning of ids.

    Raises:
        argparse.ArgumentTypeError: no id begins like that.
    """
    if not text or not re.fullmatch(PREFIX_PATTERN, text):
        raise argparse.ArgumentTypeError(
            f"no instance ID begins with {text!r}: they are of A-Z a-z 0-9 . _ : @ -"
        )
    return text


def at_least_one(text: str) -> int:
    """Return a whole number above zero.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above zero")
    return int(text)


def add_id(parser: argparse.ArgumentParser) -> None:
    """Add the one instance that a command is about."""
    parser.add_argument("id", metavar="ID", type=instance_id, help="the instance")


def add_state(group: "argparse._ActionsContainer", meaning: str) -> None:
    """Add the choice of one state."""
    states = [str(state) for state in State]
    group.add_argument(
        "--state", metavar="STATE", choices=states, help=f"{meaning}: {', '.join(states)}"
    )


def add_prefix(group: "argparse._ActionsContainer", meaning: str) -> None:
    """Add the beginning of ids."""
    group.add_argument("--prefix", metavar="TEXT", type=prefix, help=meaning)


def add_reason(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add the words for the audit trail."""
    parser.add_argument(
        "--reason", metavar="TEXT", required=required, help="why, in words: for the audit trail"
    )


def add_for(parser: argparse.ArgumentParser) -> None:
    """Add how long a state is to last."""
    parser.add_argument(
        "--for",
        dest="for_ms",
        metavar="TIME",
        type=duration,
        help="how long, such as 90s, 30m, 2h or 1d [default: until a reset]",
    )
