"""Sessions that are to be connected, over HTTP: wanted, owned, dropped, listed."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import check_keys
from tests.gateways import wish
from tests.servers import RedisServer
from tests.serving import ServiceProcess

Body = dict[str, Any]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), "--appendonly", "yes") as redis:
        yield redis
        check_keys(redis)


@pytest.fixture(scope="module")
def service(redis: RedisServer) -> Iterator[ServiceProcess]:
    with ServiceProcess(redis.url, redis_timeout_ms=300) as service:
        yield service


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


def test_a_list_goes_on_where_it_ended(service: ServiceProcess, http: httpx.Client) -> None:
    names = [f"list-{number}" for number in range(30)]
    wish(service.url, names)

    seen: list[str] = []
    query: dict[str, Any] = {"limit": 7}
    while True:
        page = http.get("/v1/sessions", params=query).raise_for_status().json()
        seen += [session["instance_id"] for session in page["sessions"]]
        if page["cursor"] is None:
            break
        query["cursor"] = page["cursor"]

    assert sorted(seen) == sorted(names)


def test_a_wish_names_who_made_it_first(http: httpx.Client) -> None:
    first = http.post("/v1/sessions", json={"instance_id": "wish"}).json()
    again = http.post("/v1/sessions", json={"instance_id": "wish"}).json()

    assert (first["wanted"], first["created_by"]) == (True, "anonymous")
    assert again == first
    assert http.delete("/v1/sessions/wish").json()["created_at_ms"] is None


def test_a_session_that_nobody_has_heard_of_is_no_error(http: httpx.Client) -> None:
    for method in ("GET", "DELETE"):
        answer = http.request(method, "/v1/sessions/unknown")
        assert (answer.status_code, answer.json()["wanted"]) == (200, False)


def test_without_redis_every_route_says_so(http: httpx.Client, redis: RedisServer) -> None:
    lease = {"instance_id": "628", "token": 1}
    requests: list[tuple[str, str, Body | None]] = [
        ("POST", "/v1/leases/claim", {"gateway": "g", "capacity": 10, "held": 0}),
        ("POST", "/v1/leases/renew", {"gateway": "g", "capacity": 10, "leases": [lease]}),
        ("POST", "/v1/leases/release", {"gateway": "g", "leases": [lease]}),
        ("PUT", "/v1/leases/628/phase", {"gateway": "g", "token": 1, "phase": "waiting"}),
        ("POST", "/v1/sessions", {"instance_id": "628"}),
        ("GET", "/v1/sessions", None),
        ("GET", "/v1/sessions/628", None),
        ("DELETE", "/v1/sessions/628", None),
        ("GET", "/v1/gateways", None),
    ]
    with redis.away("stopped"):
        for method, path, body in requests:
            answer = http.request(method, path, json=body)
            assert answer.status_code == 503, (method, path, answer.text)
            assert answer.json()["type"] == "store_unavailable"
            assert answer.headers["retry-after"] == "1"


def test_sessions_and_their_owners_outlive_the_service(redis: RedisServer) -> None:
    with ServiceProcess(redis.url) as service, httpx.Client(base_url=service.url) as http:
        http.post("/v1/sessions", json={"instance_id": "kept"}).raise_for_status()
        claim = {"gateway": "keeper", "capacity": 1_000, "held": 0, "limit": 1_000}
        leases = http.post("/v1/leases/claim", json=claim).raise_for_status().json()["leases"]
        token = next(one["token"] for one in leases if one["instance_id"] == "kept")
    with ServiceProcess(redis.url) as service, httpx.Client(base_url=service.url) as http:
        held = [{"instance_id": "kept", "token": token}]
        renewal = {"gateway": "keeper", "capacity": 1_000, "leases": held}
        renewed = http.post("/v1/leases/renew", json=renewal).raise_for_status().json()

    assert renewed["leases"][0]["held"] is True
