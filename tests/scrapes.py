"""A scrape of `/metrics`, read by Prometheus' own parsers."""

import contextlib
from collections.abc import Iterable, Iterator
from http.client import HTTPConnection

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as plain_families
from prometheus_client.samples import Sample

from tests.servers import wait_until
from tests.serving import ServiceProcess

__all__ = ["OPENMETRICS", "Scrape", "moves", "scrape"]

#: What Prometheus 2.42 asks for.
OPENMETRICS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


class Scrape:
    """All samples of one answer."""

    def __init__(self, media_type: str, text: str) -> None:
        """Parse it; what is not in order raises."""
        self.media_type = media_type
        self.text = text
        opened = self.media_type.startswith("application/openmetrics-text")
        self.families: list[Metric] = list((open_families if opened else plain_families)(self.text))

    def samples(self, name: str, **labels: str) -> Iterator[Sample]:
        """Yield the samples of that name that have these labels."""
        for family in self.families:
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    yield sample

    def value(self, name: str, **labels: str) -> float | None:
        """Return the sum of these samples; `None` where there is none."""
        values = [sample.value for sample in self.samples(name, **labels)]
        return sum(values) if values else None

    def trace_ids(self, name: str, **labels: str) -> set[str]:
        """Return the traces that a histogram's exemplars name."""
        return {
            sample.exemplar.labels["trace_id"]
            for sample in self.samples(f"{name}_bucket", **labels)
            if sample.exemplar
        }


def scrape(service: ServiceProcess, accept: str = "text/plain") -> Scrape:
    """Ask a service for its metrics."""
    # Not httpx, for which each call would read the machine's certificates.
    connection = HTTPConnection("127.0.0.1", service.port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics", headers={"accept": accept})
        answer = connection.getresponse()
        text = answer.read().decode()
    assert answer.status == 200, text
    return Scrape(answer.headers["content-type"], text)


def moves(service: ServiceProcess, name: str, to: float, **labels: str) -> None:
    """Wait until a metric has a value; fail with what it has instead."""
    seen: list[float | None] = []

    def is_there() -> bool:
        seen.append(scrape(service).value(name, **labels))
        return seen[-1] == to

    try:
        wait_until(is_there, f"{name}{labels} to be {to}")
    except AssertionError as error:
        raise AssertionError(f"{error}; it was {_changes(seen)}") from None


def _changes(values: Iterable[float | None]) -> list[float | None]:
    """Leave out what is as before."""
    kept: list[float | None] = []
    for value in values:
        if not kept or kept[-1] != value:
            kept.append(value)
    return kept
