"""`sekring up`, which is what scripts/serve runs: the service and a gateway of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers import RedisServer, free_port, wait_until

#: How long a start or a stop may take, in seconds.
PATIENCE_S = 60

TOKEN_ENTRY = "operations=operator:0123abcd:" + "0" * 64


class Up:
    """The command, and what it has started."""

    def __init__(self, folder: Path, *options: str, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.log = folder / "up.log"
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment |= {f"SEKRING_{name.upper()}": value for name, value in settings.items()}
        environment |= {"TMPDIR": str(folder), "SEKRING_DRAIN_MS": "0"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sekring", "up", "--port", str(self.port), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    def get(self, path: str) -> Any:
        """What is at the path; `None` while nothing answers."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(self.url + path).raise_for_status().json()
        except httpx.HTTPError:
            return None

    def gateways(self) -> list[str]:
        """Names of the gateways that live."""
        return [
            one["gateway"] for one in (self.get("/v1/gateways") or {"gateways": []})["gateways"]
        ]

    def pids(self, command: str) -> list[int]:
        """Processes `sekring COMMAND` that it has started."""
        words = ["-m", "sekring", command]
        return [pid for pid in children_of(self.process.pid) if command_of(pid)[1:4] == words]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running(folder: Path, *options: str, **settings: str) -> Iterator[Up]:
    up = Up(folder, *options, **settings)
    try:
        yield up
    finally:
        up.end()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except FileNotFoundError:  # it has ended meanwhile
        return []


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


@pytest.fixture
def scripted(redis_url: str, tmp_path: Path) -> dict[str, str]:
    """Settings for sessions that nobody has to connect anywhere."""
    return {"redis_url": redis_url, "driver": "scripted", "data_dir": str(tmp_path / "data")}


def test_the_service_and_a_gateway_come_up_and_go_down(
    scripted: dict[str, str], tmp_path: Path
) -> None:
    with running(tmp_path, **scripted, gateway_name="beside") as up:
        wait_until(lambda: up.gateways() == ["beside"], "its gateway", PATIENCE_S)
        httpx.post(f"{up.url}/v1/sessions", json={"instance_id": "628"}).raise_for_status()
        wait_until(
            lambda: up.get("/v1/sessions/628")["phase"] == "connected", "a connection", PATIENCE_S
        )
        pids = [*up.pids("serve"), *up.pids("gateway")]
        up.process.terminate()
        assert up.process.wait(PATIENCE_S) == 0
        assert len(pids) == 2
        assert all(map(is_gone, pids))
    log = up.log.read_text()
    # Given back while the service was there to take it.
    assert "not given back" not in log
    assert log.index("gateway stopped") < log.index('"event": "stopped"'), log


def test_a_gateway_that_ends_is_started_again(scripted: dict[str, str], tmp_path: Path) -> None:
    with running(tmp_path, **scripted) as up:
        wait_until(lambda: up.pids("gateway"), "its gateway", PATIENCE_S)
        (before,) = up.pids("gateway")
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: up.pids("gateway") not in ([], [before]), "another gateway", PATIENCE_S)
        assert up.get("/live") is not None


def test_it_ends_with_the_service(scripted: dict[str, str], tmp_path: Path) -> None:
    with running(tmp_path, **scripted) as up:
        wait_until(lambda: up.pids("gateway"), "its gateway", PATIENCE_S)
        pids = up.pids("gateway")
        os.kill(up.pids("serve")[0], signal.SIGKILL)
        assert up.process.wait(PATIENCE_S) == 1
        assert all(map(is_gone, pids))


def test_killed_it_leaves_nothing_behind(scripted: dict[str, str], tmp_path: Path) -> None:
    with running(tmp_path, **scripted) as up:
        wait_until(up.gateways, "its gateway", PATIENCE_S)
        pids = [*up.pids("serve"), *up.pids("gateway")]
        up.process.kill()
        wait_until(lambda: all(map(is_gone, pids)), "the end of both", PATIENCE_S)


@pytest.mark.parametrize(
    ("options", "settings"), [((), {"gateway": "off"}), (("--no-gateway",), {"gateway": "on"})]
)
def test_the_service_alone(
    redis_url: str, tmp_path: Path, options: tuple[str, ...], settings: dict[str, str]
) -> None:
    with running(tmp_path, *options, redis_url=redis_url, **settings) as up:
        wait_until(lambda: up.get("/ready"), "the service", PATIENCE_S)
        assert up.pids("gateway") == []
        up.process.terminate()
        assert up.process.wait(PATIENCE_S) == 0


def test_the_demonstration_shows_trips(tmp_path: Path) -> None:
    with running(tmp_path, "--demo") as up:

        def health() -> Any:
            return (up.get("/health") or {"data": {}})["data"]

        wait_until(lambda: health().get("active_connections", 0) >= 25, "connections", PATIENCE_S)
        wait_until(lambda: health()["circuit_breaker_activations"] >= 3, "trips", PATIENCE_S)
        assert health()["total_instances"] == 40
        actions = {one["action"] for one in up.get("/v1/instances/demo-05/history")["transitions"]}
        assert "trip" in actions
        up.process.terminate()
        assert up.process.wait(PATIENCE_S) == 0
    assert list(tmp_path.glob("sekring-demo-*")) == [], "its data were left behind"


@pytest.mark.parametrize(
    ("options", "settings", "words"),
    [
        ((), {"gateway": "maybe"}, "SEKRING_GATEWAY: got 'maybe', takes on or off"),
        ((), {"tokens": TOKEN_ENTRY}, "set SEKRING_TOKEN"),
        (("--demo",), {"redis_url": "redis://localhost"}, "--demo has a Valkey of its own"),
        ((), {"gateway_capacity": "many"}, "SEKRING_GATEWAY_CAPACITY: got 'many'"),
    ],
)
def test_what_cannot_work_ends_at_once(
    tmp_path: Path, options: tuple[str, ...], settings: dict[str, str], words: str
) -> None:
    with running(tmp_path, *options, **settings, data_dir=str(tmp_path / "data")) as up:
        assert up.process.wait(PATIENCE_S) == 2
    assert words in up.log.read_text()
