"""What the command's exit code says to a script."""

from enum import IntEnum

__all__ = ["Exit"]


class Exit(IntEnum):
    """The same for every subcommand."""

    #: Done; what was asked about is as it should be.
    DONE = 0
    #: The service refused, or the state is not the one asked for.
    REFUSED = 1
    #: The command line or a setting is wrong; nothing was sent.
    USAGE = 2
    #: The service cannot be reached, or cannot answer now.
    UNREACHABLE = 3
    #: Ended with Ctrl-C.
    INTERRUPTED = 130
