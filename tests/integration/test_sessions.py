"""Sessions that are to be connected, over HTTP: wanted, owned, dropped, listed."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import check_keys
from tests.servers import RedisServer
from tests.serving import ServiceProcess

Body = dict[str, Any]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as redis,
        ServiceProcess(redis.url) as service,
    ):
        yield service
        check_keys(redis)


@pytest.fixture
def http(service: ServiceProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client


def test_a_session_from_wish_to_end(http: httpx.Client) -> None:
    def ask(method: str, path: str, body: Body | None = None) -> Body:
        answer = http.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        found: Body = answer.json()
        return found

    claim = {"gateway": "a", "capacity": 10, "held": 0}
    assert ask("POST", "/v1/leases/claim", claim)["leases"] == []

    session = ask("POST", "/v1/sessions", {"instance_id": "628"})
    assert (session["wanted"], session["gateway"], session["token"]) == (True, None, 0)

    claimed = ask("POST", "/v1/leases/claim", claim)
    (lease,) = claimed["leases"]
    assert (lease["instance_id"], lease["taken_from"]) == ("628", None)
    assert (claimed["share"], claimed["sessions"], claimed["gateways"]) == (1, 1, 1)

    mine = {"gateway": "a", "token": lease["token"]}
    assert ask("PUT", "/v1/leases/628/phase", {**mine, "phase": "connected"}) == {"held": True}
    session = ask("GET", "/v1/sessions/628")
    assert (session["gateway"], session["phase"]) == ("a", "connected")
    assert ask("GET", "/v1/sessions")["sessions"] == [
        {**session, "lease_ends_in_ms": pytest.approx(session["lease_ends_in_ms"], abs=10_000)}
    ]

    held = {"gateway": "a", "leases": [{"instance_id": "628", "token": lease["token"]}]}
    renewed = ask("POST", "/v1/leases/renew", {**held, "capacity": 10})
    assert [(one["held"], one["wanted"]) for one in renewed["leases"]] == [(True, True)]
    (gateway,) = ask("GET", "/v1/gateways")["gateways"]
    assert (gateway["gateway"], gateway["capacity"], gateway["held"]) == ("a", 10, 1)

    assert ask("DELETE", "/v1/sessions/628")["gateway"] == "a"
    renewed = ask("POST", "/v1/leases/renew", {**held, "capacity": 10})
    assert [(one["held"], one["wanted"]) for one in renewed["leases"]] == [(True, False)]
    assert ask("POST", "/v1/leases/release", held) == {"released": 1}
    assert ask("GET", "/v1/sessions")["sessions"] == []
    assert ask("GET", "/v1/sessions/628")["token"] == 0
    history = ask("GET", "/v1/instances/628/history")["transitions"]
    assert [entry["action"] for entry in history] == ["drop_session", "want_session"]
