"""Numbers for hot paths, which are read when somebody asks."""

from collections import defaultdict
from collections.abc import Iterable

from sekring.telemetry.families import Point

__all__ = ["Tally"]


class Tally(defaultdict[tuple[str, ...], int]):
    """A number for each combination of label values: `permits["view",] += 1`.

    That takes about 0.1 µs; the SDK's `Counter.add` takes forty times as long. For one thread.
    """

    def __init__(self, known: Iterable[tuple[str, ...]] = ()) -> None:
        """Begin with the series in `known` at zero: a rate needs a value before the first one."""
        super().__init__(int, dict.fromkeys(known, 0))

    def points(self) -> list[Point]:
        """Return every series."""
        return [Point(labels, value) for labels, value in self.items()]
