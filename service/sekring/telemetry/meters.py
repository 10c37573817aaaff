"""The metrics of one process: declared once, counted cheaply, gathered when somebody asks.

The instruments of OpenTelemetry's SDK cost 5 to 7 µs a measurement, a tenth of a whole permit. So
hot paths count in plain numbers (`Tally`, `Histogram`), and `gather` makes of those the families
that are exposed for Prometheus and pushed by OTLP. Everything here is for the event loop's thread.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from sekring.telemetry.families import Family, Point
from sekring.telemetry.histogram import Histogram
from sekring.telemetry.tally import Tally

__all__ = ["Meters", "Reading"]

#: The values of a gauge by their label values; `None` where nothing is known now.
Reading = float | None | Mapping[tuple[str, ...], float]


class Meters:
    """Makes instruments; `gather` reads them all, in the order in which they were made.

    Names are OpenTelemetry's (`sekring.permits`); units are UCUM's, and "" where the name or the
    description says it.
    """

    def __init__(self) -> None:
        """Begin without instruments."""
        self._sources: list[Callable[[], Iterable[Family]]] = []

    def counter(
        self,
        name: str,
        description: str,
        labels: Sequence[str] = (),
        known: Iterable[tuple[str, ...]] = (),
    ) -> Tally:
        """Make a counter; the series in `known` are there from the start."""
        tally = Tally(known)
        self._add(name, "counter", description, labels, tally.points)
        return tally

    def level(self, name: str, description: str) -> Tally:
        """Make a number that goes up and down, `level[()]`; it begins at zero."""
        tally = Tally([()])
        self._add(name, "gauge", description, (), tally.points)
        return tally

    def histogram(
        self,
        name: str,
        description: str,
        labels: Sequence[str],
        *,
        bounds: Sequence[float],
        unit: str = "s",
    ) -> Histogram:
        """Make a histogram with the upper `bounds`."""
        histogram = Histogram(bounds)

        def read() -> Iterable[Family]:
            yield Family(
                name=name,
                kind="histogram",
                unit=unit,
                description=description,
                labels=labels,
                bounds=histogram.bounds,
                buckets=histogram.buckets(),
            )

        self._sources.append(read)
        return histogram

    def gauge(
        self,
        name: str,
        description: str,
        read: Callable[[], Reading],
        labels: Sequence[str] = (),
        *,
        unit: str = "",
    ) -> None:
        """Have a value read whenever the metrics are gathered; `read` must not wait."""
        self._add(name, "gauge", description, labels, lambda: _points(read()), unit=unit)

    def count(self, name: str, description: str, read: Callable[[], int]) -> None:
        """Have a number that only grows, and is counted elsewhere, read like a gauge."""
        self._add(name, "counter", description, (), lambda: _points(read()))

    def gather(self) -> list[Family]:
        """Return everything as it stands now."""
        return [family for read in self._sources for family in read()]

    def _add(
        self,
        name: str,
        kind: Literal["counter", "gauge"],
        description: str,
        labels: Sequence[str],
        points: Callable[[], Sequence[Point]],
        *,
        unit: str = "",
    ) -> None:
        def read() -> Iterable[Family]:
            yield Family(
                name=name,
                kind=kind,
                unit=unit,
                description=description,
                labels=labels,
                points=points(),
            )

        self._sources.append(read)


def _points(reading: Reading) -> list[Point]:
    if reading is None:
        return []
    if isinstance(reading, Mapping):
        return [Point(labels, float(value)) for labels, value in reading.items()]
    return [Point((), float(reading))]
