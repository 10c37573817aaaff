"""Asking before something large."""

import sys

from sekring.errors import InvalidInput

__all__ = ["confirmed"]


def confirmed(question: str, *, yes: bool) -> bool:
    """Ask on the terminal; `yes` answers beforehand. Nothing typed is a no.

    Raises:
        InvalidInput: there is no terminal to ask on.
    """
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidInput(
            "This asks for confirmation, and there is no terminal to ask on: add --yes.", "--yes"
        )
    # Not on stdout, which may be read by a program.
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
