"""`sekring gateway` as a command: what it says when it cannot start, and how it ends."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sekring.tokens import NewToken, Role
from tests.gateways import GatewayProcess
from tests.servers import RedisServer, free_port, wait_until
from tests.serving import ServiceProcess


def ended(**environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command with only these variables, to its end."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "sekring", "gateway"],
        env=inherited | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SEKRING_GATEWAY_CAPACITY", "0", "takes a whole number from 1"),
        ("SEKRING_GATEWAY_NAME", "a/b", "takes 1 to 128 of"),
        ("SEKRING_DRIVER", "baileys", "takes one of neonize, scripted"),
        ("SEKRING_URL", "localhost:8000", "takes http://host:port"),
        ("SEKRING_URL", "http://user:hunter2@host", "takes http://host:port"),
        ("SEKRING_PROXY", "ftp://user:hunter2@host", "takes http://"),
        ("SEKRING_TOKEN", "two hunter2", "takes text without spaces"),
        ("SEKRING_GATEWAY_PROBE_PORT", "0", "takes a whole number from 1 to 65535"),
        ("SEKRING_SCENARIO", "/nowhere.toml", "No such file"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(variable: str, value: str, said: str) -> None:
    found = ended(**{"SEKRING_DRIVER": "scripted", variable: value})

    assert found.returncode == 2, found.stderr
    assert found.stderr.startswith(f"sekring: {variable}: ")
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    if variable in {"SEKRING_TOKEN", "SEKRING_PROXY"}:
        assert "hunter2" not in found.stderr


def test_a_port_for_probes_that_is_taken_stops_the_start_and_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = ended(SEKRING_DRIVER="scripted", SEKRING_GATEWAY_PROBE_PORT=str(port))

    assert found.returncode == 2, found.stderr
    assert "SEKRING_GATEWAY_PROBE_PORT: cannot listen on 127.0.0.1 port" in found.stderr
    assert "Address already in use" in found.stderr


def test_a_token_that_the_service_does_not_take_stops_the_start(redis_server: RedisServer) -> None:
    known, other, viewer = (
        NewToken.make(name, role)
        for name, role in (("k", Role.GATEWAY), ("o", Role.GATEWAY), ("v", Role.VIEWER))
    )
    tokens = ",".join(f"{one.name}={one.role}:{one.hash}" for one in (known.entry, viewer.entry))
    with ServiceProcess(redis_server.url, tokens=tokens) as service:
        for token in ("", other.token, viewer.token):
            found = ended(SEKRING_DRIVER="scripted", SEKRING_URL=service.url, SEKRING_TOKEN=token)

            assert found.returncode == 2, found.stderr
            assert "sekring: SEKRING_TOKEN: the service at" in found.stderr
            assert not token or token not in found.stderr


def test_a_service_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    gateway = GatewayProcess("a", f"http://127.0.0.1:{free_port()}", tmp_path)
    with gateway:
        assert gateway.said("the service is not there yet")
        wait_until(lambda: gateway.said("the service does not answer"), "the log")
        assert gateway.stop() == 0


def test_a_variable_that_is_no_setting_is_told_and_those_of_the_service_are_not(
    tmp_path: Path,
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with GatewayProcess("a", url, tmp_path, gateway_capcity=5, redis_url="redis://x") as gateway:
        (warning,) = [line for line in gateway.log_text().splitlines() if "no effect" in line]

    assert "did you mean SEKRING_GATEWAY_CAPACITY?" in warning
    assert gateway.said("gateway stopped")
