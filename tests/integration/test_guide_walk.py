"""The newcomer's walk: `scripts/serve`, and every command of the guide as the guide prints it."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.servers import free_port, wait_until

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="the guide's commands are curl"
)

#: The guide's commands, letter by letter.
GUIDE = """
# Manual Reset Circuit Breaker
curl -X POST "http://localhost:8000/reset-circuit-breaker/YOUR_INSTANCE_ID"
chmod +x scripts/reset-circuit-breaker.sh
./scripts/reset-circuit-breaker.sh YOUR_INSTANCE_ID

# Monitor Circuit Breaker Status
curl -X GET "http://localhost:8000/health"
curl -X GET "http://localhost:8000/circuit-breaker-status/YOUR_INSTANCE_ID"
curl -s http://localhost:8000/health

# Emergency Commands
curl -X POST "http://localhost:8000/reset-circuit-breaker/instance_1"
curl -X POST "http://localhost:8000/reset-circuit-breaker/instance_2"
curl -X GET "http://localhost:8000/health"
"""

#: What the guide shows under `data` of /health.
HEALTH_FIELDS = {
    "server_status",
    "total_instances",
    "active_connections",
    "connecting",
    "circuit_breaker_activations",
    "total_retry_attempts",
    "total_recent_failures",
    "health_score",
}

#: What a browser says of an address that its user typed.
TYPED_ADDRESS = """
    -H "Accept: text/html,application/xhtml+xml,*/*;q=0.8" -H "Sec-Fetch-Site: none"
    -H "Sec-Fetch-Mode: navigate" -H "Sec-Fetch-User: ?1" -H "Sec-Fetch-Dest: document"
"""


class Newcomer:
    """Somebody with a shell in the clone, and `scripts/serve` in another one."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.data_dir = folder / "data"
        self.log = folder / "serve.log"
        self._serve: subprocess.Popen[bytes] | None = None

    # ------------------------------------------------------------------------- scripts/serve

    def starts_the_service(self) -> None:
        with self.log.open("ab") as log:
            self._serve = subprocess.Popen(
                [ROOT / "scripts" / "serve"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # Long enough for a first start that has to install the packages.
        wait_until(self._is_ready, "scripts/serve", seconds=240)

    def stops_the_service(self) -> int:
        assert self._serve
        self._serve.terminate()
        code = self._serve.wait(30)
        self._serve = None
        return code

    def kills_the_service(self) -> None:
        """End the process that was started, and only that one, by `kill -9`."""
        assert self._serve
        os.kill(self._serve.pid, signal.SIGKILL)
        self._serve.wait(30)
        self._serve = None

    def __enter__(self) -> Self:
        self.starts_the_service()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._serve:
            self.stops_the_service()

    def _is_ready(self) -> bool:
        assert self._serve
        assert self._serve.poll() is None, self.log.read_text()
        return self.shell('curl -s "http://localhost:8000/ready"').returncode == 0

    # --------------------------------------------------------------------------------- the shell

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone, at the port and for the instance that are ours."""
        command = command.replace("localhost:8000", f"localhost:{self.port}")
        return subprocess.run(
            ["bash", "-c", " ".join(command.split("\n"))],
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def says(self, command: str) -> Any:
        """Run a command that has to succeed; return the JSON that it prints."""
        done = self.shell(command)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def status_of(self, instance_id: str) -> dict[str, Any]:
        answer = self.says(
            f'curl -X GET "http://localhost:8000/circuit-breaker-status/{instance_id}"'
        )
        assert answer["status"] == "success"
        data: dict[str, Any] = answer["data"]
        return data

    def health(self) -> dict[str, Any]:
        data: dict[str, Any] = self.says('curl -X GET "http://localhost:8000/health"')["data"]
        return data

    def asks_for_an_attempt(self, instance_id: str) -> Any:
        return self.says(
            f'curl -X POST "http://localhost:8000/v1/instances/{instance_id}/attempts"'
        )

    def reports_a_failure(self, instance_id: str) -> Any:
        body = shlex.quote('{"outcome": "failure", "kind": "websocket"}')
        path = f"/v1/instances/{instance_id}/outcomes"
        return self.says(f'curl -X POST "http://localhost:8000{path}" -d {body}')

    def trips(self, instance_id: str) -> None:
        """Report the 15 failures that open a breaker."""
        tripped = [self.reports_a_failure(instance_id)["tripped"] for _ in range(15)]
        assert tripped == [False] * 14 + [True]

    def sets_the_policy(self, **fields: int) -> None:
        body = shlex.quote(json.dumps(fields))
        self.says(f'curl -X PUT "http://localhost:8000/v1/policy" -d {body}')

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return kept | {
            "SEKRING_PORT": str(self.port),
            "SEKRING_DATA_DIR": str(self.data_dir),
            "SEKRING_DRAIN_MS": "0",
            "SEKRING_URL": f"http://localhost:{self.port}",
        }


@pytest.fixture(scope="module")
def newcomer() -> Iterator[Newcomer]:
    with tempfile.TemporaryDirectory() as folder, Newcomer(Path(folder)) as newcomer:
        yield newcomer


def test_every_command_of_the_guide_works_as_printed(newcomer: Newcomer) -> None:
    commands = [line for line in GUIDE.splitlines() if line and not line.startswith("#")]
    for command in commands:
        done = newcomer.shell(command.replace("YOUR_INSTANCE_ID", "6281234567890"))

        assert done.returncode == 0, f"{command}: {done.stderr}"
        if command.startswith("curl"):
            assert json.loads(done.stdout)["status"] == "success", command


def test_health_has_the_guides_form(newcomer: Newcomer) -> None:
    health = newcomer.says('curl -X GET "http://localhost:8000/health"')

    assert health.keys() == {"status", "message", "data"}
    assert (health["status"], health["message"]) == ("success", "Server is running")
    assert health["data"].keys() >= HEALTH_FIELDS
    assert health["data"]["server_status"] == "running"
    # The guide's eight come first, then what was added.
    assert set(list(health["data"])[:8]) == HEALTH_FIELDS


def test_an_instance_that_was_never_seen_is_closed(newcomer: Newcomer) -> None:
    status = newcomer.status_of("never-seen")

    assert status["circuit_breaker_active"] is False
    assert status["recent_failures"] == 0
    assert status["retry_attempts"] == 0
    assert status["last_failure_timestamps"] == []
    assert status["session_exists"] is False
    assert status["connecting"] is False


def test_the_15th_failure_opens_the_breaker(newcomer: Newcomer) -> None:
    before = newcomer.health()
    for failures in range(1, 15):
        assert newcomer.reports_a_failure("fails")["failures"] == failures
    assert newcomer.status_of("fails")["circuit_breaker_active"] is False
    assert newcomer.asks_for_an_attempt("fails")["permitted"] is True

    verdict = newcomer.reports_a_failure("fails")

    assert (verdict["counted"], verdict["tripped"], verdict["state"]) == (True, True, "open")
    status = newcomer.status_of("fails")
    assert status["circuit_breaker_active"] is True
    assert status["recent_failures"] == 15
    assert len(status["last_failure_timestamps"]) == 15
    assert status["last_failure_timestamps"] == sorted(status["last_failure_timestamps"])
    assert (status["state"], status["threshold"], status["cause"]) == ("open", 15, "failures")
    assert status["resets_at"] - status["opened_at"] == 600_000
    assert 0 < status["remaining_ms"] <= 600_000
    after = newcomer.health()
    assert after["circuit_breaker_activations"] == before["circuit_breaker_activations"] + 1
    assert after["total_recent_failures"] == before["total_recent_failures"] + 15
    assert after["health_score"] < before["health_score"]


def test_an_open_breaker_refuses_with_its_reason_and_the_time_left(newcomer: Newcomer) -> None:
    newcomer.trips("refused")

    attempt = newcomer.asks_for_an_attempt("refused")

    assert attempt["permitted"] is False
    assert attempt["attempt_id"] is None
    assert (attempt["state"], attempt["cause"]) == ("open", "failures")
    assert 0 < attempt["retry_after_ms"] <= 600_000


def test_failures_while_open_are_not_counted_and_prolong_nothing(newcomer: Newcomer) -> None:
    newcomer.trips("patient")
    before = newcomer.status_of("patient")

    verdict = newcomer.reports_a_failure("patient")

    assert (verdict["counted"], verdict["why"]) == (False, "open")
    after = newcomer.status_of("patient")
    assert after["recent_failures"] == 15
    assert after["resets_at"] == before["resets_at"]
    assert after["suppressed"] == 1


def test_method_1_resets_via_the_api(newcomer: Newcomer) -> None:
    newcomer.trips("via-api")

    answer = newcomer.says('curl -X POST "http://localhost:8000/reset-circuit-breaker/via-api"')

    assert (answer["status"], answer["instance_id"], answer["was"]) == (
        "success",
        "via-api",
        "open",
    )
    assert "has been reset" in answer["message"]
    assert_it_is_as_new(newcomer, "via-api")


def test_method_2_resets_via_the_script(newcomer: Newcomer) -> None:
    newcomer.trips("via-script")

    done = newcomer.shell("./scripts/reset-circuit-breaker.sh via-script")

    assert done.returncode == 0, done.stderr
    assert "via-script has been reset" in done.stdout
    assert_it_is_as_new(newcomer, "via-script")


def test_method_3_resets_via_the_browser(newcomer: Newcomer) -> None:
    newcomer.trips("via-browser")

    page = newcomer.shell(
        f'curl -sL {TYPED_ADDRESS} "http://localhost:8000/reset-circuit-breaker/via-browser"'
    )

    assert page.returncode == 0, page.stderr
    assert "<html" in page.stdout
    assert "via-browser" in page.stdout
    assert_it_is_as_new(newcomer, "via-browser")


@pytest.mark.parametrize(
    "headers",
    [
        # A link on another site; a preview of it; a prefetch; a program that reads pages.
        TYPED_ADDRESS.replace("Site: none", "Site: cross-site"),
        TYPED_ADDRESS.replace('-H "Sec-Fetch-User: ?1"', ""),
        TYPED_ADDRESS + ' -H "Sec-Purpose: prefetch"',
        '-H "Accept: text/html"',
    ],
    ids=["link", "no-user", "prefetch", "program"],
)
def test_whoever_else_gets_that_address_changes_nothing(newcomer: Newcomer, headers: str) -> None:
    newcomer.trips("untouched")

    page = newcomer.shell(
        f'curl -sL {headers} "http://localhost:8000/reset-circuit-breaker/untouched"'
    )

    assert "<form" in page.stdout
    assert newcomer.status_of("untouched")["circuit_breaker_active"] is True
    newcomer.says('curl -X POST "http://localhost:8000/reset-circuit-breaker/untouched"')


def test_a_get_for_json_is_told_to_post(newcomer: Newcomer) -> None:
    answer = newcomer.says(
        'curl -s -H "Accept: application/json" "http://localhost:8000/reset-circuit-breaker/628"'
    )

    assert answer["status"] == "error"
    assert "POST" in answer["message"]


def assert_it_is_as_new(newcomer: Newcomer, instance_id: str) -> None:
    status = newcomer.status_of(instance_id)
    assert (status["circuit_breaker_active"], status["recent_failures"]) == (False, 0)
    assert status["retry_attempts"] == 0
    assert newcomer.asks_for_an_attempt(instance_id)["permitted"] is True


def test_after_the_cooldown_it_resets_by_itself(newcomer: Newcomer) -> None:
    newcomer.sets_the_policy(cooldown_ms=1)
    try:
        newcomer.trips("recovers")

        wait_until(
            lambda: not newcomer.status_of("recovers")["circuit_breaker_active"], "the auto-reset"
        )

        assert newcomer.status_of("recovers")["recent_failures"] == 0
        assert newcomer.asks_for_an_attempt("recovers")["permitted"] is True
        history = newcomer.says(
            'curl -s "http://localhost:8000/v1/instances/recovers/history?limit=2"'
        )
        assert [entry["action"] for entry in history["transitions"]] == ["recover", "trip"]
    finally:
        newcomer.sets_the_policy(cooldown_ms=600_000)


def test_a_lower_threshold_trips_sooner(newcomer: Newcomer) -> None:
    """The guide's "Lebih ketat": 10 instead of 15, at run time."""
    newcomer.sets_the_policy(failure_threshold=10)
    try:
        tripped = [newcomer.reports_a_failure("strict")["tripped"] for _ in range(10)]
        assert tripped == [False] * 9 + [True]
        assert newcomer.status_of("strict")["threshold"] == 10
    finally:
        newcomer.sets_the_policy(failure_threshold=15)


def test_others_are_served_while_one_breaker_is_open(newcomer: Newcomer) -> None:
    newcomer.trips("broken")

    assert newcomer.asks_for_an_attempt("broken")["permitted"] is False
    assert newcomer.asks_for_an_attempt("sound")["permitted"] is True


# ------------------------------------------------------------------------------------- restarts


def test_nothing_is_lost_when_the_service_is_stopped_and_started(tmp_path: Path) -> None:
    with Newcomer(tmp_path) as newcomer:
        newcomer.sets_the_policy(window_ms=600_000)
        newcomer.trips("open")
        newcomer.reports_a_failure("failing")
        health, status = newcomer.health(), newcomer.status_of("open")

        assert newcomer.stops_the_service() == 0
        newcomer.starts_the_service()

        assert newcomer.health() == health
        assert without_clock(newcomer.status_of("open")) == without_clock(status)
        assert newcomer.reports_a_failure("failing")["failures"] == 2
        policy = newcomer.says('curl -s "http://localhost:8000/v1/policy"')
        assert policy["set"] == {"window_ms": 600_000}


def test_nothing_is_lost_when_the_service_is_killed(tmp_path: Path) -> None:
    with Newcomer(tmp_path) as newcomer:
        newcomer.trips("open")
        health, status = newcomer.health(), newcomer.status_of("open")

        newcomer.kills_the_service()
        wait_until(lambda: is_free(newcomer.port), "the killed service's port")
        newcomer.starts_the_service()

        assert newcomer.health() == health
        assert without_clock(newcomer.status_of("open")) == without_clock(status)


def is_free(port: int) -> bool:
    done = subprocess.run(
        ["curl", "-s", f"http://127.0.0.1:{port}/live"], capture_output=True, check=False
    )
    return done.returncode == 7  # connection refused


def without_clock(status: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in status.items() if name != "remaining_ms"}
