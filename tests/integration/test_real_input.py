"""The guide's walk with the real library: it fails for real, and the breaker does what it is for.

WhatsApp is never reached: every gateway here has a proxy of the test's own.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateways import GatewayProcess
from tests.peers import (
    Authority,
    Peer,
    Play,
    answer_http,
    close_at_once,
    refused_port,
    stay_silent,
    tunnel,
)
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess
from tests.whatsmeow import needs_neonize

pytestmark = needs_neonize

#: As long as a session may take to fail as often as it must, in seconds.
PATIENCE_S = 120


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def gateway_behind(
    proxy: str, redis: RedisServer, folder: Path, **settings: object
) -> Iterator[ServiceProcess]:
    with both_behind(proxy, redis, folder, **settings) as (service, _):
        yield service


@contextmanager
def both_behind(
    proxy: str, redis: RedisServer, folder: Path, **settings: object
) -> Iterator[tuple[ServiceProcess, GatewayProcess]]:
    """A service and a gateway, with a policy that is quick to try again."""
    with ServiceProcess(redis.url, qr_wait_ms=1_000) as service:
        policy = {
            "failure_threshold": 15,
            "cooldown_ms": 4_000,
            "backoff": {"base_ms": 50, "cap_ms": 100},
        }
        httpx.put(f"{service.url}/v1/policy", json=policy).raise_for_status()
        with GatewayProcess(
            "real", service.url, folder, driver="neonize", proxy=proxy, **settings
        ) as gateway:
            yield service, gateway


def ask_for_qr_code(service: ServiceProcess) -> httpx.Response:
    return httpx.get(
        f"{service.url}/get_qrcode", params={"instance_id": "demo"}, timeout=PATIENCE_S
    )


def status(service: ServiceProcess) -> Any:
    answer = httpx.get(f"{service.url}/circuit-breaker-status/demo", timeout=PATIENCE_S)
    return answer.raise_for_status().json()["data"]


def test_the_fifteenth_failure_opens_and_the_cooldown_lets_it_start_again(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with (
        refused_port() as port,
        gateway_behind(f"http://127.0.0.1:{port}", redis_server, tmp_path) as service,
    ):
        answer = ask_for_qr_code(service)
        assert answer.status_code == 504
        assert "No QR code came within 1 s" in answer.json()["message"]

        wait_until(lambda: status(service)["circuit_breaker_active"], "the trip", PATIENCE_S)
        tripped = status(service)
        assert (tripped["state"], tripped["recent_failures"]) == ("open", 15)
        assert tripped["last_failure_kind"] == "proxy"
        assert "connection refused" in tripped["last_failure_detail"]

        refusal = httpx.get(f"{service.url}/instance", params={"instance_id": "demo"})
        assert refusal.status_code == 503
        assert refusal.json()["circuit_breaker"] is True

        # Nobody tries while it is open.
        time.sleep(min(2, tripped["remaining_ms"] / 2_000))
        meanwhile = status(service)
        assert meanwhile["opened_at"] == tripped["opened_at"]
        assert meanwhile["suppressed"] == 0
        assert meanwhile["last_failure_timestamps"] == tripped["last_failure_timestamps"]

        wait_until(
            lambda: (
                (now := status(service))["state"] == "closed" and 1 <= now["recent_failures"] < 15
            ),
            "failures after the cooldown",
            PATIENCE_S,
        )


def test_a_manual_qr_request_resets_an_open_breaker(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with (
        refused_port() as port,
        gateway_behind(f"http://127.0.0.1:{port}", redis_server, tmp_path) as service,
    ):
        policy = {"cooldown_ms": 600_000, "backoff": {"base_ms": 300, "cap_ms": 300}}
        httpx.put(f"{service.url}/v1/policy", json=policy).raise_for_status()
        ask_for_qr_code(service)
        wait_until(lambda: status(service)["circuit_breaker_active"], "the trip", PATIENCE_S)
        opened_at = status(service)["opened_at"]

        ask_for_qr_code(service)

        wait_until(
            lambda: any(at > opened_at for at in status(service)["last_failure_timestamps"]),
            "a failure after the reset",
            PATIENCE_S,
        )
        assert status(service)["recent_failures"] < 15


@pytest.mark.parametrize(
    ("play", "kind", "words"),
    [
        pytest.param(close_at_once, "disconnected", "reset", id="accepted, then closed"),
        pytest.param(answer_http("502 Bad Gateway"), "proxy", "Bad Gateway", id="HTTP 502"),
        pytest.param("untrusted", "tls", "certificate", id="a bad certificate"),
        pytest.param(stay_silent, "timeout", "", id="hanging"),
    ],
)
def test_what_a_proxy_does_is_told_as_a_failure_of_its_kind(
    redis_server: RedisServer,
    authority: Authority,
    tmp_path: Path,
    play: Play | str,
    *,
    kind: str,
    words: str,
) -> None:
    with ExitStack() as stack:
        if isinstance(play, str):
            play = tunnel(authority.tls(stay_silent))
        peer = stack.enter_context(Peer(play))
        service = stack.enter_context(
            gateway_behind(peer.http, redis_server, tmp_path, dial_timeout_ms=3_000)
        )
        ask_for_qr_code(service)
        wait_until(lambda: status(service)["recent_failures"] >= 2, "failures", PATIENCE_S)
        found = status(service)
        assert found["last_failure_kind"] == kind, found
        assert words in found["last_failure_detail"]


@pytest.mark.parametrize("behind", ["SOCKS", "TLS"])
def test_a_hung_dial_gives_its_lease_back_only_when_its_process_is_gone(
    redis_server: RedisServer, authority: Authority, tmp_path: Path, behind: str
) -> None:
    """Nothing but the end of its process ends such a dial (`stop` of the library hangs as well)."""
    play = stay_silent if behind == "SOCKS" else tunnel(authority.tls(stay_silent))
    with Peer(play) as peer:
        proxy = peer.socks if behind == "SOCKS" else peer.http
        with both_behind(proxy, redis_server, tmp_path) as (service, gateway):
            url = f"{service.url}/v1/sessions/demo"
            ask_for_qr_code(service)
            wait_until(lambda: peer.connections and gateway.worker_pids, "the dial", PATIENCE_S)
            pids = gateway.worker_pids
            assert len(pids) == 1

            httpx.delete(url).raise_for_status()

            def given_back() -> bool:
                owned = httpx.get(url).raise_for_status().json()["gateway"] is not None
                there = any(Path(f"/proc/{pid}").exists() for pid in pids)
                assert owned or not there, "given back with its process still there"
                return not owned

            wait_until(given_back, "the end of the lease", PATIENCE_S)
