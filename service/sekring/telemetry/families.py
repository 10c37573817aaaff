"""Metrics as they stand at one moment: what is exposed, pushed, and told to sibling processes."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

__all__ = ["Buckets", "Exemplar", "Family", "Point"]


class Exemplar(Struct, frozen=True, array_like=True):
    """One measurement, and the span in which it was made."""

    value: float
    at_ns: int
    #: As in `traceparent`: 32 and 16 hex digits.
    trace_id: str
    span_id: str


class Point(Struct, frozen=True, array_like=True):
    """The value of one series of a counter or a gauge."""

    labels: Sequence[str]
    value: float


class Buckets(Struct, frozen=True, array_like=True):
    """One series of a histogram."""

    labels: Sequence[str]
    #: How many measurements fell into each bucket, not cumulated; the last one has no bound.
    counts: Sequence[int]
    sum: float
    #: The latest measurement of each bucket whose span was sampled.
    exemplars: Sequence[Exemplar | None]


class Family(Struct, frozen=True, kw_only=True):
    """All series of one metric, by OpenTelemetry's names."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    #: By UCUM (`s`); "" where the name says it all.
    unit: str = ""
    description: str
    #: The names of the labels, in the order of every series' values.
    labels: Sequence[str] = ()
    points: Sequence[Point] = ()
    #: Of a histogram: upper bounds, inclusive.
    bounds: Sequence[float] = ()
    buckets: Sequence[Buckets] = ()
