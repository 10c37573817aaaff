"""No lease that was told to a gateway is lost by a failover of Redis: it would be owned twice."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import httpx
import pytest

from sekring.store.keys import Keyspace
from tests.clusters import Cluster
from tests.gateways import wish
from tests.sentinels import Sentinels
from tests.servers import wait_until
from tests.serving import ServiceProcess

SESSIONS = 400

#: Longer than the test: what is owned stays so, whoever is in charge.
TTL_MS = 60_000

#: For how long gateways go on claiming after another server is in charge, in seconds.
AFTERWARDS_S = 1.0


class Claimer:
    """A gateway that claims one session after the other and remembers what it was told."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        #: Instance and token.
        self.told: dict[str, int] = {}
        self.refused = 0
        self._http = httpx.Client(base_url=url, timeout=30)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            body = {"gateway": self.name, "capacity": SESSIONS, "held": 0, "limit": 1}
            answer = self._http.post("/v1/leases/claim", json=body)
            if answer.status_code != 200:
                assert answer.status_code == 503, answer.text
                self.refused += 1
            for lease in answer.json().get("leases", []):
                self.told[lease["instance_id"]] = lease["token"]
            time.sleep(0.005)

    def renew(self) -> int:
        """Return how many leases are renewed; none may be another's."""
        leases = [{"instance_id": name, "token": token} for name, token in self.told.items()]
        body = {"gateway": self.name, "capacity": SESSIONS, "leases": leases}
        answer = self._http.post("/v1/leases/renew", json=body)
        renewed: list[dict[str, Any]] = answer.json().get("leases", [])
        assert [lease["instance_id"] for lease in renewed if not lease["held"]] == []
        return len(renewed)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._http.close()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def on_sentinels(sentinels: Sentinels) -> Iterator[ServiceProcess]:
    with sentinels.master().client() as client:
        client.flushall()
    with ServiceProcess(sentinels.url, lease_ttl_ms=TTL_MS) as service:
        yield service
    sentinels.heal()


@pytest.fixture
def on_cluster(cluster: Cluster) -> Iterator[ServiceProcess]:
    cluster.empty()
    with ServiceProcess(cluster.url, lease_ttl_ms=TTL_MS) as service:
        yield service
    cluster.heal()


def test_a_failover_of_a_master_at_work(sentinels: Sentinels, on_sentinels: ServiceProcess) -> None:
    """The old master takes writes for a while that nobody keeps."""
    check(on_sentinels, sentinels.begin_failover, sentinels.heal)


def test_a_killed_primary_of_a_cluster(cluster: Cluster, on_cluster: ServiceProcess) -> None:
    def kill() -> None:
        key = Keyspace().leases(0)
        primary = cluster.primary_of(key)
        primary.kill()
        wait_until(lambda: cluster.primary_of(key) is not primary, "a failover", seconds=40)

    check(on_cluster, kill, cluster.heal)


def check(service: ServiceProcess, disturb: Callable[[], object], heal: Callable[[], None]) -> None:
    wish(service.url, [f"s{number}" for number in range(SESSIONS)])
    with Claimer("a", service.url) as first, Claimer("b", service.url) as second:
        wait_until(lambda: len(first.told) >= 5 and len(second.told) >= 5, "some leases")
        disturb()
        told = len(first.told)
        wait_until(lambda: len(first.told) > told + 5, "claims by another server")
        time.sleep(AFTERWARDS_S)
        first.stop()
        second.stop()
        # A primary without a replica confirms nothing.
        heal()

        assert len(first.told) + len(second.told) < SESSIONS, "claims went on throughout"
        assert not first.told.keys() & second.told.keys(), "owned twice"
        for gateway in (first, second):
            wait_until(lambda: gateway.renew() == len(gateway.told), "all to be renewed")  # noqa: B023
    assert "Traceback" not in service.log_text()
