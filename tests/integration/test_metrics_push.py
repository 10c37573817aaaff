"""Metrics pushed by OTLP: the same ones as `/metrics` tells, with the traces of their exemplars."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.otlp import Collector, Protocol
from tests.replicas import Replica
from tests.scrapes import scrape
from tests.servers import RedisServer, wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"

OUTCOMES = "/v1/instances/{instance_id}/outcomes"


def is_pushed(condition: Callable[[], object], what: str) -> None:
    """Wait for a push after which it is so."""
    wait_until(condition, what, seconds=30)


def value(points: list[Any]) -> float:
    """Return the sum of some points."""
    return float(sum(getattr(point, point.WhichOneof("value")) for point in points))


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_all_that_is_exposed_is_pushed(redis_process: RedisServer, protocol: Protocol) -> None:
    with Collector(protocol) as collector:
        settings = {"OTEL_METRIC_EXPORT_INTERVAL": 200, "OTEL_SERVICE_NAME": "fuse"}
        with Replica(redis_process.url, **collector.settings, **settings) as replica:
            name = f"pushed-{protocol.partition('/')[0]}"
            replica.fail(name, 15)
            replica.permit(name)
            body = {"outcome": "failure", "kind": "dns", "id": "last"}
            url = f"{replica.url}/v1/instances/{name}/outcomes"
            httpx.post(url, json=body, headers={"traceparent": TRACEPARENT}).raise_for_status()

            counted = {"kind": "websocket", "why": "counted"}
            is_pushed(lambda: value(collector.points("sekring.outcomes", **counted)) == 15, "all")
            transition = {"from": "closed", "to": "open", "cause": "failures"}
            assert value(collector.points("sekring.transitions", **transition)) == 1
            is_pushed(lambda: value(collector.points("sekring.breakers", state="open")), "a trip")
            requests = {"http__route": OUTCOMES, "http__response__status_code": 200}
            (duration,) = collector.points("http.server.request.duration", **requests)
            is_pushed(
                lambda: (
                    TRACE
                    in {
                        exemplar.trace_id.hex()
                        for point in collector.points("http.server.request.duration", **requests)
                        for exemplar in point.exemplars
                    }
                ),
                "the exemplar",
            )
            assert len(duration.bucket_counts) == len(duration.explicit_bounds) + 1
            assert 0 < duration.start_time_unix_nano < duration.time_unix_nano
            assert not duration.HasField("min")
            assert collector.metrics["http.server.request.duration"].unit == "s"
            assert collector.metrics["sekring.outcomes"].sum.is_monotonic
            assert collector.resource["service.name"] == "fuse"

            exposed = {family.name for family in scrape(replica).families if family.samples}
            pushed = {_exposed_name(name, metric) for name, metric in collector.metrics.items()}
            assert {name for name in exposed if not name.startswith("process_")} == pushed

            collector.metrics.clear()
            replica.permit(name)
        # It was stopped; what it counted last was pushed on the way.
        assert value(collector.points("sekring.refusals", cause="failures")) == 2


def _exposed_name(name: str, metric: Any) -> str:
    unit = {"s": "_seconds"}.get(metric.unit, "")
    return name.replace(".", "_") + unit


def test_a_collector_that_is_away_costs_nothing(redis_process: RedisServer) -> None:
    collector = Collector("http/protobuf")  # which does not listen
    # The exporter's own patience, with its retries, in seconds.
    settings = {"OTEL_METRIC_EXPORT_INTERVAL": 100, "OTEL_EXPORTER_OTLP_TIMEOUT": 1}
    with Replica(redis_process.url, **collector.settings, **settings) as replica:
        wait_until(lambda: "no metrics arrive" in replica.log_text(), "it to be said", seconds=30)
        assert replica.permit("without-collector")["permitted"]
        assert scrape(replica).value("sekring_permits_total") == 1

        with collector:
            is_pushed(lambda: value(collector.points("sekring.permits")) == 1, "what was missed")
            wait_until(lambda: "metrics arrive at the" in replica.log_text(), "it to be said")
        assert replica.log_text().count("no metrics arrive") == 1
