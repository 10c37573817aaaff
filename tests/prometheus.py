"""A Prometheus with the rules that ship, scraping processes of a test."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.promql import PROMETHEUS
from tests.servers import free_port, wait_until

__all__ = ["Prometheus", "prometheus_on"]

#: How often it scrapes, and how long an answer may take on a busy machine.
_OFTEN = "2s"


class Prometheus:
    """One that runs."""

    def __init__(self, http: httpx.Client) -> None:
        """Ask it by `http`."""
        self._http = http

    def is_ready(self) -> bool:
        """Tell whether it answers queries."""
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def ask(self, query: str) -> dict[str, Any]:
        """Return the answer to an instant query, an error's too."""
        found: dict[str, Any] = self._http.post("/api/v1/query", data={"query": query}).json()
        return found


@contextlib.contextmanager
def prometheus_on(
    folder: Path, targets: Mapping[str, Sequence[str]]
) -> Iterator[Prometheus | None]:
    """Run one by the `prometheus.yml` that ships, but for the `targets` of its jobs and its pace.

    Yields `None` where it is not installed (Debian: prometheus).
    """
    program = shutil.which("prometheus")
    if program is None:
        yield None
        return
    (folder / "prometheus.yml").write_bytes(msgspec.yaml.encode(_configuration(targets)))
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={address}",
            "--log.level=warn",
            "--enable-feature=exemplar-storage",
        ],
        stdout=sys.stderr,
        stderr=sys.stderr,
    )
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=30) as http:
            prometheus = Prometheus(http)
            wait_until(prometheus.is_ready, f"Prometheus on {address}", 60)
            yield prometheus
    finally:
        process.kill()
        process.wait()


def _configuration(targets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    shipped = msgspec.yaml.decode((PROMETHEUS / "prometheus.yml").read_bytes(), type=dict[str, Any])
    jobs = {job["job_name"] for job in shipped["scrape_configs"]}
    assert targets.keys() <= jobs
    return {
        "global": {
            "scrape_interval": _OFTEN,
            "scrape_timeout": _OFTEN,
            "evaluation_interval": "1s",
        },
        "rule_files": [str(PROMETHEUS / one) for one in shipped["rule_files"]],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": addresses}]}
            for job, addresses in targets.items()
        ],
    }
