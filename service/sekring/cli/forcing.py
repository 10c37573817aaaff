"""What `trip` and `disable` share: a state that an operator chooses, why, and for how long."""

import argparse

from sekring.cli.durations import in_words
from sekring.cli.exits import Exit
from sekring.cli.moments import local, now_ms
from sekring.cli.tables import print_json, print_line
from sekring.cli.transport import Answer
from sekring.wire import ForceAnswer, ForceBody

__all__ = ["body_of", "show"]


def body_of(options: argparse.Namespace) -> ForceBody:
    """Return what the command line asks for."""
    return ForceBody(reason=options.reason, for_ms=options.for_ms)


def show(answer: Answer[ForceAnswer], options: argparse.Namespace) -> Exit:
    """Print what the state was, is now, and until when."""
    if options.json:
        print_json(answer.body)
        return Exit.DONE
    forced = answer.value
    until = "until a reset"
    if forced.remaining_ms is not None:
        end = local(now_ms() + forced.remaining_ms)
        until = f"for {in_words(forced.remaining_ms)}, until {end}"
    print_line(f"{forced.instance_id}: {forced.state} {until}; it was {forced.was}.")
    return Exit.DONE
