"""deploy/compose.yaml: valid, pinned, closed, and every file, variable and port of it is there."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from sekring.cli import server
from sekring.gateway import supervisor
from sekring.gateway.settings import GatewaySettings
from sekring.http import runtime
from sekring.settings import load, load_as
from sekring.tokens import Role, TokenBook
from tests.dockerfile import environment, read_stages
from tests.servers import free_port, redis_binary, wait_until
from tests.settingnames import known_to

DEPLOY = Path(__file__).parents[2] / "deploy"

COMPOSE = DEPLOY / "compose.yaml"

#: Ours; all others are other people's images.
OURS = ("service", "gateway")

#: Images without a shell, a client or a check of their own.
CANNOT_BE_ASKED = {"collector", "loki", "tempo"}

Service = dict[str, Any]


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    found: dict[str, Any] = msgspec.yaml.decode(COMPOSE.read_bytes())
    return found


@pytest.fixture(scope="module")
def services(composed: dict[str, Any]) -> dict[str, Service]:
    found: dict[str, Service] = composed["services"]
    return found


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What deploy/secrets makes."""
    folder = tmp_path_factory.mktemp("secrets") / "made"
    done = subprocess.run([DEPLOY / "secrets", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def check(path: Path) -> subprocess.CompletedProcess[str]:
    """Hold a file against the schema of the Compose Specification."""
    words = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    program = Path(sys.executable).with_name(words[0])
    return subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False)


# ----------------------------------------------------------------------------- what it says


def test_it_is_what_the_compose_specification_describes(tmp_path: Path) -> None:
    assert check(COMPOSE).returncode == 0
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("healthcheck:", "healtcheck:", 1))

    assert "healtcheck" in check(wrong).stdout


def test_it_has_what_was_promised(services: dict[str, Service]) -> None:
    assert services["service"]["deploy"]["replicas"] == 3
    assert services["gateway"]["deploy"]["replicas"] == 2
    assert set(services) == {
        *OURS, "lb", "redis", "postgres", "collector", "tempo", "prometheus", "loki", "grafana",
    }  # fmt: skip


def test_every_image_is_of_one_version(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?", service["image"]), name


def test_every_container_is_closed(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory", "pids"} == limits.keys(), name


def test_only_this_machine_reaches_it(services: dict[str, Service]) -> None:
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name


def test_every_container_can_be_asked_how_it_is(services: dict[str, Service]) -> None:
    unasked = {
        name for name, service in services.items()
        if "healthcheck" not in service and name not in OURS
    }  # fmt: skip

    assert unasked == CANNOT_BE_ASKED
    for name in OURS:
        assert read_stages()[name].all("HEALTHCHECK")
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            expected = "service_started" if other in unasked else "service_healthy"
            assert how["condition"] == expected, f"{name} on {other}"


def test_every_file_is_there(services: dict[str, Service], composed: dict[str, Any]) -> None:
    mounted = {
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", ())
    }
    volumes = {source for source in mounted if not source.startswith(".")}

    assert [source for source in mounted - volumes if not (DEPLOY / source).exists()] == []
    assert volumes == composed["volumes"].keys()


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(services: dict[str, Service], name: str) -> None:
    given = services[name]["environment"]

    assert [variable for variable in given if not known_to(name, variable)] == []


def test_a_stop_is_waited_for(services: dict[str, Service]) -> None:
    drain_s = services["service"]["environment"]["SEKRING_DRAIN_MS"] / 1000
    finish_s = server._WORKER_GRACE_S + 2 * runtime._FLUSH_S
    hand_over_s = supervisor._DRAIN_S + supervisor._LAST_REPORTS_S

    assert seconds(services["service"]["stop_grace_period"]) > drain_s + finish_s
    assert seconds(services["gateway"]["stop_grace_period"]) > hand_over_s


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_the_drain_is_longer_than_the_load_balancer_takes_to_notice(
    services: dict[str, Service],
) -> None:
    text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    found = re.search(r"check inter (\d+)s .* fall (\d+) ", text)
    timeout = re.search(r"timeout check (\d+)s", text)
    assert found
    assert timeout
    notices_s = int(found[1]) * int(found[2]) + int(timeout[1])

    assert services["service"]["environment"]["SEKRING_DRAIN_MS"] / 1000 > notices_s


def test_the_ports_are_those_that_are_listened_on(services: dict[str, Service]) -> None:
    """What clients, the load balancer, gateways and Prometheus go to."""
    balancer = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    prometheus = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    scraped = re.findall(r"names: \[(\w+)\]\s+type: A\s+port: (\d+)", prometheus)
    listens = {
        "service": environment(read_stages(), "service")["SEKRING_PORT"],
        "gateway": environment(read_stages(), "gateway")["SEKRING_GATEWAY_PROBE_PORT"],
    }

    assert f"service:{listens['service']}" in balancer
    assert dict(scraped) == listens
    (published,) = services["lb"]["ports"]
    assert f"SEKRING_LB_LISTEN-:{published.rpartition(':')[2]}}}" in balancer
    assert services["gateway"]["environment"]["SEKRING_URL"] == "http://lb:8080"


# ------------------------------------------------------------------------------ its secrets


def test_every_secret_is_made(
    services: dict[str, Service], composed: dict[str, Any], secrets: Path
) -> None:
    files = {one["file"] for one in composed["secrets"].values()}
    files |= {file for service in services.values() for file in service.get("env_file", ())}
    used = {secret for service in services.values() for secret in service.get("secrets", ())}

    assert [file for file in files if not (secrets / Path(file).name).exists()] == []
    assert used == composed["secrets"].keys()
    # The folder is closed; the files are for the users of the containers.
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in secrets.iterdir()} == {0o444}


def test_service_and_gateway_take_them(services: dict[str, Service], secrets: Path) -> None:
    service = load(placed(services["service"], secrets)).settings
    gateway = load_as(GatewaySettings, placed(services["gateway"], secrets), command="gateway")
    book = TokenBook.load(service.tokens_file, None)
    caller = book.caller_of(gateway.settings.token or "")

    assert caller
    assert caller.role is Role.GATEWAY
    assert service.seal_key
    assert gateway.settings.device_store


def placed(service: Service, secrets: Path) -> dict[str, str]:
    return {
        name: str(text).replace("/run/secrets", str(secrets))
        for name, text in service["environment"].items()
        if name.startswith("SEKRING_")
    }


def test_what_is_there_is_not_replaced(secrets: Path) -> None:
    before = (secrets / "redis_url").read_text()

    again = subprocess.run(
        [DEPLOY / "secrets", secrets], capture_output=True, text=True, check=False
    )

    assert again.returncode == 1
    assert (secrets / "redis_url").read_text() == before


# -------------------------------------------------------------------------------- its Redis


@pytest.fixture
def redis_port(services: dict[str, Service], secrets: Path, tmp_path: Path) -> Iterator[int]:
    """The container's command, with the container's paths replaced by this machine's."""
    port = free_port()
    replaced = {
        "/run/secrets": str(secrets),
        "/etc/sekring-redis": str(DEPLOY / "redis"),
        "valkey-server": redis_binary(),
        "/data": str(tmp_path),
        "$$": "$",
    }
    words = services["redis"]["command"]
    for there, here in replaced.items():
        words = [word.replace(there, here) for word in words]
    words[-1] = words[-1].rstrip() + f" --bind 127.0.0.1 --port {port}\n"
    variables = {"PATH": os.environ["PATH"], "RUN_DIR": str(tmp_path / "run")}
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(words, env=variables, stdout=out, stderr=out)
    try:
        wait_until(lambda: answers(port, process, log), "the Redis of compose.yaml")
        yield port
    finally:
        process.kill()
        process.wait()


def answers(port: int, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        with redis.Redis(port=port) as client:
            client.ping()
    except redis.AuthenticationError:
        return True  # nobody without a password
    except redis.ConnectionError:
        return False
    raise AssertionError("Redis lets in who has no password")


def test_redis_is_what_the_service_needs(redis_port: int, secrets: Path) -> None:
    given = dict(line.split("=", 1) for line in (secrets / "redis.env").read_text().splitlines())
    url = (secrets / "redis_url").read_text().strip()
    with redis.Redis.from_url(url.replace("redis:6379", f"127.0.0.1:{redis_port}")) as service:
        assert service.ping()
    with redis.Redis(port=redis_port, username="admin", password=given["ADMIN_PASSWORD"]) as admin:
        assert admin.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert admin.config_get("appendonly") == {"appendonly": "yes"}
    with redis.Redis(
        port=redis_port, username="exporter", password=given["EXPORTER_PASSWORD"]
    ) as exporter:
        assert exporter.info()["redis_version"]
