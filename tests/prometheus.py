"""A Prometheus with the rules that ship, scraping processes of a test."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from tests.promql import PROMETHEUS
from tests.servers import free_port, wait_until

__all__ = ["PrometheusServer", "prometheus_binary"]

#: How often it scrapes, and how long an answer may take on a busy machine.
_OFTEN = "2s"


def prometheus_binary() -> str | None:
    """Return the program, if it is installed (Debian: prometheus)."""
    return shutil.which("prometheus")


class PrometheusServer:
    """`with PrometheusServer(folder, {"sekring": 8000}) as prometheus: prometheus.ask("up")`.

    Configured by the `prometheus.yml` that ships, but for where the `ports` of its jobs are, and
    that it looks often.
    """

    def __init__(self, folder: Path, ports: Mapping[str, int]) -> None:
        """Write the configuration into `folder`; nothing is started yet."""
        self._folder = folder
        self._port = free_port()
        shipped = msgspec.yaml.decode((PROMETHEUS / "prometheus.yml").read_bytes())
        config: dict[str, Any] = shipped | {
            "global": {
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "evaluation_interval": "1s",
            },
            "rule_files": [str(PROMETHEUS / one) for one in shipped["rule_files"]],
            "scrape_configs": [
                {
                    "job_name": job["job_name"],
                    "static_configs": [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}],
                }
                for job in shipped["scrape_configs"]
                if job["job_name"] in ports
            ],
        }
        (folder / "prometheus.yml").write_bytes(msgspec.yaml.encode(config))
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, query: str) -> dict[str, Any]:
        """Return the answer to an instant query, an error's too."""
        answer = httpx.post(f"{self._url}/api/v1/query", data={"query": query}, timeout=30)
        found: dict[str, Any] = answer.json()
        return found

    def __enter__(self) -> Self:
        """Start it, and wait until it answers."""
        program = prometheus_binary()
        assert program, "prometheus is not installed"
        self._process = subprocess.Popen(
            [
                program,
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--enable-feature=exemplar-storage",
            ],
            stdout=sys.stderr,
            stderr=sys.stderr,
        )
        try:
            wait_until(self._is_ready, f"Prometheus on port {self._port}", 60)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        assert self._process
        self._process.terminate()
        self._process.wait(30)

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _is_ready(self) -> bool:
        assert self._process
        assert self._process.poll() is None, "Prometheus has ended; see its log above"
        try:
            return httpx.get(f"{self._url}/-/ready", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False
