"""What is provisioned fits together: each part finds the others where they listen."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.promql import parse

_DEPLOY = Path(__file__).parents[2] / "deploy"


def _read(name: str) -> dict[str, Any]:
    return msgspec.yaml.decode((_DEPLOY / name).read_bytes(), type=dict[str, Any])


_COLLECTOR = _read("otel/collector.yaml")
_TEMPO = _read("tempo/tempo.yaml")
_LOKI = _read("loki/loki.yaml")
_SOURCES = {
    one["uid"]: one for one in _read("grafana/provisioning/datasources/sekring.yaml")["datasources"]
}

#: Where each service listens, by its own configuration; Prometheus by its default.
_LISTENS = {
    ("prometheus", 9090),
    ("tempo", _TEMPO["server"]["http_listen_port"]),
    (
        "tempo",
        urlsplit(
            "//" + _TEMPO["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
        ).port,
    ),
    ("loki", _LOKI["server"]["http_listen_port"]),
}


def _address(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url if "//" in url else f"//{url}")
    return parts.hostname, parts.port


class TestCollector:
    def test_uses_what_it_declares_and_nothing_else(self) -> None:
        pipelines = _COLLECTOR["service"]["pipelines"].values()
        for kind in ("receivers", "processors", "exporters"):
            used = {name for pipeline in pipelines for name in pipeline[kind]}
            assert used == set(_COLLECTOR[kind])
        assert set(_COLLECTOR["service"]["extensions"]) == set(_COLLECTOR["extensions"])

    @pytest.mark.parametrize("pipeline", ["traces", "metrics", "metrics/redis", "logs"])
    def test_limits_memory_first_and_batches_last(self, pipeline: str) -> None:
        processors = _COLLECTOR["service"]["pipelines"][pipeline]["processors"]
        assert processors[0] == "memory_limiter"
        assert processors[-1] == "batch"

    def test_sends_to_where_the_others_listen(self) -> None:
        urls = [
            value
            for exporter in _COLLECTOR["exporters"].values()
            for key, value in exporter.items()
            if key.endswith("endpoint")
        ]
        assert len(urls) == len(_COLLECTOR["exporters"])
        assert {_address(url) for url in urls} <= _LISTENS


class TestDataSources:
    def test_are_where_the_services_listen(self) -> None:
        assert {_address(source["url"]) for source in _SOURCES.values()} <= _LISTENS

    def test_lead_to_each_other(self) -> None:
        named = re.findall(r"datasourceUid': '(\w+)'", str(_SOURCES))
        assert set(named) == {"tempo", "loki", "prometheus"}

    def test_ask_in_promql_for_metrics_of_a_span(self) -> None:
        tempo = _SOURCES["tempo"]["jsonData"]["tracesToMetrics"]
        # Grafana's provisioning takes $$ for $.
        for query in tempo["queries"]:
            parse(query["query"].replace("$$__tags", 'http_route="/"').replace("$$", "$"))

    def test_find_the_trace_id_in_a_log_line(self) -> None:
        label, line = _SOURCES["loki"]["jsonData"]["derivedFields"]
        assert re.fullmatch(label["matcherRegex"], "trace_id")
        found = re.search(
            line["matcherRegex"], '{"trace_id": "' + "0af7" * 8 + '", "level": "info"}'
        )
        assert found
        assert found[1] == "0af7" * 8


def test_what_is_kept_is_kept_as_long_for_traces_as_for_logs() -> None:
    kept = _LOKI["limits_config"]["retention_period"]
    assert _TEMPO["backend_worker"]["compaction"]["block_retention"] == kept
    assert _LOKI["compactor"]["retention_enabled"]
