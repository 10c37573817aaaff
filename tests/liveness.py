"""Reads the scripted driver's log: no session connected twice, and none faster than its pace.

A connection counts as live from its `connect` line, which is written before there is one, until its
first `disconnect` line, which is written after it has ended: what the log shows is never less than
what was.

A process that is frozen (SIGSTOP) with its connections can neither end them nor use them. Whether
such a connection is live is a matter of words: its socket is open, and nobody is behind it. Here it
counts as dead while frozen, and as live again from the thaw until it ends, for which it has
`THAW_S`: no process can end anything in the instant in which it is let go on. Whoever freezes a
process says so by `Frozen`; without it, the log is judged as it is.
"""

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

__all__ = ["THAW_S", "Course", "Frozen", "courses", "longest_gap_s", "read", "violations"]

#: How long a connection may last after a thaw that came after the end of its lease, in seconds.
THAW_S = 2.0


class Line(Struct, frozen=True):
    """One line of the log (`sekring.gateway.workers.scriptlog`)."""

    event: str
    instance: str
    token: int
    number: int
    pid: int
    at_s: float


class Frozen(Struct, frozen=True):
    """Processes that were stopped after `from_s` had passed and let go on before `to_s` had."""

    pids: Collection[int]
    from_s: float
    to_s: float


class Course(Struct):
    """One connection, by the log."""

    instance: str
    token: int
    number: int
    pid: int
    began_s: float
    connected_s: float | None = None
    ended_s: float | None = None

    def __str__(self) -> str:
        end = "still" if self.ended_s is None else f"{self.ended_s:.3f}"
        return f"{self.instance}/{self.token}/{self.number} ({self.began_s:.3f} to {end})"

    def live(self, frozen: Iterable[Frozen]) -> list[tuple[float, float]]:
        """Return when it was live, as periods."""
        end_s = float("inf") if self.ended_s is None else self.ended_s
        periods, from_s = [], self.began_s
        for ice in sorted(frozen, key=lambda one: one.from_s):
            if self.pid not in ice.pids or not from_s <= ice.from_s < end_s:
                continue
            periods.append((from_s, ice.from_s))
            from_s = ice.to_s
            if end_s <= ice.to_s + THAW_S:
                return periods
        return [*periods, (from_s, end_s)]


def read(path: Path) -> list[Line]:
    """Return the log's lines in the order of their times."""
    lines = [msgspec.json.decode(line, type=Line) for line in path.read_bytes().splitlines()]
    return sorted(lines, key=lambda line: line.at_s)


def courses(lines: Iterable[Line]) -> dict[str, list[Course]]:
    """Return each instance's connections, in the order in which they began."""
    found: dict[tuple[str, int, int], Course] = {}
    for line in sorted(lines, key=lambda line: line.at_s):
        name = line.instance, line.token, line.number
        if line.event == "connect":
            assert name not in found, f"{name} was connected twice under one number"
            found[name] = Course(*name, line.pid, line.at_s)
        elif line.event == "connected":
            found[name].connected_s = line.at_s
        elif line.event == "disconnect" and name in found and found[name].ended_s is None:
            # Without a `connect` it never began: a worker died before.
            found[name].ended_s = line.at_s
    by_instance = defaultdict(list)
    for course in found.values():
        by_instance[course.instance].append(course)
    return dict(by_instance)


def violations(
    lines: Iterable[Line], *, pace_s: float = 0.0, frozen: Sequence[Frozen] = ()
) -> list[str]:
    """Return everything that should not have been, in words.

    `pace_s` is what the service recommends between any two attempts of a session that failed: under
    a policy with a constant backoff.
    """
    found = []
    for history in courses(lines).values():
        for index, course in enumerate(history):
            found += [
                f"connected twice: {earlier} and {course}"
                for earlier in history[:index]
                if _overlap(earlier.live(frozen), course.live(frozen))
            ]
        for earlier, later in itertools.pairwise(history):
            if (later.token, later.number) <= (earlier.token, earlier.number):
                found.append(f"token went backwards: {earlier}, then {later}")
            # Who was connected and moved to another gateway has not failed.
            moved = earlier.connected_s is not None and later.token != earlier.token
            if not moved and later.began_s - earlier.began_s < pace_s:
                found.append(f"faster than {pace_s} s: {earlier}, then {later}")
    return found


def longest_gap_s(history: Sequence[Course], since_s: float, until_s: float) -> float:
    """Return the longest time in which a session was not connected, in seconds."""
    gap_s, free_s = 0.0, since_s
    for course in history:
        ended_s = until_s if course.ended_s is None else min(course.ended_s, until_s)
        if course.connected_s is None or ended_s <= since_s or course.connected_s >= until_s:
            continue
        gap_s = max(gap_s, course.connected_s - free_s)
        free_s = max(free_s, ended_s)
    return max(gap_s, until_s - free_s)


def _overlap(some: Iterable[tuple[float, float]], others: Sequence[tuple[float, float]]) -> bool:
    return any(
        begin < other_end and other_begin < end
        for begin, end in some
        for other_begin, other_end in others
    )
