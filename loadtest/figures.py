"""Arithmetic of measurements: ratios within a round, medians, spread, slopes."""

import math
import statistics
from collections.abc import Sequence

from msgspec import Struct

__all__ = ["Ratio", "slope"]

#: From the median absolute deviation to a standard deviation, and from that of single values to
#: that of their median (both for a normal distribution).
_SIGMA = 1.4826
_OF_MEDIAN = 1.2533


class Ratio(Struct, frozen=True):
    """What was measured in several rounds, in each against something of the same round."""

    median: float
    least: float
    most: float
    rounds: list[float]

    @classmethod
    def of(cls, rounds: Sequence[float]) -> "Ratio":
        """Sum up rounds, of which there is at least one."""
        kept = [_rounded(one) for one in rounds]
        return cls(_rounded(statistics.median(kept)), min(kept), max(kept), kept)

    @classmethod
    def between(cls, these: Sequence[float], those: Sequence[float]) -> "Ratio":
        """Divide round by round."""
        return cls.of([one / other for one, other in zip(these, those, strict=True)])

    @property
    def error(self) -> float:
        """Standard error of the median, from how far the rounds lie apart.

        From the median absolute deviation: one round on a busy machine does not make it large. A
        single round says nothing of it: 0.
        """
        deviation = statistics.median(abs(one - self.median) for one in self.rounds)
        return _SIGMA * _OF_MEDIAN * deviation / math.sqrt(len(self.rounds))


def slope(times: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return the growth of `values` per unit of time, and the least that tells it from noise.

    By Theil and Sen: the median of the slopes between all pairs, which single peaks do not move.
    The second is three standard errors of the line through what is left of the values without it.
    """
    pairs = [
        (values[j] - values[i]) / (times[j] - times[i])
        for i in range(len(times))
        for j in range(i + 1, len(times))
    ]
    growth = statistics.median(pairs)
    middle = statistics.fmean(times)
    left = [value - growth * time for time, value in zip(times, values, strict=True)]
    spread = statistics.pstdev(left)
    return growth, 3 * spread / math.sqrt(sum((time - middle) ** 2 for time in times))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
