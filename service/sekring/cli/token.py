"""`sekring token`: make API tokens, and check the file that the service reads them from."""

import argparse
import os
import re
import secrets
import tomllib
from pathlib import Path

import msgspec

from sekring.cli.exits import Exit
from sekring.cli.options import add_command
from sekring.cli.tables import print_json, print_line, print_table
from sekring.tokens import NewToken, Role, TokenBook, TokenEntry

__all__ = ["register", "run"]

_EXAMPLES = """\
  sekring token new --role operator --name ops
  sekring token check tokens.toml"""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "token",
        help="make API tokens, check a token file",
        description="Make API tokens and check a token file. Nothing is sent to the service, which "
        "reads\nits tokens at the start from SEKRING_TOKENS_FILE or SEKRING_TOKENS.",
        epilog=f"examples:\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    new = add_command(
        actions,
        "new",
        help="make a token",
        description="Print a new token, once, and the entries that let the service know it.\n"
        "The entries hold a hash, from which the token cannot be found.",
        examples="  sekring token new --role gateway --name gateway-2",
        remote=False,
    )
    new.add_argument(
        "--role",
        choices=[str(role) for role in Role],
        required=True,
        help="gateway: attempts, outcomes, reads; operator: everything; viewer: reads",
    )
    new.add_argument(
        "--name", type=_name, help="whose it is, for the audit trail [default: role and a number]"
    )
    new.set_defaults(run=run, action=_new)
    check = add_command(
        actions,
        "check",
        help="check a token file",
        description="Say which tokens a file has; exits 2 if the service would not start with it.\n"
        "If SEKRING_TOKEN is set, say also whose it is; exits 1 if nobody's.",
        examples="  sekring token check tokens.toml",
        remote=False,
    )
    check.add_argument("file", metavar="FILE", type=Path, help="a TOML file")
    check.set_defaults(run=run, action=_check)


def run(options: argparse.Namespace) -> int:
    """Run the action that the command line names."""
    code: int = options.action(options)
    return code


def _name(text: str) -> str:
    # What a TOML string, `name=role:hash` and a column of a table all take.
    if not re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to 64 of A-Z a-z 0-9 . _ @ -")
    return text


def _new(options: argparse.Namespace) -> int:
    role = Role(options.role)
    made = NewToken.make(options.name or f"{role}-{secrets.randbelow(10_000):04}", role)
    entry = made.entry
    if options.json:
        print_json(msgspec.json.encode(made))
        return Exit.DONE
    print(f"""\
Token, shown this once; clients send it, this command reads it from SEKRING_TOKEN:

{made.token}

For the file that SEKRING_TOKENS_FILE names:

[[token]]
name = "{entry.name}"
role = "{entry.role}"
hash = "{entry.hash}"

Or, without a file, for SEKRING_TOKENS (several are separated by commas):

{entry.name}={entry.role}:{entry.hash}""")
    return Exit.DONE


def _check(options: argparse.Namespace) -> int:
    book = TokenBook.load(options.file, None)
    content = tomllib.loads(options.file.read_text(encoding="utf-8"))
    entries = msgspec.convert(content.get("token", []), list[TokenEntry])
    token = os.environ.get("SEKRING_TOKEN")
    caller = book.caller_of(token) if token else None
    code = Exit.REFUSED if token and caller is None else Exit.DONE
    if options.json:
        print_json(msgspec.json.encode({"tokens": entries, "caller": caller}))
        return code
    print_table(
        ("NAME", "ROLE", "ID"),
        ((one.name, one.role, one.hash.partition(":")[0]) for one in entries),
    )
    if token:
        whose = f"{caller.name}'s ({caller.role})" if caller else "none of these"
        print_line(f"SEKRING_TOKEN is {whose}.")
    return code
