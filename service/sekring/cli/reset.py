"""`sekring reset`: close breakers at once."""

import argparse
import sys
from collections.abc import Sequence

from sekring.cli.api import Api
from sekring.cli.confirm import confirmed
from sekring.cli.exits import Exit
from sekring.cli.failures import ServiceRefused
from sekring.cli.options import add_command, add_prefix, add_reason, add_state, instance_id
from sekring.cli.printable import printable
from sekring.cli.tables import print_json, print_line
from sekring.errors import InvalidInput
from sekring.model import State
from sekring.wire import ResetAnswer, ResetBody, ResetsAnswer, ResetsBody

__all__ = ["register", "reset_in_words", "resets_in_words", "run"]


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "reset",
        help="close breakers at once",
        description="Close breakers at once and clear their failures and retries.\n\n"
        "Exits 1 if the service refused at least one; the others are reset all the same.\n"
        "With several IDs --json prints an array with an answer, or a problem, for each.",
        examples="  sekring reset 6281234567890 6289876543210\n"
        '  sekring reset --state open --reason "WhatsApp is back" --yes\n'
        "  sekring reset --prefix 6281 --state open\n"
        '  sekring reset 6281234567890 --force --reason "ban lifted, support ticket 4711"',
    )
    chosen = parser.add_mutually_exclusive_group()
    parser.add_argument("ids", metavar="ID", nargs="*", type=instance_id, help="an instance")
    chosen.add_argument("--all", action="store_true", help="every instance; asks first")
    add_state(chosen, "all in this state, asks first")
    add_prefix(parser, "all whose ID begins with this, and in --state if given; asks first")
    add_reason(parser)
    parser.add_argument(
        "--force", action="store_true", help="lift a ban as well; takes IDs and a --reason"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Reset what is named.

    Raises:
        InvalidInput: the options contradict each other, or there is no terminal to ask on.
    """
    filtered = options.state is not None or options.prefix is not None
    if [bool(options.ids), options.all, filtered].count(True) != 1:
        raise InvalidInput("Name instances, or --all, or --state and --prefix: one of the three.")
    many = not options.ids
    if options.force and (many or not options.reason):
        raise InvalidInput("--force takes single instances and a --reason, for the audit trail.")
    with Api.of(options) as api:
        return _many(api, options) if many else _each(api, options.ids, options)


def _each(api: Api, ids: Sequence[str], options: argparse.Namespace) -> Exit:
    body = ResetBody(reason=options.reason, force=options.force)
    code, documents = Exit.DONE, []
    for name in dict.fromkeys(ids):
        try:
            answer = api.reset(name, body)
        except ServiceRefused as error:
            if len(ids) == 1 or error.code is not Exit.REFUSED:
                raise
            print(f"sekring: {name}: {printable(str(error))}", file=sys.stderr)
            documents.append(error.body)
            code = Exit.REFUSED
        else:
            documents.append(answer.body)
            if not options.json:
                print_line(reset_in_words(answer.value))
    if options.json:
        print_json(documents[0] if len(ids) == 1 else b"[" + b",".join(documents) + b"]")
    return code


def reset_in_words(answer: ResetAnswer) -> str:
    """Say what the reset of one instance did."""
    if not answer.known:
        return f"{answer.instance_id}: {answer.state}; nothing is known of it."
    if answer.was == answer.state:
        return f"{answer.instance_id}: {answer.state} as before, its counters are cleared."
    return f"{answer.instance_id}: {answer.state}; it was {answer.was}."


def _many(api: Api, options: argparse.Namespace) -> Exit:
    which = f"every instance that is {options.state}" if options.state else "every instance"
    if options.prefix:
        which += f" and has an ID that begins with {options.prefix}"
    if not confirmed(f"Reset {which} at {api.url}?", yes=options.yes):
        print("sekring: nothing was reset.", file=sys.stderr)
        return Exit.REFUSED
    state = State(options.state) if options.state else None
    answer = api.reset_many(
        ResetsBody(state=state, prefix=options.prefix, all=options.all, reason=options.reason)
    )
    if options.json:
        print_json(answer.body)
    else:
        print_line(resets_in_words(answer.value))
    return Exit.DONE


def resets_in_words(answer: ResetsAnswer) -> str:
    """Say what the reset of many did."""
    words = f"{answer.reset:,} of {answer.requested:,} were reset"
    if answer.unchanged:
        words += f"; {answer.unchanged:,} had changed meanwhile"
    if answer.banned:
        words += f"; {answer.banned:,} left alone: a ban is in force"
    return f"{words}."
