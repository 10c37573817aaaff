"""What a gateway answers to whoever runs it: `/live`, `/ready` and `/metrics`."""

import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.gateways import GatewayProcess, wish
from tests.servers import RedisServer, free_port, wait_until
from tests.serving import PATIENT, ServiceProcess

SCENARIO = """
[[rule]]
instances = "fails"
[[rule.connect]]
steps = [{ do = "fail", kind = "dns", detail = "no such host" }]

[[rule]]
instances = "crashes"
[[rule.connect]]
steps = [{ do = "crash" }]

[[rule]]
instances = "hangs"
[[rule.connect]]
steps = [{ do = "connect" }, { do = "hang" }]
"""

POLICY = {"backoff": {"base_ms": 50, "factor": 1, "cap_ms": 50}, "failure_threshold": 2}
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


class ProbedGateway(GatewayProcess):
    """A gateway that is asked how it is."""

    def __init__(self, url: str, folder: Path, **settings: object) -> None:
        (folder / "scenario.toml").write_text(SCENARIO)
        self.probe = f"http://127.0.0.1:{settings.setdefault('gateway_probe_port', free_port())}"
        super().__init__("a", url, folder, **settings)

    def ask(self, path: str, **request: Any) -> httpx.Response:
        return httpx.get(f"{self.probe}{path}", timeout=10, **request)

    def ready(self) -> tuple[int, dict[str, str]]:
        """Return the status, and how the parts are."""
        answer = self.ask("/ready")
        components = answer.json()["components"]
        return answer.status_code, {name: one["status"] for name, one in components.items()}

    def metric(self, sample: str, **labels: str) -> float:
        """Return one sample, as Prometheus reads it."""
        text = self.ask("/metrics", headers=OPENMETRICS).text
        parse: Any = text_string_to_metric_families
        for family in parse(text):
            for one in family.samples:
                if one.name == sample and one.labels == labels:
                    return float(one.value)
        raise AssertionError(f"there is no {sample}{labels} in\n{text}")


def wait_for(gateway: ProbedGateway, sample: str, least: float, **labels: str) -> None:
    what = f"{sample}{labels} to be {least}"
    wait_until(lambda: gateway.metric(sample, **labels) >= least, what, 60)


def test_a_gateway_is_ready_when_the_service_has_accepted_it_and_its_metrics_move(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    service = ServiceProcess(redis_server.url, lease_ttl_ms=5_000, **PATIENT)
    with ProbedGateway(service.url, tmp_path, gateway_capacity=7) as gateway:
        assert gateway.ask("/live").status_code == 200
        assert gateway.ready() == (503, {"service": "unavailable", "gateway": "ok"})
        assert gateway.metric("sekring_gateway_service_reachable") == 0
        assert gateway.metric("sekring_gateway_capacity") == 7
        assert gateway.metric("sekring_gateway_attempts_total", result="connected") == 0
        assert gateway.ask("/").status_code == 404
        assert httpx.post(f"{gateway.probe}/live").status_code == 405
        assert gateway.ask("/metrics").headers["content-type"].startswith("text/plain; version=")

        with service:
            wait_until(lambda: gateway.ready()[0] == 200, "the gateway to be ready", 60)
            assert gateway.metric("sekring_gateway_service_reachable") == 1
            httpx.put(f"{service.url}/v1/policy", json=POLICY).raise_for_status()
            wish(service.url, ["well", "fails", "crashes"])

            wait_for(gateway, "sekring_gateway_sessions", 1, phase="connected")
            wait_for(gateway, "sekring_gateway_sessions", 2, phase="waiting")
            wait_for(gateway, "sekring_gateway_attempts_total", 2, result="dns")
            wait_for(gateway, "sekring_gateway_attempts_total", 2, result="worker_crash")
            assert gateway.metric("sekring_gateway_attempts_total", result="connected") == 1
            assert (
                gateway.metric("sekring_gateway_connect_duration_seconds_count", result="connected")
                == 1
            )
            assert gateway.metric("sekring_gateway_workers") == 1
            assert gateway.metric("sekring_gateway_worker_exits_total", reason="crashed") == 2
            assert gateway.metric("sekring_gateway_worker_exits_total", reason="retired") == 2

        # Its leases run out, and with them the session that was connected.
        wait_for(gateway, "sekring_gateway_lease_losses_total", 3, reason="expired")
        wait_until(lambda: gateway.metric("sekring_gateway_workers") == 0, "no worker")
        assert gateway.ready() == (503, {"service": "unavailable", "gateway": "ok"})
        assert gateway.metric("sekring_gateway_sessions", phase="connected") == 0
        assert gateway.metric("process_resident_memory_bytes") > 0


def test_it_lives_unless_it_is_frozen_and_from_sigterm_on_it_is_not_ready(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with (
        ServiceProcess(redis_server.url, **PATIENT) as service,
        ProbedGateway(service.url, tmp_path) as gateway,
    ):
        wish(service.url, ["hangs"])
        wait_for(gateway, "sekring_gateway_sessions", 1, phase="connected")
        assert gateway.ready() == (200, {"service": "ok", "gateway": "ok"})
        gateway.signal(signal.SIGSTOP)
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{gateway.probe}/live", timeout=0.5)
        gateway.signal(signal.SIGCONT)
        assert gateway.ask("/live").json() == {"status": "ok", "detail": None}

        gateway.signal(signal.SIGTERM)

        # Its session takes as long as a worker is given, seconds.
        wait_until(lambda: gateway.ready()[0] == 503, "the end of readiness")
        assert gateway.ready()[1]["gateway"] == "draining"
        assert gateway.ask("/live").status_code == 200
        assert gateway.wait() == 0
