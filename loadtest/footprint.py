"""What processes use, read from /proc (Linux): processor time, memory, descriptors."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["descriptors", "group_s", "process_s", "resident_kb", "wait_until_calm"]

#: What is looked at to tell whether something still works, in seconds, and what counts as rest.
_LOOK_S = 0.2
_CALM = 0.25

#: Work that is put off lasts no longer than this, in seconds.
_PATIENCE_S = 20


def group_s(group: int) -> float:
    """Return the processor time, in seconds, that the living processes of a group have used."""
    return sum(map(process_s, _members(group)))


def process_s(pid: int) -> float:
    """Return the processor time, in seconds, that a process has used; 0 if it has ended."""
    # In nanoseconds, thread by thread; what `stat` has is in ticks of ten milliseconds.
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    used_ns = 0
    for thread in threads:
        with contextlib.suppress(OSError):
            used_ns += int(thread.read_text().split()[0])
    return used_ns / 1e9


def resident_kb(group: int) -> int:
    """Return the memory of a group's processes, in kB; what they share is counted in parts."""
    total = 0
    for pid in _members(group):
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(rollup.partition("\nPss:")[2].split()[0])
    return total


def descriptors(group: int) -> int:
    """Return how many files and sockets a group's processes have open."""
    total = 0
    for pid in _members(group):
        with contextlib.suppress(OSError):
            total += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    return total


def wait_until_calm(used_s: Callable[[], float]) -> None:
    """Wait until what was put off is done: work that is not under way costs no processor time."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        before_s = used_s()
        time.sleep(_LOOK_S)
        if used_s() - before_s < _CALM * _LOOK_S:
            return


def _members(group: int) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if int(_stat(int(folder.name))[2]) == group:
                yield int(folder.name)


def _stat(pid: int) -> list[str]:
    """Return what follows the name, which may hold blanks and parentheses itself."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
