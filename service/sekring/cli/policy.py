"""`sekring policy`: what opens a breaker and for how long, for the fleet or one instance."""

import argparse
import re
from collections.abc import Sequence

from sekring.cli.api import Api
from sekring.cli.assignments import fields_in_words, patch_of
from sekring.cli.exits import Exit
from sekring.cli.options import add_command, instance_id
from sekring.cli.sources import rows
from sekring.cli.tables import print_json, print_line, print_table
from sekring.cli.transport import Answer
from sekring.errors import InvalidInput
from sekring.model import INSTANCE_ID_PATTERN
from sekring.wire import PolicyAnswer

__all__ = ["register", "run"]

_USAGE = """\
sekring policy [show] [ID]
       sekring policy set FIELD=VALUE... [--instance ID]
       sekring policy unset [--instance ID]"""

_HEADINGS = ("FIELD", ">VALUE", "", "FROM")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "policy",
        help="show or change when breakers open, and for how long",
        description="show   the policy in force, and where each value comes from: default, the\n"
        "       fleet's (global) or the instance's own\n"
        "set    change some fields; the others stay. Lengths of time (_ms) may be written\n"
        "       like 90s or 5m\n"
        "unset  remove all that was set for the fleet, or what the instance alone has\n\n"
        f"fields:\n{fields_in_words()}",
        examples="  sekring policy\n"
        "  sekring policy set failure_threshold=10 window_ms=5m backoff.cap_ms=20s weights.dns=2\n"
        "  sekring policy set probes=1 --instance 6281234567890",
    )
    parser.usage = _USAGE
    parser.add_argument("words", metavar="WORD", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument(
        "--instance", metavar="ID", type=instance_id, help="of this instance, not of the fleet"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show, set or unset.

    Raises:
        InvalidInput: the words of the command line make no sense.
    """
    action, *words = options.words or ["show"]
    if action == "set":
        return _set(words, options)
    if action == "unset":
        return _unset(words, options)
    if action != "show":
        # An ID may stand alone, or in front of `show`.
        words = [action, *(word for word in words if word != "show")]
    return _show(words, options)


def _show(words: Sequence[str], options: argparse.Namespace) -> Exit:
    if len(words) > 1 or (words and options.instance):
        raise InvalidInput(f"Show one policy at a time: {words[-1]!r} is one word too many.")
    name = words[0] if words else options.instance
    if name is not None and not re.fullmatch(INSTANCE_ID_PATTERN, name):
        raise InvalidInput(f"{name!r} is no instance ID, and none of show, set and unset.")
    with Api.of(options) as api:
        return _print(api.policy(name), name, options)


def _set(words: Sequence[str], options: argparse.Namespace) -> Exit:
    patch = patch_of(words)
    with Api.of(options) as api:
        answer = api.change_policy(options.instance, patch)
        return _print(answer, options.instance, options)


def _unset(words: Sequence[str], options: argparse.Namespace) -> Exit:
    if words:
        raise InvalidInput("unset takes no fields: it removes everything that was set there.")
    with Api.of(options) as api:
        answer = api.drop_policy(options.instance)
        return _print(answer, options.instance, options)


def _print(answer: Answer[PolicyAnswer], name: str | None, options: argparse.Namespace) -> Exit:
    if options.json:
        print_json(answer.body)
        return Exit.DONE
    policy = answer.value
    whose = "The fleet's policy" if name is None else f"The policy of {name}"
    version = f"version {policy.version}" if policy.version else "never set"
    print_line(f"{whose} ({version})", style="bold")
    print_table(_HEADINGS, rows(policy))
    return Exit.DONE
