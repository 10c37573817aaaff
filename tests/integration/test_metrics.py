"""`/metrics`: what moves when something happens, and the two forms in which it is told."""

import itertools
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.eventstream import EventReader
from tests.gatewaydouble import BusyGateway
from tests.otlp import Collector
from tests.receiver import Receiver
from tests.replicas import Replica
from tests.scrapes import OPENMETRICS, Scrape, moves, scrape
from tests.servers import RedisServer, wait_until

ATTEMPTS = "/v1/instances/{instance_id}/attempts"

#: As an SDK's caller sends it, of a sampled trace.
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector("http/protobuf") as collector:
        yield collector


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Replica]:
    """One that exports traces, so that it has exemplars; none of those that begin in it."""
    settings = {"OTEL_TRACES_SAMPLER_ARG": 0, **collector.settings}
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as redis,
        Replica(
            redis.url, partitions=4, qr_wait_ms=1_000, lease_ttl_ms=2_000, **settings
        ) as replica,
    ):
        yield replica


@pytest.fixture
def name() -> str:
    """An instance that no other test has touched."""
    return f"metrics-{next(_numbers)}"


class Growth:
    """How much a counter, or a histogram's count, has grown since this was made."""

    def __init__(self, replica: Replica, metric: str, **labels: str) -> None:
        self._replica = replica
        self._metric = metric
        self._labels = labels
        self._before = self._now()

    def _now(self) -> float:
        return scrape(self._replica).value(self._metric, **self._labels) or 0

    def __call__(self) -> float:
        """Return it."""
        return self._now() - self._before


# ------------------------------------------------------------------------- what gateways do


def test_permits_are_counted_by_who_answered(replica: Replica, name: str) -> None:
    def growth(source: str) -> Growth:
        return Growth(replica, "sekring_permits_total", source=source)

    by_view, by_redis, by_client = map(growth, ["view", "redis", "client"])
    # An instance that Redis was asked about once has to be asked about again.
    fresh = (f"{name}-v{n}" for n in itertools.count())
    wait_until(lambda: replica.permit(next(fresh)) and by_view() > 0, "a view that is current")
    known = by_redis()

    replica.permit(name, strong=True)
    assert by_redis() == known + 1

    attempt = {"instance_id": f"{name}-c", "outcome": "attempt", "attempt_id": "1-abcdefgh"}
    replica.post("/v1/outcomes", {"outcomes": [attempt]})
    assert by_client() == 1


def test_a_trip_moves_all_that_is_to_move(replica: Replica, name: str) -> None:
    before = scrape(replica)
    counted = Growth(replica, "sekring_outcomes_total", kind="dns", why="counted")
    suppressed = Growth(replica, "sekring_outcomes_total", kind="dns", why="open")
    trip = {"from": "closed", "to": "open", "cause": "failures"}
    tripped = Growth(replica, "sekring_transitions_total", **trip)
    reset = Growth(replica, "sekring_transitions_total", **{"from": "open", "to": "closed"})
    refused = Growth(replica, "sekring_refusals_total", cause="failures")

    for _ in range(15):
        replica.report(name, kind="dns")
    assert replica.permit(name)["permitted"] is False
    replica.report(name, kind="dns")

    assert (counted(), suppressed(), tripped(), refused()) == (15, 1, 1, 1)
    moves(
        replica,
        "sekring_breakers",
        (before.value("sekring_breakers", state="open") or 0) + 1,
        state="open",
    )
    after = scrape(replica)
    assert after.value("sekring_instances_failing") == 1
    health = replica.health()
    assert after.value("sekring_instances") == health["total_instances"]
    assert after.value("sekring_health_score") == health["health_score"] < 100

    replica.reset(name)
    moves(replica, "sekring_breakers", 0, state="open")
    assert (tripped(), reset()) == (1, 1)


def test_outcomes_are_counted_by_kind(replica: Replica, name: str) -> None:
    success = Growth(replica, "sekring_outcomes_total", kind="success", why="success")
    ended = Growth(replica, "sekring_outcomes_total", kind="disconnected", why="disconnected")
    banned = Growth(replica, "sekring_outcomes_total", kind="temporary_ban", why="ban")

    replica.report(name, "success")
    replica.report(name, "disconnected")
    replica.report(name, kind="temporary_ban")

    assert (success(), ended(), banned()) == (1, 1, 1)
    refused = Growth(replica, "sekring_refusals_total", cause="temporary_ban")
    replica.permit(name)
    assert refused() == 1


def test_states_that_an_operator_makes_are_gauges(replica: Replica, name: str) -> None:
    replica.post(f"/v1/instances/{name}/trip", {"reason": "maintenance"})
    moves(replica, "sekring_breakers", 1, state="forced_open")
    replica.post(f"/v1/instances/{name}/disable", {"reason": "maintenance"})
    moves(replica, "sekring_breakers", 1, state="disabled")
    moves(replica, "sekring_breakers", 0, state="forced_open")
    replica.reset(name)
    moves(replica, "sekring_breakers", 0, state="disabled")


def test_the_fleet_guard_is_told(replica: Replica, name: str) -> None:
    refused = Growth(replica, "sekring_refusals_total", cause="fleet")
    # So slow that even a busy machine comes too early.
    replica.set_policy(fleet_guard={"rate_per_s": 1, "burst": 1})
    replica.post("/v1/guard/trip", {"reason": "an outage of WhatsApp"})
    assert scrape(replica).value("sekring_guard_open") == 1
    assert scrape(replica).value("sekring_guard_rate") == 1

    answers = [replica.permit(f"{name}-{number}") for number in range(10)]
    assert refused() == [answer["permitted"] for answer in answers].count(False) > 0

    replica.post("/v1/guard/reset", {"reason": "it is over"})
    assert scrape(replica).value("sekring_guard_open") == 0
    assert scrape(replica).value("sekring_guard_rate") == 0
    replica.set_policy()


# ---------------------------------------------------------------------------- how long it takes


def test_requests_are_timed_by_route_and_status(replica: Replica, name: str) -> None:
    metric = "http_server_request_duration_seconds_count"
    fine = Growth(replica, metric, http_route=ATTEMPTS, http_response_status_code="200")
    bad = Growth(replica, metric, http_route=ATTEMPTS, http_response_status_code="400")

    replica.permit(name)
    assert httpx.post(f"{replica.url}/v1/instances/a%20b/attempts").status_code == 400

    assert (fine(), bad()) == (1, 1)


def test_scripts_are_timed_by_name(replica: Replica, name: str) -> None:
    growth = Growth(
        replica,
        "db_client_operation_duration_seconds_count",
        db_system_name="redis",
        db_operation_name="FCALL",
        db_stored_procedure_name="report",
    )
    replica.report(name)
    assert growth() == 1


def test_waits_for_a_qr_code_are_timed_by_how_they_end(replica: Replica, name: str) -> None:
    def waited(result: str) -> Growth:
        return Growth(replica, "sekring_qr_wait_duration_seconds_count", result=result)

    def ask(instance_id: str) -> int:
        url = f"{replica.url}/get_qrcode"
        return httpx.get(url, params={"instance_id": instance_id}, timeout=20).status_code

    shown, timed_out, refused = map(waited, ["shown", "timed_out", "refused"])
    assert ask(f"{name}-nobody") == 504
    assert timed_out() == 1

    with BusyGateway(replica.url):
        wait_until(lambda: ask(f"{name}-scanned") == 200, "a QR code")
    assert shown() == 1

    replica.report(f"{name}-banned", kind="temporary_ban")
    assert ask(f"{name}-banned") == 503
    assert refused() == 1
    for each in ("nobody", "scanned", "banned"):
        httpx.delete(f"{replica.url}/v1/sessions/{name}-{each}")


# ------------------------------------------------------------------- sessions, and who listens


def test_sessions_leases_and_gateways_are_told(replica: Replica, name: str) -> None:
    moves(replica, "sekring_gateways", 0)
    moves(replica, "sekring_sessions_wanted", 0)
    replica.post("/v1/sessions", {"instance_id": name})
    moves(replica, "sekring_leases", 1, state="unowned")
    assert scrape(replica).value("sekring_sessions_wanted") == 1

    with BusyGateway(replica.url):
        moves(replica, "sekring_leases", 1, state="held")
        moves(replica, "sekring_gateways", 1)
        assert scrape(replica).value("sekring_leases", state="unowned") == 0

    # Its owner is gone, and it is dropped: nobody is to own it, so nobody misses an owner.
    assert httpx.delete(f"{replica.url}/v1/sessions/{name}").status_code == 200
    moves(replica, "sekring_gateways", 0)
    moves(replica, "sekring_sessions_wanted", 0)
    assert scrape(replica).value("sekring_leases", state="unowned") == 0


def test_who_listens_to_the_event_stream_is_told(replica: Replica) -> None:
    moves(replica, "sekring_event_streams", 0)
    with EventReader(replica), EventReader(replica):
        moves(replica, "sekring_event_streams", 2)
    moves(replica, "sekring_event_streams", 0)


def test_deliveries_of_webhooks_are_counted(replica: Replica, name: str) -> None:
    delivered = Growth(replica, "sekring_webhook_deliveries_total", result="delivered")
    failed = Growth(replica, "sekring_webhook_deliveries_total", result="failed")
    with Receiver() as receiver:
        receiver.answer = lambda _: 503 if len(receiver.came) == 1 else 204
        body = {"url": receiver.url, "instances": [name]}
        webhook = httpx.post(f"{replica.url}/v1/webhooks", json=body).json()
        replica.post(f"/v1/instances/{name}/trip", {"reason": "maintenance"})
        receiver.wait_for(1)
        wait_until(lambda: delivered() == 1, "the delivery to be counted")
        httpx.delete(f"{replica.url}/v1/webhooks/{webhook['id']}")
    assert failed() == 1
    replica.reset(name)


# ------------------------------------------------------------------------- the two forms of it


def test_it_is_prometheus_text_unless_openmetrics_is_asked_for(replica: Replica) -> None:
    plain = scrape(replica)
    opened = scrape(replica, OPENMETRICS)

    assert plain.media_type == "text/plain; version=0.0.4; charset=utf-8"
    assert opened.media_type.startswith("application/openmetrics-text; version=1.0.0;")
    assert opened.text.endswith("# EOF\n")
    assert {family.name for family in plain.families} == {family.name for family in opened.families}


def test_promtool_finds_nothing_to_mend(replica: Replica, promtool: str, name: str) -> None:
    replica.fail(name, 15)
    replica.permit(name)
    text = scrape(replica).text
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    replica.reset(name)


def test_no_instance_is_named(replica: Replica, name: str) -> None:
    replica.fail(name, 15)
    replica.permit(name)
    replica.instance(name)
    assert name not in scrape(replica, OPENMETRICS).text
    replica.reset(name)


def test_exemplars_lead_to_the_trace(replica: Replica, collector: Collector, name: str) -> None:
    body = json.dumps({"outcome": "failure", "kind": "dns"})
    url = f"{replica.url}/v1/instances/{name}/outcomes"
    httpx.post(url, content=body, headers={"traceparent": TRACEPARENT}).raise_for_status()

    told = scrape(replica, OPENMETRICS)
    assert TRACE in told.trace_ids(
        "http_server_request_duration_seconds", http_route="/v1/instances/{instance_id}/outcomes"
    )
    assert TRACE in told.trace_ids(
        "db_client_operation_duration_seconds", db_stored_procedure_name="report"
    )
    span_ids = {span.id for span in collector.wait_for(TRACE, "FCALL report")}
    for sample in told.samples("db_client_operation_duration_seconds_bucket"):
        if sample.exemplar and sample.exemplar.labels["trace_id"] == TRACE:
            assert sample.exemplar.labels["span_id"] in span_ids


def test_an_exemplar_of_an_unsampled_trace_is_one_that_is_exported(
    replica: Replica, collector: Collector, name: str
) -> None:
    """A trip has its trace exported though nobody sampled it, so it may be an exemplar."""
    for number in range(15):
        traceparent = f"00-{number + 1:032x}-00f067aa0ba902b7-00"
        url = f"{replica.url}/v1/instances/{name}/outcomes"
        body = json.dumps({"outcome": "failure", "kind": "dns"})
        httpx.post(url, content=body, headers={"traceparent": traceparent}).raise_for_status()
    replica.reset(name)

    told = scrape(replica, OPENMETRICS).trace_ids("http_server_request_duration_seconds")
    assert f"{15:032x}" in told
    assert not told & {f"{number + 1:032x}" for number in range(14)}
    collector.wait_for(f"{15:032x}", "FCALL report")


def test_it_is_told_to_many_at_once(replica: Replica) -> None:
    with ThreadPoolExecutor(8) as scrapers:
        told: list[Scrape] = list(scrapers.map(scrape, [replica] * 8))
    assert len(told) == 8


def test_the_process_is_measured(replica: Replica) -> None:
    told = scrape(replica)
    assert (told.value("process_resident_memory_bytes") or 0) > 1_000_000
    assert (told.value("process_cpu_seconds_total") or 0) > 0
    assert (told.value("process_open_fds") or 0) > 0
