"""What is to be shown: each figure's target, the table of them, and whether one got worse."""

from collections.abc import Mapping

from msgspec import Struct

from loadtest.chart import Bar, bars
from loadtest.figures import Ratio

__all__ = ["TARGETS", "Target", "plot", "table", "worse"]

#: What a figure may differ by without being worse, whatever the rounds say of their spread: they
#: were all taken within minutes, and a machine changes from day to day.
_TOLERANCE = 0.05

#: From here on a value is shown without digits behind the point.
_LONG = 1_000

#: So many standard errors are no accident.
_ERRORS = 3


class Target(Struct, frozen=True):
    """A ratio, and what it should be at least, or at most."""

    what: str
    against: str
    wanted: float
    at_most: bool = False

    def met_by(self, value: float) -> bool:
        """Tell whether a value is good enough."""
        return value <= self.wanted if self.at_most else value >= self.wanted


_NOOP = "a route that does nothing"

#: By the names under which the parts keep their figures.
TARGETS: dict[str, Target] = {
    "permit_open": Target("permit, open, from the view", _NOOP, 1.2),
    "permit_open_body": Target("permit, open, with a body", _NOOP, 1.2),
    "permit_closed": Target("permit, closed, from the view", _NOOP, 1.2),
    "report": Target("report, one a request", _NOOP, 0.8),
    "batch": Target("report, batches of 100, each", "redis-benchmark -P 16, same script", 0.5),
    "redis_cost": Target("Redis CPU per report", "a bare sliding window", 2.0, at_most=True),
    "guarded_success": Target("guarded success, Python client", "pybreaker on Redis", 100),
    "guarded_failure": Target("guarded failure, Python client", "pybreaker on Redis", 3),
    "permit_p99": Target(
        "permit p99 at 70 % of the lower peak", f"{_NOOP}, at that rate", 1.5, at_most=True
    ),
    "memory_1e5": Target("bytes in Redis per failing one of 10^5", "-", 1_200, at_most=True),
    "memory_1e6": Target("bytes in Redis per failing one of 10^6", "-", 1_200, at_most=True),
    "health": Target(
        "/health at 10^6 instances, 10^4 failing", "at 10^3 instances", 3, at_most=True
    ),
    "two_processes": Target("permit, two service processes", "one, on cores of their own", 1.8),
    "two_processes_cpu": Target(
        "permit, CPU of two service processes", "of one, on the same core", 1.1, at_most=True
    ),
}


def table(found: Mapping[str, Ratio]) -> str:
    """Lay out what was measured beside its targets, those not measured left out."""
    lines = [f"{'what':<42}{'against':<38}{'measured':>10}{'target':>12}"]
    for name, target in TARGETS.items():
        if name not in found:
            continue
        value = found[name].median
        verdict = "ok" if target.met_by(value) else "short"
        wanted = f"{'<=' if target.at_most else '>='} {target.wanted:,g}"
        lines.append(f"{target.what:<42}{target.against:<38}{value:>10,.4g}{wanted:>12}  {verdict}")
    return "\n".join(lines)


def plot(found: Mapping[str, Ratio], note: str) -> str:
    """Draw how many times better than its target each figure is."""
    rows = []
    for name, target in TARGETS.items():
        if name in found:
            value = found[name].median
            times = target.wanted / value if target.at_most else value / target.wanted
            shown = f"{value:,.3g}" if value < _LONG else f"{value:,.0f}"
            bound = "at most" if target.at_most else "at least"
            text = f"{shown} ({bound} {target.wanted:,g})"
            rows.append(Bar(target.what, times, text, colour=int(target.met_by(value))))
    title = "What was to be shown, as a multiple of its target (logarithmic; orange: short of it)"
    return bars(rows, title=title, note=note, mark=1, mark_name="the target")


def worse(stored: Mapping[str, Ratio], found: Mapping[str, Ratio]) -> list[str]:
    """Say of each figure that got worse by more than chance explains, how.

    Chance is three standard errors of the difference, from the spread of the rounds of both runs
    (each round has servers of its own), and at least 5 %.
    """
    lines = []
    for name, target in TARGETS.items():
        if name not in stored or name not in found:
            continue
        before, now = stored[name], found[name]
        allowed = max(_TOLERANCE * before.median, _ERRORS * (before.error**2 + now.error**2) ** 0.5)
        lost = now.median - before.median if target.at_most else before.median - now.median
        if lost > allowed:
            lines.append(
                f"{target.what} (against {target.against}): {now.median:,.4g}, was"
                f" {before.median:,.4g}; chance explains {allowed:,.2g}"
            )
    return lines
