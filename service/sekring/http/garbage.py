"""Python's garbage collector, kept from looking again and again at what stays."""

import gc
from typing import Final

__all__ = ["settle_garbage"]

#: New containers, less those that are gone, at which the youngest are looked through: a few
#: requests under way at once have more than the default of 700, and none of them is garbage.
_YOUNGEST: Final = 50_000
#: How often that happens until the next older ones are looked through as well, and those after.
_OLDER: Final = 20
_OLDEST: Final = 50


def settle_garbage() -> None:
    """Take all that was made until now for permanent; to be called when a process has started.

    What a framework makes at its start is a hundred thousand objects; a pass over them holds up
    every request for tens of milliseconds. Hardly anything of it is garbage, so it is not even
    looked through this once, and not at all before (`sekring.http.process`).
    """
    gc.enable()
    gc.freeze()
    gc.set_threshold(_YOUNGEST, _OLDER, _OLDEST)
