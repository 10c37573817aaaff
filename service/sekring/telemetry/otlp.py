"""Metrics in the SDK's words, as its OTLP exporters take them."""

from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry.sdk.metrics import Exemplar as OtelExemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from sekring.telemetry.families import Buckets, Exemplar, Family

__all__ = ["metrics_data"]

#: The attribute that is a number by the semantic conventions.
_NUMBER: Final = "http.response.status_code"

_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE


def metrics_data(
    families: Iterable[Family],
    resource: Resource,
    version: str,
    *,
    since_ns: int,
    now_ns: int,
) -> MetricsData:
    """Return `families`, counted since `since_ns`, as of `now_ns`; totals are cumulative."""
    metrics = [
        Metric(
            name=family.name,
            description=family.description,
            unit=family.unit,
            data=_data(family, since_ns, now_ns),
        )
        for family in families
        if family.points or family.buckets
    ]
    scope = ScopeMetrics(InstrumentationScope("sekring", version), metrics, schema_url="")
    of_resource = ResourceMetrics(resource, [scope], schema_url=resource.schema_url)
    return MetricsData([of_resource])


def _data(family: Family, since_ns: int, now_ns: int) -> Sum | Gauge | Histogram:
    if family.kind == "histogram":
        return Histogram(
            [_histogram_point(family, one, since_ns, now_ns) for one in family.buckets],
            _CUMULATIVE,
        )
    points = [
        NumberDataPoint(_attributes(family.labels, one.labels), since_ns, now_ns, one.value)
        for one in family.points
    ]
    if family.kind == "counter":
        return Sum(points, _CUMULATIVE, is_monotonic=True)
    return Gauge(points)


def _histogram_point(
    family: Family, one: Buckets, since_ns: int, now_ns: int
) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=_attributes(family.labels, one.labels),
        start_time_unix_nano=since_ns,
        time_unix_nano=now_ns,
        count=sum(one.counts),
        sum=one.sum,
        bucket_counts=one.counts,
        explicit_bounds=family.bounds,
        # Optional in the protocol, and not kept here; the SDK's types have no word for that.
        min=None,  # type: ignore[arg-type]
        max=None,  # type: ignore[arg-type]
        exemplars=[_exemplar(exemplar) for exemplar in one.exemplars if exemplar],
    )


def _attributes(names: Sequence[str], values: Sequence[str]) -> dict[str, str | int]:
    return {
        name: int(value) if name == _NUMBER else value
        for name, value in zip(names, values, strict=True)
        if value
    }


def _exemplar(exemplar: Exemplar) -> OtelExemplar:
    return OtelExemplar(
        {},
        exemplar.value,
        exemplar.at_ns,
        span_id=int(exemplar.span_id, 16),
        trace_id=int(exemplar.trace_id, 16),
    )
