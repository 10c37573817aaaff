"""`sekring doctor` on real servers: what is well, and each fault made for real."""

import functools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sekring.store.embedded import Embedded
from sekring.tokens import NewToken, Role
from tests.commands import Ended, Here, in_pipe, on_terminal
from tests.gatewaydouble import GatewayDouble
from tests.receiver import Delivery, Receiver
from tests.servers import PASSWORD, RedisServer, ShippedServer, free_port
from tests.serving import PATIENT, ServiceProcess

#: 32 bytes in base64.
SEAL_KEY = "c2Vhci1zZWFyLXNlYXItc2Vhci1zZWFyLXNlYXItMTI="

Row = dict[str, Any]


class Doctor:
    """Runs `sekring doctor --json` with an environment; remembers the service and its Redis."""

    def __init__(self, server: RedisServer, service: ServiceProcess, here: Here) -> None:
        self.server = server
        self.service = service
        self._here = here

    def says(self, *words: str, **environ: str) -> Ended:
        environ = {"SEKRING_REDIS_URL": self.server.url, **environ}
        return self._here("doctor", "--json", *words, **environ)

    def rows(self, subject: str, **environ: str) -> list[Row]:
        """Return what is said of one subject."""
        found: list[Row] = self.says(**environ).json["findings"]
        return [row for row in found if row["subject"] == subject]

    def row(self, subject: str, **environ: str) -> Row:
        (row,) = self.rows(subject, **environ)
        return row

    @contextmanager
    def configured(self, **options: object) -> Iterator[None]:
        """Set options of Redis for a while."""
        with self.server.client() as client:
            before = {name: client.config_get(name)[name] for name in options}
            for name, value in options.items():
                client.config_set(name, value)
            try:
                yield
            finally:
                for name, value in before.items():
                    client.config_set(name, value)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("redis")
    with ShippedServer(folder, SEKRING_PASSWORD=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def service(server: RedisServer) -> Iterator[ServiceProcess]:
    with ServiceProcess(server.url, **PATIENT) as service:
        yield service


@pytest.fixture
def doctor(
    server: RedisServer,
    service: ServiceProcess,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Doctor:
    # The folder of the embedded server and of devices is below where one is.
    monkeypatch.chdir(tmp_path)
    return Doctor(server, service, Here(service.url, monkeypatch, capsys))


def tokens_file(folder: Path, *roles: Role) -> Path:
    entries = [NewToken.make(f"the-{role}", role).entry for role in roles]
    file = folder / "tokens.toml"
    file.write_text(
        "".join(
            f'[[token]]\nname = "{one.name}"\nrole = "{one.role}"\nhash = "{one.hash}"\n'
            for one in entries
        )
    )
    return file


# ------------------------------------------------------------------------------ all is well


def test_a_deployment_as_it_is_shipped_has_nothing_to_change(
    doctor: Doctor, tmp_path: Path
) -> None:
    environ = {
        "SEKRING_REDIS_URL": doctor.server.url,
        # A busy machine is none of the deployment's faults.
        "SEKRING_REDIS_TIMEOUT_MS": "20000",
        "SEKRING_TOKENS_FILE": str(tokens_file(tmp_path, Role.OPERATOR, Role.GATEWAY)),
        "SEKRING_SEAL_KEY": SEAL_KEY,
        "SEKRING_DEVICE_STORE": str(tmp_path),
    }
    with Receiver() as receiver:
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{receiver.port}"
        ended = in_pipe(doctor.service.url, "doctor", "--strict", "--json", **environ)
    assert ended.code == 0, ended.out
    assert ended.json["healthy"]
    assert {row["status"] for row in ended.json["findings"]} == {"ok"}
    assert [row["subject"] for row in ended.json["findings"]] == [
        "settings",
        "tokens",
        "listening",
        "encryption",
        "encryption",
        "redis",
        "version",
        "eviction",
        "persistence",
        "memory",
        "clock",
        "writes",
        "rights",
        "replicas",
        "partitions",
        "device store",
        "telemetry",
        "telemetry",
        "service",
    ]
    assert ended.err == ""
    # Whoever collects telemetry is told nothing.
    assert [delivery.raw for delivery in receiver.came] == [b"", b""]


def test_nothing_is_left_behind(doctor: Doctor) -> None:
    with doctor.server.client() as client:
        client.acl_log_reset()
        before = set(client.keys())
        doctor.says()
        assert set(client.keys()) == before
        assert client.acl_log() == []


def test_the_table_says_what_to_do(doctor: Doctor) -> None:
    with doctor.configured(**{"maxmemory-policy": "allkeys-lru"}):
        ended = in_pipe(doctor.service.url, "doctor", SEKRING_REDIS_URL=doctor.server.url)
    assert ended.code == 1
    assert (
        "eviction failure maxmemory-policy is allkeys-lru: an evicted breaker is a closed one"
        in (ended.lines)
    )
    assert any(
        line.startswith("- eviction: CONFIG SET maxmemory-policy noeviction")
        for line in ended.lines
    )
    assert any(line.startswith("telemetry not checked no OTEL") for line in ended.lines)
    assert "\x1b" not in ended.out


def test_a_terminal_gets_the_same_in_colour(doctor: Doctor) -> None:
    ended = on_terminal(doctor.service.url, "doctor", SEKRING_REDIS_URL=doctor.server.url)
    assert ended.code == 0
    assert "\x1b[32mok" in ended.out


def test_a_warning_fails_only_if_that_is_asked_for(doctor: Doctor) -> None:
    """Without a seal key there is one."""
    patient = {"SEKRING_REDIS_TIMEOUT_MS": "20000"}
    assert doctor.says(**patient).code == 0
    assert doctor.says("--strict", **patient).code == 1
    assert doctor.says("--strict", SEKRING_SEAL_KEY=SEAL_KEY, **patient).code == 0
    assert doctor.says("--sloppy").code == 2


def test_the_embedded_server_is_examined_where_it_runs(doctor: Doctor, tmp_path: Path) -> None:
    folder = {"SEKRING_REDIS_URL": "", "SEKRING_DATA_DIR": str(tmp_path / "data")}
    assert doctor.row("redis", **folder)["status"] == "not_checked"
    with Embedded(tmp_path / "data"):
        ended = doctor.says(**folder)
    rows = {row["subject"]: row["status"] for row in ended.json["findings"]}
    assert (rows["redis"], rows["persistence"], rows["rights"]) == ("ok", "ok", "ok")


# --------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("environ", "status", "words"),
    [
        ({"SEKRING_PORT": "many"}, "failure", "SEKRING_PORT: got 'many'"),
        ({"SEKRING_GATEWAY_CAPACITY": "-1"}, "failure", "SEKRING_GATEWAY_CAPACITY"),
        ({"SEKRING_REDIS_URL": "mysql://root:s3cret@db"}, "failure", "SEKRING_REDIS_URL"),
        ({"SEKRING_PARTITION": "8"}, "warning", "did you mean SEKRING_PARTITIONS?"),
    ],
)
def test_settings(doctor: Doctor, environ: dict[str, str], status: str, words: str) -> None:
    row = doctor.row("settings", **environ)
    assert row["status"] == status
    assert words in row["what"]


def test_an_unusable_option_of_the_url_is_said(doctor: Doctor) -> None:
    row = doctor.row("redis", SEKRING_REDIS_URL=f"{doctor.server.url}?patience=much")
    assert row["status"] == "failure"
    assert "an option behind the question mark" in row["what"]


# ----------------------------------------------------------------------------- tokens, access


def test_a_tokens_file_that_cannot_be_read(doctor: Doctor, tmp_path: Path) -> None:
    row = doctor.row("tokens", SEKRING_TOKENS_FILE=str(tmp_path / "absent.toml"))
    assert row["status"] == "failure"
    assert "cannot be read" in row["what"]
    assert "mounted" in row["advice"]
    # A folder, as a mount of a secret that does not exist leaves one.
    assert doctor.row("tokens", SEKRING_TOKENS_FILE=str(tmp_path))["status"] == "failure"
    # Nobody writes into it, and whoever reads it waits.
    os.mkfifo(tmp_path / "pipe")
    assert doctor.row("tokens", SEKRING_TOKENS_FILE=f"{tmp_path}/pipe")["status"] == "failure"


def test_tokens_of_which_none_is_an_operators(doctor: Doctor, tmp_path: Path) -> None:
    file = tokens_file(tmp_path, Role.VIEWER, Role.GATEWAY)
    row = doctor.row("tokens", SEKRING_TOKENS_FILE=str(file))
    assert (row["status"], row["what"]) == (
        "warning",
        "1 viewer, 1 gateway: nobody can reset or trip a breaker",
    )


def test_a_tokens_file_that_others_may_write(doctor: Doctor, tmp_path: Path) -> None:
    file = tokens_file(tmp_path, Role.OPERATOR)
    file.chmod(0o666)
    assert [row["status"] for row in doctor.rows("tokens", SEKRING_TOKENS_FILE=str(file))] == [
        "ok",
        "warning",
    ]
    file.chmod(0o644)
    assert doctor.row("tokens", SEKRING_TOKENS_FILE=str(file))["status"] == "ok"


def test_listening_for_others_without_tokens(doctor: Doctor) -> None:
    assert doctor.row("listening", SEKRING_HOST="0.0.0.0")["status"] == "failure"  # noqa: S104
    open_to_all = {"SEKRING_HOST": "0.0.0.0", "SEKRING_INSECURE": "on"}  # noqa: S104
    assert doctor.row("listening", **open_to_all)["status"] == "warning"


# -------------------------------------------------------------------------------- the server


@pytest.mark.parametrize(
    ("options", "subject", "status"),
    [
        ({"maxmemory-policy": "allkeys-lru"}, "eviction", "failure"),
        ({"appendonly": "no"}, "persistence", "failure"),
        ({"maxmemory": 1_500_000}, "memory", "warning"),
        ({"min-replicas-to-write": 1}, "writes", "failure"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else str(value),
)
def test_a_server_that_is_set_up_otherwise(
    doctor: Doctor, options: dict[str, object], subject: str, status: str
) -> None:
    with doctor.configured(**options):
        assert doctor.row(subject)["status"] == status
    assert doctor.row(subject)["status"] == "ok"


def test_a_keyspace_of_another_partition_count(doctor: Doctor) -> None:
    row = doctor.row("partitions", SEKRING_PARTITIONS="32")
    assert row["status"] == "failure"
    assert "Set SEKRING_PARTITIONS to 64" in row["advice"]
    new = doctor.row("partitions", SEKRING_PARTITIONS="32", SEKRING_KEY_PREFIX="sekring:new")
    assert new["status"] == "ok"
    with doctor.server.client() as client:
        assert not client.exists("sekring:new:keyspace")


def test_replicas_that_are_waited_for_and_not_there(doctor: Doctor) -> None:
    row = doctor.row("replicas", SEKRING_CONFIRM_REPLICAS="1")
    assert row["status"] == "failure"
    assert "0 in step" in row["what"]


def test_a_replica_in_place_of_its_primary(doctor: Doctor, tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--replicaof", f"127.0.0.1 {free_port()}") as replica:
        rows = doctor.rows("redis", SEKRING_REDIS_URL=replica.url)
        assert doctor.row("writes", SEKRING_REDIS_URL=replica.url)["status"] == "not_checked"
    assert [row["status"] for row in rows] == ["ok", "failure"]
    assert "only replicas" in rows[1]["what"]


# -------------------------------------------------------------------------------- its rights


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (("-zadd", "-xinfo|stream"), "missing: +xinfo|stream +zadd"),
        (("-ssubscribe",), "missing: +ssubscribe"),
        (("resetchannels",), "missing: +spublish +ssubscribe"),
        (("-eval",), "permission"),
    ],
)
def test_a_rule_that_is_missing(doctor: Doctor, change: tuple[str, ...], missing: str) -> None:
    with changed_user(doctor.server, *change) as url:
        row = doctor.row("rights", SEKRING_REDIS_URL=url)
    assert row["status"] == "failure"
    assert missing in row["what"]
    assert "ACL SETUSER" in row["advice"]


def test_keys_of_another_prefix(doctor: Doctor) -> None:
    rows = doctor.says(SEKRING_KEY_PREFIX="other").json["findings"]
    found = {row["subject"]: row["status"] for row in rows}
    assert found["rights"] == found["writes"] == "failure"
    assert found["partitions"] == "not_checked"


def test_more_rights_than_are_needed(doctor: Doctor) -> None:
    with changed_user(doctor.server, "+@all", "~*") as url:
        row = doctor.row("rights", SEKRING_REDIS_URL=url)
    assert row["status"] == "warning"
    assert "FLUSHALL" in row["what"]


@contextmanager
def changed_user(server: RedisServer, *rules: str) -> Iterator[str]:
    """Make a user that differs from the shipped one by some rules; yield its URL."""
    with server.client() as client:
        shipped = next(
            line.split()[3:] for line in client.acl_list() if line.split()[1] == "sekring"
        )
        kept = [rule for rule in shipped if not rule.startswith(("#", "sanitize"))]
        client.execute_command("ACL", "SETUSER", "other", "reset", "on", ">x", *kept, *rules)
        try:
            yield f"redis://other:x@127.0.0.1:{server.port}/0"
        finally:
            client.acl_deluser("other")


# ------------------------------------------------------------------------------- no answer


def test_a_wrong_password(doctor: Doctor) -> None:
    url = f"redis://sekring:t0p-s3cret@127.0.0.1:{doctor.server.port}"
    ended = doctor.says(SEKRING_REDIS_URL=url)
    (row,) = (row for row in ended.json["findings"] if row["subject"] == "redis")
    assert (ended.code, row["status"]) == (1, "failure")
    assert "Check user and password" in row["advice"]
    assert "t0p-s3cret" not in ended.out


def test_no_password(doctor: Doctor) -> None:
    row = doctor.row("redis", SEKRING_REDIS_URL=f"redis://127.0.0.1:{doctor.server.port}")
    assert row["status"] == "failure"
    assert "Check user and password" in row["advice"]


@pytest.mark.parametrize(
    "form",
    ["redis://{}", "redis+cluster://{}", "redis+sentinel://{}/breakers", "unix:///nowhere/{}"],
)
def test_nobody_there(doctor: Doctor, form: str) -> None:
    row = doctor.row("redis", SEKRING_REDIS_URL=form.format(f"127.0.0.1:{free_port()}"))
    assert row["status"] == "failure"
    assert "Nothing listens there" in row["advice"]


def test_a_server_that_hangs(doctor: Doctor, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as hung:
        hung.signal(signal.SIGSTOP)
        ended = doctor.says(SEKRING_REDIS_URL=hung.url)
    found = {row["subject"]: row for row in ended.json["findings"]}
    assert found["redis"]["status"] == "failure"
    assert "did not answer" in found["redis"]["what"]
    assert found["writes"]["status"] == "not_checked"
    assert found["service"]["status"] == "ok"


@pytest.mark.parametrize(
    ("form", "advice"),
    [
        ("redis+cluster://sekring:{1}@127.0.0.1:{0}", "It is no cluster"),
        (
            "redis+sentinel://127.0.0.1:{0}/x?sentinel_username=admin&sentinel_password={1}",
            "sentinels' addresses",
        ),
        ("rediss://sekring:{1}@127.0.0.1:{0}", "TLS"),
    ],
)
def test_another_kind_of_server_than_the_url_says(doctor: Doctor, form: str, advice: str) -> None:
    row = doctor.row("redis", SEKRING_REDIS_URL=form.format(doctor.server.port, PASSWORD))
    assert row["status"] == "failure"
    assert advice in row["advice"]


# ----------------------------------------------------------------------------- device store


def test_a_folder_of_devices_that_cannot_be(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    row = doctor.row("device store", SEKRING_DEVICE_STORE=f"{tmp_path}/file/devices")
    assert row["status"] == "failure"


def test_devices_on_one_machine_and_several_gateways(doctor: Doctor, tmp_path: Path) -> None:
    place = {"SEKRING_DEVICE_STORE": str(tmp_path)}
    assert doctor.row("device store", **place)["status"] == "ok"
    url = doctor.service.url
    with GatewayDouble(url, "a") as first, GatewayDouble(url, "b") as second:
        first.claim()
        second.claim()
        row = doctor.row("device store", **place)
    assert row["status"] == "warning"
    assert "2 gateways live" in row["what"]


def test_postgresql_that_is_not_there(doctor: Doctor) -> None:
    url = f"postgresql://owner:t0p-s3cret@127.0.0.1:{free_port()}/devices?sslmode=disable"
    ended = doctor.says(SEKRING_DEVICE_STORE=url)
    (row,) = (row for row in ended.json["findings"] if row["subject"] == "device store")
    assert row["status"] == "failure"
    assert "cannot be reached" in row["what"]
    assert "t0p-s3cret" not in ended.out


def test_postgresql(doctor: Doctor, database: str) -> None:
    store = {"SEKRING_DEVICE_STORE": database, "SEKRING_GATEWAY_CAPACITY": "10"}
    assert doctor.row("device store", **store)["status"] == "ok"
    crowded = doctor.row("device store", **store | {"SEKRING_GATEWAY_CAPACITY": "10000"})
    assert crowded["status"] == "warning"
    assert "max_connections" in crowded["advice"]


# -------------------------------------------------------------------------------- telemetry


def test_a_collector_that_is_not_there(doctor: Doctor) -> None:
    for protocol in ("grpc", "http/protobuf"):
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        rows = doctor.rows("telemetry", **environ)
        assert {row["status"] for row in rows} == {"failure"}
        assert "cannot be reached" in rows[0]["what"]


def test_grpc_is_told_from_what_is_not(doctor: Doctor) -> None:
    """The service speaks HTTP/2, as a collector does; Redis speaks neither."""
    grpc = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    speaks = doctor.row("telemetry", OTEL_EXPORTER_OTLP_ENDPOINT=doctor.service.url, **grpc)
    assert speaks["status"] == "ok"
    redis_url = f"http://127.0.0.1:{doctor.server.port}"
    silent = doctor.row("telemetry", OTEL_EXPORTER_OTLP_ENDPOINT=redis_url, **grpc)
    assert silent["status"] == "failure"
    assert "does not speak gRPC" in silent["what"]


def test_what_a_collector_answers(doctor: Doctor) -> None:
    with Receiver() as receiver:
        environ = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{receiver.port}/v1/traces",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20t0p-s3cret",
        }
        for answered, status in (204, "ok"), (401, "failure"), (404, "failure"), (503, "warning"):
            receiver.answer = functools.partial(_always, answered)
            assert doctor.row("telemetry", **environ)["status"] == status
        assert receiver.came[0].headers["authorization"] == "Bearer t0p-s3cret"
        bad = environ | {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=t0p-s3cret%0aB"}
        ended = doctor.says(**bad)
    assert "OTEL_EXPORTER_OTLP_HEADERS has a header that cannot be sent" in ended.out
    assert "t0p-s3cret" not in ended.out


def _always(status: int, _: Delivery) -> int:
    return status


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({}, "not_checked"),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, "not_checked"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector:4317"}, "failure"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x:port"}, "failure"),
        (
            {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "udp",
            },
            "failure",
        ),
    ],
)
def test_where_telemetry_goes(doctor: Doctor, environ: dict[str, str], status: str) -> None:
    assert doctor.row("telemetry", **environ)["status"] == status


# ------------------------------------------------------------------------------- the service


def test_a_service_that_is_not_there(doctor: Doctor) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert doctor.row("service", SEKRING_URL=nowhere)["status"] == "failure"
    alone = doctor.row("service", SEKRING_URL="", SEKRING_PORT=str(free_port()))
    assert alone["status"] == "not_checked"
    beside = doctor.row("service", SEKRING_URL="", SEKRING_PORT=str(doctor.service.port))
    assert beside["status"] == "ok"


def test_something_else_in_its_place(doctor: Doctor) -> None:
    with Receiver() as receiver:
        row = doctor.row("service", SEKRING_URL=f"http://127.0.0.1:{receiver.port}")
    assert row["status"] == "failure"
    assert "not as Sekring does" in row["what"]


def test_a_service_that_goes_on_without_redis(doctor: Doctor) -> None:
    with doctor.server.away("killed"):
        row = doctor.row("service")
    assert row["status"] == "warning"
    assert "redis degraded" in row["what"]
