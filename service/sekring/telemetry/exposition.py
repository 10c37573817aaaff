"""Metrics as Prometheus reads them: its text format 0.0.4, or OpenMetrics with exemplars.

Names follow "Prometheus and OpenMetrics Compatibility" of OpenTelemetry's specification: dots
become underscores, the unit is appended in full, and `_total` to a counter.
"""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as PrometheusExemplar

from sekring.telemetry.families import Buckets, Exemplar, Family

__all__ = ["expose"]

#: UCUM's units in words.
_UNITS = {"s": "seconds", "By": "bytes", "": ""}


def expose(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """Return the text and its media type: the one that `accept`, a header, asks for."""
    encode, media_type = choose_encoder(accept)
    return encode(_Families(families)), media_type


class _Families(Collector):
    """Hands families to `prometheus_client`'s encoders, which take a registry."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return map(_metric, self._families)


def _metric(family: Family) -> Metric:
    name = family.name.replace(".", "_")
    # It appends the unit to the name, unless that ends with it.
    metric = Metric(name, family.description, family.kind, _UNITS[family.unit])
    names = [label.replace(".", "_") for label in family.labels]
    suffix = "_total" if family.kind == "counter" else ""
    for point in family.points:
        metric.add_sample(metric.name + suffix, _labels(names, point.labels), point.value)
    for buckets in family.buckets:
        _add_buckets(metric, _labels(names, buckets.labels), family.bounds, buckets)
    return metric


def _labels(names: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    """Name the values; an empty one means to Prometheus that there is none."""
    return {name: value for name, value in zip(names, values, strict=True) if value}


def _add_buckets(
    metric: Metric, labels: dict[str, str], bounds: Iterable[float], buckets: Buckets
) -> None:
    cumulated = 0
    upper = [str(float(bound)) for bound in bounds] + ["+Inf"]
    for bound, count, exemplar in zip(upper, buckets.counts, buckets.exemplars, strict=True):
        cumulated += count
        metric.add_sample(
            f"{metric.name}_bucket",
            {**labels, "le": bound},
            cumulated,
            exemplar=_exemplar(exemplar) if exemplar else None,
        )
    metric.add_sample(f"{metric.name}_count", labels, cumulated)
    metric.add_sample(f"{metric.name}_sum", labels, buckets.sum)


def _exemplar(exemplar: Exemplar) -> PrometheusExemplar:
    labels = {"trace_id": exemplar.trace_id, "span_id": exemplar.span_id}
    return PrometheusExemplar(labels, exemplar.value, exemplar.at_ns / 1e9)
