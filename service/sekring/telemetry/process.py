"""What this process takes of its machine, by the names that Prometheus' clients have for it."""

from collections.abc import Iterator

from prometheus_client import ProcessCollector

from sekring.telemetry.families import Family, Point

__all__ = ["process_families"]


def process_families() -> Iterator[Family]:
    """Yield CPU time, memory, open files and the start; nothing where there is no `/proc`."""
    for metric in ProcessCollector(registry=None).collect():
        yield Family(
            name=metric.name,
            kind="counter" if metric.type == "counter" else "gauge",
            description=metric.documentation,
            points=[Point((), sample.value) for sample in metric.samples],
        )
