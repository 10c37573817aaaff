"""The forms of PromQL that the dashboards ask in.

What is true of the whole fleet every replica tells alike (`fleet`: the greatest of them); what each
counts for itself is added up (`total`, `per_second`, `grown`, `quantile`) or taken from the worst
of its server processes (`worst`). `where` is more label matchers, `by` the labels that stay.
"""

__all__ = ["fleet", "grown", "per_second", "quantile", "total", "worst"]


def fleet(metric: str, where: str = "", by: str = "") -> str:
    """Return a fleet-wide gauge, by the labels `by`."""
    return f"max{_by(by)}({metric}{_of(where)})"


def worst(metric: str, where: str = "") -> str:
    """Return the greatest value of each replica, whose server processes have one each."""
    return f"max by (instance) ({metric}{_of(where)})"


def total(metric: str, where: str = "", by: str = "") -> str:
    """Return the sum of a gauge that each process has for itself."""
    return f"sum{_by(by)}({metric}{_of(where)})"


def per_second(counter: str, where: str = "", by: str = "", over: str = "$__rate_interval") -> str:
    """Return how fast a counter grows, all processes together."""
    return f"sum{_by(by)}(rate({counter}{_of(where)}[{over}]))"


def grown(counter: str, where: str = "", by: str = "", over: str = "$__rate_interval") -> str:
    """Return by how much a counter grew, all processes together."""
    return f"sum{_by(by)}(increase({counter}{_of(where)}[{over}]))"


def quantile(q: float, histogram: str, where: str = "", by: str = "") -> str:
    """Return a quantile of a histogram (its name without `_bucket`), by the labels `by`."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {per_second(histogram + '_bucket', where, labels)})"


def _of(where: str) -> str:
    return '{job="$job"' + (f", {where}" if where else "") + "}"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""
