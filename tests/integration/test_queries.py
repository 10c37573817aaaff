"""Every query of the dashboards and rules names what a service or a gateway really exposes."""

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import httpx
import msgspec
import pytest

from tests.gateways import GatewayProcess, phases, wish
from tests.prometheus import Prometheus, prometheus_on
from tests.promql import Asked, asked, dashboards, plain, queries, rules
from tests.scrapes import Scrape, scrape
from tests.servers import RedisServer, free_port, wait_until
from tests.serving import ServiceProcess

#: By the name of a sample, the values that each of its labels was seen with.
Exposed: TypeAlias = dict[str, dict[str, set[str]]]

#: What Prometheus adds to everything that it scrapes, and a service with several server processes.
_ADDED = {"job", "instance", "worker"}

#: Prometheus' own.
_OF_PROMETHEUS: Exposed = {
    "up": {},
    "ALERTS": {"alertname": {"SekringDown"}, "alertstate": {"firing"}},
}

#: The collector's redis receiver, by its documentation.md (opentelemetry-collector-contrib), in the
#: form that Prometheus gives to names of OTLP: dots to underscores, the unit, `_total`.
_OF_COLLECTOR: Exposed = {
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


def seen_in(*scrapes: Scrape) -> Exposed:
    exposed = {name: dict(labels) for name, labels in (_OF_PROMETHEUS | _OF_COLLECTOR).items()}
    for scraped in scrapes:
        for family in scraped.families:
            for sample in family.samples:
                labels = exposed.setdefault(sample.name, {})
                for label, value in sample.labels.items():
                    labels.setdefault(label, set()).add(value)
    return exposed


class Looked(msgspec.Struct):
    """What there was to see."""

    exposed: Exposed
    #: Prometheus' answer to each query, by where that stands and what it says.
    answers: dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Looked:
    """What a service and a gateway expose after they had something of everything to do."""
    folder = tmp_path_factory.mktemp("queries")
    probe = free_port()
    with (
        RedisServer(folder) as server,
        ServiceProcess(server.url, qr_wait_ms=1_000) as service,
        GatewayProcess("a", service.url, folder, gateway_probe_port=probe) as gateway,
        httpx.Client(base_url=service.url, timeout=30) as http,
        prometheus_on(
            folder,
            {
                "sekring": [f"127.0.0.1:{service.port}"],
                "sekring-gateway": [f"127.0.0.1:{probe}"],
            },
        ) as prometheus,
    ):
        # Again and again: on a busy machine Redis may be late, and then the answer is another.
        wait_until(lambda: _refuses_for_the_fleet(http), "a refusal by the guard", 60)
        wait_until(lambda: _trips(http), "a trip", 60)
        wait_until(lambda: _waits_for_a_qr_code(http), "a wait for a QR code", 60)
        wait_until(lambda: _listens(http), "a stream", 60)
        wish(service.url, ["s"])
        wait_until(lambda: phases(service.url).get("s") == "connected", "a session", 60)
        wait_until(lambda: scrape(service).value("sekring_leases"), "the fleet's figures", 60)
        answers = _answers(prometheus, http) if prometheus else {}
        answer = httpx.get(f"http://127.0.0.1:{probe}/metrics", timeout=30).raise_for_status()
        of_gateway = Scrape(answer.headers["content-type"], answer.text)
        healthy = scrape(service)
        gateway.kill()
        server.kill()
        wait_until(lambda: _misses_redis(http, service), "calls to fail", 60)
        return Looked(seen_in(of_gateway, healthy, scrape(service)), answers)


def _answers(prometheus: Prometheus, http: httpx.Client) -> dict[tuple[str, str], dict[str, Any]]:
    def has_seen_some() -> bool:
        # A rate is of what grows between two scrapes.
        http.post("/v1/instances/t/attempts", json={})
        known = (
            "sekring:decision_errors:ratio_rate5m"
            " and on () rate(sekring_gateway_attempts_total[1m])"
        )
        return bool(prometheus.ask(known)["data"]["result"])

    wait_until(has_seen_some, "scrapes and rules", 60)
    return {(where, query): prometheus.ask(plain(query, _job(where))) for where, query in queries()}


def _job(where: str) -> str:
    return "sekring-gateway" if where.startswith("gateways.json") else "sekring"


def _refuses_for_the_fleet(http: httpx.Client) -> bool:
    http.put("/v1/policy", json={"fleet_guard": {"rate_per_s": 1, "burst": 1}})
    http.post("/v1/guard/trip", json={"reason": "test"})
    answers = [http.post(f"/v1/instances/g{number}/attempts", json={}) for number in range(20)]
    http.post("/v1/guard/reset", json={"reason": "test"})
    return any(answer.json().get("cause") == "fleet" for answer in answers)


def _trips(http: httpx.Client) -> bool:
    for _ in range(15):
        http.post("/v1/instances/t/outcomes", json={"outcome": "failure", "kind": "timeout"})
    refused = http.post("/v1/instances/t/attempts", json={}).json()
    return bool(refused.get("cause") == "failures")


def _waits_for_a_qr_code(http: httpx.Client) -> bool:
    return http.get("/get_qrcode", params={"instance_id": "q"}).status_code != 429


def _listens(http: httpx.Client) -> bool:
    with http.stream("GET", "/v1/events") as stream:
        return stream.status_code == 200


def _misses_redis(http: httpx.Client, service: ServiceProcess) -> bool:
    refused = http.post("/v1/instances/t/reset", json={"reason": "test"})
    calls = scrape(service).samples("db_client_operation_duration_seconds_count")
    return refused.status_code == 503 and any("error_type" in call.labels for call in calls)


def faults(one: Asked, exposed: Exposed) -> Iterator[str]:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    if one.name in recorded:
        return
    if one.name not in exposed:
        yield f"{one.where}: nothing exposes {one.name}"
        return
    labels = exposed[one.name]
    for label in one.labels - _ADDED:
        if label not in labels:
            yield f"{one.where}: {one.name} has no label {label}"
    for label, pattern, has_to_match in one.demands:
        seen = set() if label in _ADDED else labels.get(label, set())
        if has_to_match and seen and not any(re.fullmatch(pattern, value) for value in seen):
            yield f"{one.where}: no {label} of {one.name} is like {pattern}, of {sorted(seen)}"


def test_queries_name_what_is_exposed(looked: Looked) -> None:
    found = asked()
    assert len(found) > 150
    assert sorted({fault for one in found for fault in faults(one, looked.exposed)}) == []


def test_a_query_of_something_else_would_be_found(looked: Looked) -> None:
    wrong = [
        Asked("sekring_permit_total", frozenset(), (), "a"),
        Asked("sekring_permits_total", frozenset({"sauce"}), (), "b"),
        Asked("sekring_breakers", frozenset({"state"}), (("state", "opened", True),), "c"),
    ]
    told = [fault for one in wrong for fault in faults(one, looked.exposed)]
    assert [fault[:1] for fault in told] == ["a", "b", "c"]


@pytest.mark.usefixtures("promtool")  # comes with Prometheus
def test_prometheus_answers_every_query(looked: Looked) -> None:
    assert looked.answers
    failed = {key: told for key, told in looked.answers.items() if told["status"] != "success"}
    assert failed == {}


@pytest.mark.usefixtures("promtool")
def test_a_page_at_a_glance_shows_figures(looked: Looked) -> None:
    """The figures at the top of a page have a value even where nothing ever failed."""
    empty = [
        (name, panel["title"])
        for name, board in dashboards().items()
        for panel in board["panels"]
        if panel["type"] == "stat"
        and not looked.answers[f"{name}: {panel['title']}", panel["targets"][0]["expr"]]["data"][
            "result"
        ]
    ]
    assert empty == []


def test_what_is_exposed_is_looked_at(looked: Looked) -> None:
    """A figure that no page and no rule asks for is left out on purpose, or forgotten."""
    families = {
        re.sub(r"_(bucket|count|sum|created)$", "", name)
        for name in looked.exposed
        if name.startswith(("sekring_", "http_", "db_"))
    }
    looked_at = {re.sub(r"_(bucket|count|sum)$", "", one.name) for one in asked()}
    assert families - looked_at == set()
