"""The fleet guard as operators and gateways see it: three replicas, over HTTP."""

from collections.abc import Iterator

import httpx
import pytest

from sekring.store.keys import Keyspace
from tests.conftest import check_keys
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess

NAMES = [f"62811{number:04}" for number in range(200)]
REASON = {"reason": "the proxy was at fault"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server
        check_keys(server)


@pytest.fixture(scope="module")
def replicas(server: RedisServer) -> Iterator[list[ServiceProcess]]:
    with (
        ServiceProcess(server.url) as one,
        ServiceProcess(server.url) as two,
        ServiceProcess(server.url) as three,
    ):
        # So slow that even a busy machine asks faster.
        policy = {"fleet_guard": {"rate_per_s": 1, "burst": 1}}
        httpx.put(f"{one.url}/v1/policy", json=policy, timeout=30).raise_for_status()
        yield [one, two, three]


def get(replica: ServiceProcess, path: str) -> dict[str, object]:
    answer = httpx.get(f"{replica.url}{path}", timeout=30).raise_for_status()
    body: dict[str, object] = answer.json()
    return body


def post(replica: ServiceProcess, path: str, body: object) -> dict[str, object]:
    answer = httpx.post(f"{replica.url}{path}", json=body, timeout=30).raise_for_status()
    found: dict[str, object] = answer.json()
    return found


def report(replica: ServiceProcess, outcome: str) -> None:
    outcomes = [{"instance_id": name, "outcome": outcome} for name in NAMES]
    post(replica, "/v1/outcomes", {"outcomes": outcomes})


def state(replica: ServiceProcess) -> object:
    return get(replica, "/v1/guard")["state"]


def health(replica: ServiceProcess) -> tuple[object, object]:
    data = get(replica, "/health")["data"]
    assert isinstance(data, dict)
    return data["guard"], data["guard_rate_per_s"]


def test_an_outage_opens_it_once_for_all_and_an_operator_closes_it(
    replicas: list[ServiceProcess], server: RedisServer
) -> None:
    assert {health(one) for one in replicas} == {("closed", None)}

    report(replicas[0], "failure")
    wait_until(lambda: state(replicas[1]) == "open", "the guard to open")

    guard = get(replicas[2], "/v1/guard")
    assert (guard["cause"], guard["rate_per_s"]) == ("failures", 1)
    assert (guard["failing"], guard["connected"], guard["known"]) == (200, 0, 200)
    assert {health(one) for one in replicas} == {("open", 1)}

    # The hint of a replica lags by a sweep: until then it permits.
    def asked() -> list[dict[str, object]]:
        path = "/v1/instances/{}/attempts"
        return [post(replicas[n % 3], path.format(NAMES[n]), {}) for n in range(60)]

    wait_until(lambda: any(one["cause"] == "fleet" for one in asked()), "a refused permit")
    refused = next(one for one in asked() if one["cause"] == "fleet")
    assert refused["permitted"] is False
    assert refused["state"] == "closed"
    assert refused["retry_after_ms"]

    closed = post(replicas[2], "/v1/guard/reset", REASON)
    assert (closed["state"], closed["rate_per_s"]) == ("closed", None)
    wait_until(lambda: {health(one)[0] for one in replicas} == {"closed"}, "all to know")

    transitions = get(replicas[0], "/v1/guard/history")["transitions"]
    assert isinstance(transitions, list)
    found = [(one["action"], one["before"], one["after"]) for one in reversed(transitions)]
    assert found[0] == ("guard_trip", "closed", "open")
    assert found[-1][0] == "guard_reset"
    assert [action for action, *_ in found].count("guard_trip") == 1
    assert transitions[0]["reason"] == REASON["reason"]
    with server.client() as client:
        events = client.xrange(Keyspace().events(0))
    feed = [fields[b"action"].decode() for _, fields in events if fields[b"instance_id"] == b"*"]
    assert feed == ["policy", *(action for action, *_ in found)]
    logged = "".join(one.log_text() for one in replicas)
    assert logged.count("fleet guard opened") == 1


def test_an_operator_opens_it_until_a_reset(replicas: list[ServiceProcess]) -> None:
    report(replicas[0], "success")

    opened = post(replicas[0], "/v1/guard/trip", {"reason": "an outage is announced"})

    assert (opened["state"], opened["cause"]) == ("forced_open", "operator")
    assert opened["reason"] == "an outage is announced"
    assert {health(one) for one in replicas} == {("forced_open", 1)}
    assert post(replicas[1], "/v1/guard/reset", REASON)["state"] == "closed"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/guard/trip", {}, "reason"),
        ("/v1/guard/trip", {"reason": "x", "for_ms": 0}, "for_ms"),
        ("/v1/guard/reset", {}, "reason"),
        ("/v1/guard/reset", {"reason": "x", "force": True}, "force"),
    ],
)
def test_bad_input_is_named(
    replicas: list[ServiceProcess], path: str, body: dict[str, object], field: str
) -> None:
    answer = httpx.post(f"{replicas[0].url}{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["field"] == field
