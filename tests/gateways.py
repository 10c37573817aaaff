"""`sekring gateway` as users start it: its own process, with the scripted driver and its log."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.servers import wait_until
from tests.serving import entries_of, variable_of

__all__ = ["GatewayProcess", "phases", "sessions", "wish"]

#: What the process gets of this process's environment; no SEKRING_* of a developer's shell.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")

#: How long an end in order may take, in seconds: the gateway's own limit, and a little.
_STOP_S = 30

#: How long 503s are met with the same question, in seconds.
_INSIST_S = 30


class GatewayProcess:
    """One gateway; `with GatewayProcess("a", service.url, folder) as gateway: …`.

    Gateways that share a `folder` share the scripted driver's log and scenario in it. A stopped or
    killed one can be started again.
    """

    def __init__(self, name: str, url: str, folder: Path, **settings: object) -> None:
        """Prepare a process; nothing is started yet. Settings go by their names."""
        self.name = name
        self.url = url
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._settings: dict[str, object] = {
            "url": url,
            "gateway_name": name,
            "driver": "scripted",
            "scripted_log": folder / "connections.jsonl",
            "data_dir": folder / name,
            "log_format": "json",
            "log_level": "debug",
        } | settings
        if (folder / "scenario.toml").exists():
            self._settings.setdefault("scenario", folder / "scenario.toml")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        assert self._process, "the gateway was not started"
        return self._process.pid

    @property
    def worker_pids(self) -> list[int]:
        """Its worker processes."""
        return _children_of(self.pid)

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it says so."""
        assert self._process is None, "the gateway runs already"
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        for name, value in self._settings.items():
            environment[variable_of(name)] = str(value)
        started = self.log_text().count("gateway started")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sekring", "gateway"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        if wait:
            wait_until(lambda: self._has_started(started + 1), f"gateway {self.name}", seconds=60)

    def _has_started(self, times: int) -> bool:
        assert self._process
        assert self._process.poll() is None, f"the gateway has ended:\n{self.log_text()}"
        return self.log_text().count("gateway started") >= times

    def signal(self, number: signal.Signals, *, workers: bool = False) -> list[int]:
        """Send the supervisor a signal, and its workers as well if told so; return their ids.

        The supervisor comes first, so that it starts no worker in between.
        """
        os.kill(self.pid, number)
        pids = self.worker_pids if workers else []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids

    def wait(self, seconds: float = _STOP_S) -> int:
        """Wait until it has ended by itself; return its exit code."""
        assert self._process, "the gateway was not started"
        code = self._process.wait(seconds)
        self._process = None
        return code

    def stop(self) -> int | None:
        """End it by SIGTERM; return its exit code, `None` if it did not run."""
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the gateway did not stop:\n{self.log_text()}") from None

    def kill(self) -> None:
        """End the supervisor by SIGKILL; its workers notice by themselves."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log_text(self) -> str:
        """Return everything that it has logged since the first start."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the log's entries of that event."""
        return entries_of(event, self.log_text())

    def __enter__(self) -> Self:
        """Start."""
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop; it ends in order."""
        code = self.stop()
        assert code in {None, 0} or error, f"it ended with {code}:\n{self.log_text()}"


def wish(url: str, instances: Iterable[str]) -> None:
    """Have sessions connected."""
    with httpx.Client(base_url=url, timeout=30) as http:
        for instance in instances:
            _insist(http, "POST", "/v1/sessions", json={"instance_id": instance})


def sessions(url: str) -> dict[str, dict[str, Any]]:
    """Return all sessions by their instances, as the service lists them."""
    found: dict[str, dict[str, Any]] = {}
    cursor: str | None = None
    with httpx.Client(base_url=url, timeout=30) as http:
        while True:
            query = {"limit": "1000"} | ({} if cursor is None else {"cursor": cursor})
            page = _insist(http, "GET", "/v1/sessions", params=query).json()
            found |= {one["instance_id"]: one for one in page["sessions"]}
            cursor = page["cursor"]
            if cursor is None:
                return found


def phases(url: str) -> dict[str, str]:
    """Return the phase of each session."""
    return {instance: one["phase"] for instance, one in sessions(url).items()}


@contextlib.contextmanager
def running(gateways: Sequence[GatewayProcess]) -> Iterator[None]:
    """Start gateways together, and end them together."""
    try:
        for gateway in gateways:
            gateway.start(wait=False)
        yield
    finally:
        for gateway in gateways:
            gateway.kill()
        # Their workers notice within moments.
        time.sleep(0)


def _insist(http: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
    """Ask again after a 503, as clients do: on a busy machine a Redis may miss its deadline."""
    until_s = time.monotonic() + _INSIST_S
    while (answer := http.request(method, path, **request)).status_code == 503:
        if time.monotonic() > until_s:
            break
        time.sleep(0.2)
    answer.raise_for_status()
    return answer


def _children_of(pid: int) -> list[int]:
    """Return the processes that `pid` has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found
