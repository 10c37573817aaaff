"""Every query of the dashboards and rules names what a service or a gateway really exposes."""

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.gateways import GatewayProcess, phases, wish
from tests.promql import Asked, asked, rules
from tests.servers import RedisServer, free_port, wait_until
from tests.serving import ServiceProcess

#: By the name of a sample, the values that each of its labels was seen with.
Exposed: TypeAlias = Mapping[str, Mapping[str, set[str]]]

#: What Prometheus adds to everything that it scrapes.
_ADDED = {"job", "instance"}

#: Prometheus' own.
_OF_PROMETHEUS = {
    "up": {},
    "ALERTS": {"alertname": {"SekringDown"}, "alertstate": {"firing"}},
}

#: The collector's redis receiver, by its documentation.md (opentelemetry-collector-contrib), in the
#: form that Prometheus gives to names of OTLP: dots to underscores, the unit, `_total`.
_OF_COLLECTOR = {
    "redis_clients_connected": {},
    "redis_commands_processed_total": {},
    "redis_cpu_time_seconds_total": {"state": {"sys", "user", "sys_children", "user_children"}},
    "redis_db_expires": {"db": {"0"}},
    "redis_db_keys": {"db": {"0"}},
    "redis_keys_evicted_total": {},
    "redis_memory_rss_bytes": {},
    "redis_memory_used_bytes": {},
    "redis_slaves_connected": {},
}


def scrape(url: str) -> Exposed:
    exposed: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    text = httpx.get(f"{url}/metrics", timeout=30).raise_for_status().text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = exposed[sample.name]
            for label, value in sample.labels.items():
                labels[label].add(value)
    return exposed


def merged(*parts: Exposed) -> Exposed:
    whole: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for part in parts:
        for name, labels in part.items():
            for label, values in labels.items():
                whole[name][label] |= values
            whole[name].default_factory = set
    return whole


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Exposed:
    """What a service and a gateway expose after they had something of everything to do."""
    folder = tmp_path_factory.mktemp("queries")
    probe = free_port()
    with (
        RedisServer(folder) as server,
        ServiceProcess(server.url, workers=2, qr_wait_ms=1_000) as service,
        GatewayProcess("a", service.url, folder, gateway_probe_port=probe) as gateway,
        httpx.Client(base_url=service.url, timeout=30) as http,
    ):
        # Patient like the clients: on a busy machine Redis may be late, and then it is a 503.
        work = [_refuse_for_the_fleet, _trip, _show_no_qr, _listen]
        for step in work:
            wait_until(lambda step=step: step(http), step.__name__.lstrip("_"), 60)
        wish(service.url, ["s"])
        wait_until(lambda: phases(service.url).get("s") == "connected", "a session", 60)
        wait_until(lambda: "sekring_leases" in scrape(service.url), "the fleet's figures", 60)
        of_gateway = scrape(f"http://127.0.0.1:{probe}")
        healthy = scrape(service.url)
        gateway.kill()
        server.kill()
        wait_until(lambda: _miss_redis(http), "calls to fail", 60)
        return merged(_OF_PROMETHEUS, _OF_COLLECTOR, of_gateway, healthy, scrape(service.url))


def _refuse_for_the_fleet(http: httpx.Client) -> bool:
    http.put("/v1/policy", json={"fleet_guard": {"rate_per_s": 1, "burst": 1}})
    http.post("/v1/guard/trip", json={"reason": "test"})
    answers = [http.post(f"/v1/instances/g{number}/attempts", json={}) for number in range(20)]
    http.post("/v1/guard/reset", json={"reason": "test"})
    return any(answer.json().get("cause") == "fleet" for answer in answers)


def _trip(http: httpx.Client) -> bool:
    failure = {"outcome": "failure", "kind": "timeout"}
    verdicts = [http.post("/v1/instances/t/outcomes", json=failure) for _ in range(15)]
    return any(verdict.json().get("why") == "open" for verdict in verdicts) or (
        verdicts[-1].json().get("tripped") is True
    )


def _show_no_qr(http: httpx.Client) -> bool:
    # A breaker that an operator holds open asks no gateway.
    return http.get("/get_qrcode", params={"instance_id": "q"}).status_code in {200, 503, 504}


def _listen(http: httpx.Client) -> bool:
    with http.stream("GET", "/v1/events") as stream:
        return stream.status_code == 200


def _miss_redis(http: httpx.Client) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        refused = http.post("/v1/instances/t/reset", json={"reason": "test"})
        seen = scrape(str(http.base_url))["db_client_operation_duration_seconds_count"]
        return refused.status_code == 503 and bool(seen["error_type"])
    return False


def faults(one: Asked, exposed: Exposed) -> Iterator[str]:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    if one.name in recorded:
        return
    if one.name not in exposed:
        yield f"{one.where}: nothing exposes {one.name}"
        return
    labels = exposed[one.name]
    for label in one.labels - _ADDED:
        if not labels[label]:
            yield f"{one.where}: {one.name} has no label {label}"
    for label, pattern, has_to_match in one.demands:
        seen = set() if label in _ADDED else labels[label]
        if has_to_match and seen and not any(re.fullmatch(pattern, value) for value in seen):
            yield f"{one.where}: no {label} of {one.name} is like {pattern}, of {sorted(seen)}"


def test_queries_name_what_is_exposed(exposed: Exposed) -> None:
    found = asked()
    assert len(found) > 150
    assert sorted({fault for one in found for fault in faults(one, exposed)}) == []


def test_a_query_of_something_else_would_be_found(exposed: Exposed) -> None:
    wrong = [
        Asked("sekring_permit_total", frozenset(), (), "a"),
        Asked("sekring_permits_total", frozenset({"sauce"}), (), "b"),
        Asked("sekring_breakers", frozenset({"state"}), (("state", "opened", True),), "c"),
    ]
    told = [fault for one in wrong for fault in faults(one, exposed)]
    assert [fault[:1] for fault in told] == ["a", "b", "c"]


def test_what_is_exposed_is_looked_at(exposed: Exposed) -> None:
    """A figure that no page and no rule asks for is left out on purpose, or forgotten."""
    families = {
        re.sub(r"_(bucket|count|sum|created)$", "", name)
        for name in exposed
        if name.startswith(("sekring_", "http_", "db_"))
    }
    looked_at = {re.sub(r"_(bucket|count|sum)$", "", one.name) for one in asked()}
    assert families - looked_at == set()
