"""The whole system on one machine, as deploy/compose.yaml puts it together, without containers.

Clients and gateways come in by the load balancer with tokens; three replicas log in to a cluster as
the user that ships; a collector keeps the traces of all, and Prometheus scrapes each process.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from sekring.tokens import NewToken, Role
from tests.balancing import ADDRESSES, DRAIN_MS, Balancer, balanced
from tests.clusters import Cluster
from tests.gateways import GatewayProcess
from tests.otlp import Collector
from tests.prometheus import Prometheus, prometheus_on
from tests.resetting import OPERATOR, inline
from tests.servers import free_port
from tests.serving import PATIENT, ServiceProcess, entries_of, variable_of

__all__ = ["System", "system_in"]

_GATEWAY = NewToken.make("the-gateways", Role.GATEWAY)

#: 32 bytes in base64.
_SEAL_KEY = "c2Vhci1zZWFyLXNlYXItc2Vhci1zZWFyLXNlYXItMTI="

#: A scripted session costs little: few processes are enough for them.
_SESSIONS_PER_WORKER = 10


@dataclass(frozen=True)
class System:
    """All parts, while they run."""

    cluster: Cluster
    replicas: Sequence[ServiceProcess]
    balancer: Balancer
    gateways: Sequence[GatewayProcess]
    #: What Prometheus is to scrape: addresses by the job of `prometheus.yml`.
    targets: Mapping[str, Sequence[str]]
    #: `None` where it is not installed.
    prometheus: Prometheus | None
    collector: Collector
    #: An operator's, through the load balancer.
    http: httpx.Client
    #: What a replica's process has of it.
    environment: Mapping[str, str]
    #: The scripted driver's log, of all gateways together.
    connections: Path

    @property
    def token(self) -> str:
        """An operator's."""
        return OPERATOR.token

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return the answer's JSON; anything but success fails the test."""
        return self.http.request(method, path, json=body).raise_for_status().json()

    def gateways_said(self, event: str) -> list[dict[str, Any]]:
        """Return the entries of that event in the gateways' logs."""
        return [entry for gateway in self.gateways for entry in gateway.said(event)]

    def replicas_said(self, event: str) -> list[dict[str, Any]]:
        """Return the entries of that event in the replicas' logs."""
        return [
            entry for replica in self.replicas for entry in entries_of(event, replica.log_text())
        ]


@contextlib.contextmanager
def system_in(folder: Path, scenario: str) -> Iterator[System]:
    """Run one in `folder`; its gateways have no sessions yet, and will play `scenario`."""
    (folder / "scenario.toml").write_text(scenario)
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster(folder / "cluster"))
        collector = stack.enter_context(Collector())
        port = free_port()
        settings = {
            "port": port,
            "data_dir": folder / "service",
            "tokens": inline(OPERATOR, _GATEWAY),
            "seal_key": _SEAL_KEY,
            "drain_ms": DRAIN_MS,
            **PATIENT,
            **collector.settings,
        }
        replicas = [ServiceProcess(cluster.url, host=host, **settings) for host in ADDRESSES]
        balancer = stack.enter_context(balanced(replicas))
        probes = [free_port(), free_port()]
        gateways = [
            GatewayProcess(
                name,
                balancer.url,
                folder,
                token=_GATEWAY.token,
                gateway_probe_port=probe,
                sessions_per_worker=_SESSIONS_PER_WORKER,
                **collector.settings,
            )
            for name, probe in zip("ab", probes, strict=True)
        ]
        for gateway in gateways:
            stack.enter_context(gateway)
        targets = {
            "sekring": [f"{host}:{port}" for host in ADDRESSES],
            "sekring-gateway": [f"127.0.0.1:{probe}" for probe in probes],
            "lb": [f"127.0.0.1:{balancer.status_port}"],
        }
        headers = {"Authorization": f"Bearer {OPERATOR.token}"}
        http = httpx.Client(base_url=balancer.url, headers=headers, timeout=30)
        yield System(
            cluster=cluster,
            replicas=replicas,
            balancer=balancer,
            gateways=gateways,
            targets=targets,
            prometheus=stack.enter_context(prometheus_on(folder, targets)),
            collector=collector,
            http=stack.enter_context(http),
            environment={"SEKRING_REDIS_URL": cluster.url}
            | {variable_of(name): str(value) for name, value in settings.items()},
            connections=folder / "connections.jsonl",
        )
