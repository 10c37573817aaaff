"""The failures inside the window as a drawing: when each was, and how near they are to a trip."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from sekring.model import Failure, Snapshot
from sekring.policy import Policy
from sekring.taxonomy import COUNTED_KINDS

__all__ = ["SHAPES", "Mark", "Step", "Window"]

#: More failures than this are drawn as a line alone.
_MARKS_MAX = 120

#: The line has a step for every failure up to so many.
_STEPS_MAX = 240

#: How much higher than the threshold the drawing reaches.
_ABOVE = 1.2

#: A sign for each kind, about its middle: kinds are told apart by shape.
SHAPES: Mapping[str, str] = MappingProxyType(
    dict(
        zip(
            COUNTED_KINDS,
            (
                "M0 -5L5 4H-5Z",
                "M-4 -4H4V4H-4Z",
                "M0 -4.5A4.5 4.5 0 1 1 0 4.5A4.5 4.5 0 1 1 0 -4.5Z",
                "M0 -5.5L5.5 0L0 5.5L-5.5 0Z",
                "M0 5L5 -4H-5Z",
                "M-1.5 -5H1.5V-1.5H5V1.5H1.5V5H-1.5V1.5H-5V-1.5H-1.5Z",
                "M-5 -3L-3 -5L0 -2L3 -5L5 -3L2 0L5 3L3 5L0 2L-3 5L-5 3L-2 0Z",
                "M0 -6L1.6 -1.8L6 -1.8L2.4 1L3.7 5.4L0 2.8L-3.7 5.4L-2.4 1L-6 -1.8L-1.6 -1.8Z",
                "M-5 -2H5V2H-5Z",
                "M-2 -5.5H2V5.5H-2Z",
                "M-5 -5H5V5H-5ZM-2.5 -2.5V2.5H2.5V-2.5Z",
                "M-2.5 -5H2.5L5 0L2.5 5H-2.5L-5 0Z",
            ),
            strict=True,
        )
    )
)


class Mark(Struct, frozen=True):
    """One failure; its place in hundredths of the drawing's width and height."""

    failure: Failure
    x: float
    y: float
    shape: str


class Step(Struct, frozen=True):
    """A line of the sum; in hundredths, as `Mark`."""

    x1: float
    y1: float
    x2: float
    y2: float


class Window(Struct, frozen=True):
    """The sum of the failures over time, and the threshold."""

    marks: tuple[Mark, ...]
    steps: tuple[Step, ...]
    #: How often each kind is in the window, and its sign.
    kinds: tuple[tuple[str, int, str], ...]
    #: What the failures weigh now, by the weights of the policy.
    weight: int
    threshold: int
    threshold_y: float
    start_ms: int
    end_ms: int

    @classmethod
    def of(cls, snapshot: Snapshot, policy: Policy) -> "Window":
        """Draw the window that ends now."""
        failures = snapshot.recent_failures
        start_ms = snapshot.now_ms - policy.window_ms
        weights = [policy.weights.get(failure.kind, 1) for failure in failures]
        top = max(policy.failure_threshold, sum(weights)) * _ABOVE
        marks, weight = [], 0
        for failure, weighs in zip(failures, weights, strict=True):
            weight += weighs
            x = min(max(100 * (failure.at_ms - start_ms) / policy.window_ms, 0), 100)
            y = 100 - 100 * weight / top
            marks.append(Mark(failure, round(x, 2), round(y, 2), _shape(failure.kind)))
        counts = Counter(failure.kind for failure in failures)
        return cls(
            marks=tuple(marks) if len(marks) <= _MARKS_MAX else (),
            steps=_steps(marks),
            kinds=tuple((kind, count, _shape(kind)) for kind, count in counts.most_common()),
            weight=weight,
            threshold=policy.failure_threshold,
            threshold_y=round(100 - 100 * policy.failure_threshold / top, 2),
            start_ms=start_ms,
            end_ms=snapshot.now_ms,
        )


def _steps(marks: Sequence[Mark]) -> tuple[Step, ...]:
    """Return the line through the marks, and on until now."""
    if not marks:
        return ()
    every = -(-len(marks) // _STEPS_MAX)
    x, y = 0.0, 100.0
    steps = []
    for mark in (*marks[::every], marks[-1]):
        steps += [Step(x, y, mark.x, y), Step(mark.x, y, mark.x, mark.y)]
        x, y = mark.x, mark.y
    return (*steps, Step(x, y, 100.0, y))


def _shape(kind: str) -> str:
    return SHAPES.get(kind, SHAPES[COUNTED_KINDS[0]])
