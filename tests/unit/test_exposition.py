"""From what is counted to what Prometheus and a collector read."""

import pytest
from opentelemetry.sdk.metrics.export import Gauge, Histogram, Sum
from opentelemetry.sdk.resources import Resource

from sekring.errors import SettingsError
from sekring.telemetry.environment import Otel
from sekring.telemetry.exposition import expose
from sekring.telemetry.meters import Meters
from sekring.telemetry.otlp import metrics_data
from sekring.telemetry.spans import Span, Trace
from tests.scrapes import Scrape

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

#: A W3C trace id and a span id, as a number each.
TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7


def samples(meters: Meters) -> dict[str, float]:
    """Return the lines of the exposition, `name{labels}` and value."""
    text, media_type = expose(meters.gather(), OPENMETRICS)
    found = {}
    for family in Scrape(media_type, text.decode()).families:
        for one in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(one.labels.items()))
            found[f"{one.name}{{{labels}}}"] = one.value
    return found


def exported_span() -> Span:
    span = Span("", Trace(TRACE, "", lambda _: None, sampled=True))
    span.id = SPAN
    return span


def test_a_counter_ends_with_total_and_begins_at_zero() -> None:
    meters = Meters()
    permits = meters.counter("sekring.permits", "Permits.", ["source"], known=[("view",)])
    permits["redis",] += 3
    assert samples(meters) == {
        "sekring_permits_total{source=view}": 0,
        "sekring_permits_total{source=redis}": 3,
    }


def test_a_unit_is_written_out() -> None:
    meters = Meters()
    meters.gauge("sekring.view.staleness", "Age.", lambda: 1.5, unit="s")
    assert samples(meters) == {"sekring_view_staleness_seconds{}": 1.5}


def test_a_gauge_of_which_nothing_is_known_has_no_value() -> None:
    meters = Meters()
    meters.gauge("sekring.instances", "Instances.", lambda: None)
    assert samples(meters) == {}


def test_a_label_without_a_value_is_left_out() -> None:
    meters = Meters()
    meters.counter("sekring.calls", "Calls.", ["script", "error.type"])["permit", ""] += 1
    assert samples(meters) == {"sekring_calls_total{script=permit}": 1}


def test_whatever_is_in_a_label_can_be_read_again() -> None:
    meters = Meters()
    odd = 'a "quoted" \\ back\nslash'
    meters.counter("sekring.calls", "Calls.", ["script"])[odd,] += 1
    assert samples(meters) == {f"sekring_calls_total{{script={odd}}}": 1}


def test_buckets_are_cumulated_and_their_bounds_inclusive() -> None:
    meters = Meters()
    waits = meters.histogram("sekring.wait", "Waits.", ["result"], bounds=[0.1, 1])
    for wait_s in (0.05, 0.1, 0.5, 3):
        waits.record(wait_s, ("shown",))
    assert samples(meters) == {
        "sekring_wait_seconds_bucket{le=0.1,result=shown}": 2,
        "sekring_wait_seconds_bucket{le=1.0,result=shown}": 3,
        "sekring_wait_seconds_bucket{le=+Inf,result=shown}": 4,
        "sekring_wait_seconds_count{result=shown}": 4,
        "sekring_wait_seconds_sum{result=shown}": pytest.approx(3.65),
    }


def test_the_latest_exported_span_of_a_bucket_is_its_exemplar() -> None:
    meters = Meters()
    waits = meters.histogram("sekring.wait", "Waits.", [], bounds=[1])
    waits.record(0.25, (), exported_span())
    waits.record(0.5, (), Span("", Trace(1, "", lambda _: None, sampled=False)))
    waits.record(0.75, ())

    (family,) = meters.gather()
    first, last = family.buckets[0].exemplars
    assert last is None
    assert first is not None
    assert (first.value, first.trace_id) == (0.25, f"{TRACE:032x}")
    text = expose([family], OPENMETRICS)[0].decode()
    assert f'# {{span_id="{SPAN:016x}",trace_id="{TRACE:032x}"}} 0.25' in text
    assert "trace_id" not in expose([family], "text/plain")[0].decode()


def test_a_collector_gets_the_same() -> None:
    meters = Meters()
    meters.counter("sekring.permits", "Permits.", ["source"])["view",] += 3
    meters.gauge("sekring.degraded", "Alone.", lambda: True)
    requests = meters.histogram(
        "http.server.request.duration",
        "Requests.",
        ["http.route", "http.response.status_code"],
        bounds=[1],
    )
    requests.record(0.25, ("/live", "200"), exported_span())
    meters.gauge("sekring.instances", "Instances.", lambda: None)

    resource = Resource({"service.name": "sekring"})
    data = metrics_data(meters.gather(), resource, "1.0", since_ns=5, now_ns=9)

    (of_resource,) = data.resource_metrics
    assert of_resource.resource is resource
    permits, degraded, durations = of_resource.scope_metrics[0].metrics
    assert isinstance(permits.data, Sum)
    assert permits.data.is_monotonic
    (point,) = permits.data.data_points
    assert (point.attributes, point.value) == ({"source": "view"}, 3)
    assert (point.start_time_unix_nano, point.time_unix_nano) == (5, 9)
    assert isinstance(degraded.data, Gauge)
    assert [one.value for one in degraded.data.data_points] == [1]
    assert isinstance(durations.data, Histogram)
    assert durations.unit == "s"
    (bucket,) = durations.data.data_points
    assert bucket.attributes == {"http.route": "/live", "http.response.status_code": 200}
    assert (bucket.count, list(bucket.bucket_counts)) == (1, [1, 0])
    assert [(one.trace_id, one.span_id) for one in bucket.exemplars] == [(TRACE, SPAN)]


@pytest.mark.parametrize("said", ["soon", "0", "-1", "inf", "nan"])
def test_an_impossible_interval_is_refused(said: str) -> None:
    otel = Otel({"OTEL_METRIC_EXPORT_INTERVAL": said}, "sekring", "1.0")
    with pytest.raises(SettingsError, match="OTEL_METRIC_EXPORT_INTERVAL: got"):
        _ = otel.metric_interval_s


def test_metrics_are_pushed_once_a_minute_unless_something_else_is_said() -> None:
    assert Otel({}, "sekring", "1.0").metric_interval_s == 60
    said = {"OTEL_METRIC_EXPORT_INTERVAL": "5000"}
    assert Otel(said, "sekring", "1.0").metric_interval_s == 5
