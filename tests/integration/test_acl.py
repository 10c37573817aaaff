"""The service's Redis user may do what is needed, and nothing else (`deploy/redis/`).

The whole suite runs as that user (`tests/servers.py`); here is what makes it the least.
"""

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from sekring.store.rights import RIGHTS, SENTINEL_RIGHTS, patterns
from tests.servers import (
    SERVICE_LOGIN,
    RedisServer,
    ShippedServer,
    free_port,
    redis_binary,
    wait_until,
)

ROOT = Path(__file__).parent.parent.parent
SHIPPED = ROOT / "deploy" / "redis"

#: What redis-py sends by itself: nothing but `SELECT`, where the URL names a database.
DRIVERS_OWN = {"select"}

#: A push channel is named like the key of its partition's view.
KEY = CHANNEL = "sekring:{00}:view"
ELSEWHERE = "a-key-of-somebody-else"

#: `redis.call('XINFO', 'STREAM', …)`, also by the name that a shared part gives it.
CALL = re.compile(r"(?:redis\.p?call|write)\(\s*'([A-Z]+)'(?:,\s*'([A-Z]+)')?")


def rules_of(file: str, user: str) -> list[str]:
    """Return a user's rules, without state and password."""
    for line in (SHIPPED / file).read_text().splitlines():
        _, name, *rules = line.split()
        if name == user:
            return [rule for rule in rules if rule != "on" and not rule.startswith("#")]
    raise AssertionError(f"{file} has no user {user}")


def known_commands(server: RedisServer) -> set[str]:
    with server.client() as client:
        plain = client.command_list()
        contained = client.command_list(pattern="*|*")
    return {name.decode().lower() for name in [*plain, *contained]}


def rule_of(first: str, second: object, known: set[str]) -> str | None:
    """Return the rule that permits a command; `None` where the words are none."""
    contained = f"{first}|{second}".lower()
    if contained in known:
        return contained
    return first.lower() if first.lower() in known else None


def called_by_scripts(known: set[str]) -> set[str]:
    return {
        rule
        for file in (ROOT / "lua").rglob("*.lua")
        for first, second in CALL.findall(file.read_text())
        if (rule := rule_of(first, second, known))
    }


def sent_by_the_store(known: set[str]) -> set[str]:
    """Return the commands in `("HGET", key, …)` and in `read("HGET", key, …)`."""
    found = set()
    for file in (ROOT / "service" / "sekring" / "store").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            words: list[ast.expr] = []
            if isinstance(node, ast.Tuple):
                words = node.elts
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "read":
                words = node.args
            first, second = ([getattr(word, "value", None) for word in words] + [None] * 2)[:2]
            if isinstance(first, str) and first.isupper() and first != "SENTINEL":
                found.add(rule_of(first, second, known))
    return {rule for rule in found if rule}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server of its own: what is tried here is to be refused."""
    folder = tmp_path_factory.mktemp("redis")
    with RedisServer(folder, "--enable-debug-command", "yes") as server:
        yield server


@pytest.fixture
def service(server: RedisServer) -> Iterator[Any]:
    """A client with the service's login."""
    with redis.Redis.from_url(server.url) as client:
        yield client


# ------------------------------------------------------------------ nothing missing, nothing more


def test_the_rights_are_the_commands_of_scripts_and_store(server: RedisServer) -> None:
    known = known_commands(server)
    used = called_by_scripts(known) | sent_by_the_store(known) | DRIVERS_OWN
    assert {right.rule for right in RIGHTS} == used


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("users.acl", {*patterns("sekring"), "-@all", *(f"+{right.rule}" for right in RIGHTS)}),
        ("sentinel-users.acl", {"-@all", *(f"+{right.rule}" for right in SENTINEL_RIGHTS)}),
    ],
)
def test_the_shipped_rules_are_the_rights(file: str, expected: set[str]) -> None:
    rules = rules_of(file, "sekring")
    assert set(rules) == expected
    assert len(rules) == len(expected)
    assert rules_of(file, "default") == ["off"]


def test_every_right_is_granted(service: Any) -> None:
    script = "return redis.acl_check_cmd(unpack(ARGV)) and 1 or 0"
    refused = [
        right.rule
        for right in RIGHTS
        if not service.eval(script, 1, KEY, *right.example(KEY, CHANNEL))
    ]
    assert refused == []


@pytest.mark.parametrize(
    "command",
    [
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("KEYS", "*"),
        ("SCAN", 0),
        ("CONFIG", "GET", "requirepass"),
        ("CONFIG", "SET", "maxmemory", 1),
        ("DEBUG", "SLEEP", 0),
        ("SHUTDOWN", "NOSAVE"),
        ("ACL", "LIST"),
        ("ACL", "SETUSER", "sekring", "+@all"),
        ("MONITOR",),
        ("CLIENT", "LIST"),
        ("CLIENT", "KILL", "TYPE", "normal"),
        ("SCRIPT", "FLUSH"),
        ("FUNCTION", "FLUSH"),
        ("REPLICAOF", "NO", "ONE"),
        ("CLUSTER", "RESET"),
        ("EXPIRE", KEY, 1),
        ("RENAME", KEY, f"{KEY}:2"),
        ("GET", ELSEWHERE),
        ("SET", ELSEWHERE, 1),
        ("PUBLISH", KEY, "x"),
        ("SPUBLISH", "a-channel-of-somebody-else", "x"),
        ("SSUBSCRIBE", "a-channel-of-somebody-else"),
    ],
    ids=lambda command: " ".join(map(str, command[:3])),
)
def test_whatever_else_is_refused(service: Any, command: tuple[str | int, ...]) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        service.execute_command(*command)


@pytest.mark.parametrize(
    "script",
    [
        "return redis.call('FLUSHALL')",
        "return redis.call('KEYS', '*')",
        f"return redis.call('GET', '{ELSEWHERE}')",
        "return redis.call('SPUBLISH', 'a-channel-of-somebody-else', 'x')",
    ],
)
@pytest.mark.parametrize("way", ["EVAL", "FCALL"])
def test_a_script_has_no_rights_of_its_own(service: Any, script: str, way: str) -> None:
    """So it does no harm that any script may be run."""
    run = service.eval
    if way == "FCALL":
        function = f"redis.register_function('mine', function() {script} end)"
        service.function_load(f"#!lua name=mine\n{function}", replace=True)
        script, run = "mine", service.fcall
    with pytest.raises(redis.exceptions.ResponseError, match=r"(?i)acl|user executing"):
        run(script, 0)


def test_nobody_gets_in_without_a_password(tmp_path: Path) -> None:
    """What is shipped is a template: a server that is given it as it is does not start."""
    command = [redis_binary(), "--port", str(free_port()), "--dir", str(tmp_path), "--save", ""]
    for file in ("users.acl", "sentinel-users.acl"):
        ended = subprocess.run(
            [*command, "--aclfile", str(SHIPPED / file)],
            capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
        assert ended.returncode != 0
        assert "password hash" in ended.stdout


# --------------------------------------------------------------------------------- start.sh


def test_the_shipped_server_has_the_users_that_have_a_password(tmp_path: Path) -> None:
    login = {"SEKRING_PASSWORD": "a b'c", "EXPORTER_PASSWORD": "e"}
    with ShippedServer(tmp_path, SEKRING_KEY_PREFIX="team-a:sekring", **login) as server:
        with server.client_of("sekring", "a b'c") as service:
            assert service.set("team-a:sekring:{00}:fence", 1)
            info = service.info()
            assert (info["maxmemory_policy"], info["aof_enabled"]) == ("noeviction", 1)
            with pytest.raises(redis.exceptions.NoPermissionError):
                service.get("sekring:{00}:fence")
        with server.client_of("exporter", "e") as exporter:
            assert exporter.info()
            assert exporter.slowlog_len() == 0
            for command in (("GET", "team-a:sekring:{00}:fence"), ("CONFIG", "GET", "*")):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    exporter.execute_command(*command)
        for stranger in ("default", "replica", "sentinel"):
            with (
                server.client_of(stranger, "") as client,
                pytest.raises(redis.exceptions.AuthenticationError),
            ):
                client.ping()
    # Neither a password nor a hash is for other users of the machine.
    assert [file.stat().st_mode & 0o077 for file in server.run_dir.iterdir()] == [0, 0]


def test_replicas_follow_with_a_user_of_their_own(tmp_path: Path) -> None:
    environ = {"SEKRING_PASSWORD": "s", "REPLICA_PASSWORD": 'r"\\ #'}
    at_once = ("--repl-diskless-sync-delay", "0")
    with ShippedServer(tmp_path / "primary", *at_once, **environ) as primary:
        follow = ("--replicaof", f"127.0.0.1 {primary.port}")
        with ShippedServer(tmp_path / "replica", *follow, **environ) as replica:
            wait_until(lambda: _is_in_step(replica), "the replica to be in step")


@pytest.mark.parametrize(
    ("environ", "words"),
    [({}, "SEKRING_PASSWORD"), ({"SEKRING_PASSWORD": "s", "SEKRING_KEY_PREFIX": "a*"}, "takes")],
)
def test_what_it_cannot_start_with_is_said(environ: dict[str, str], words: str) -> None:
    ended = subprocess.run(
        [str(SHIPPED / "start.sh"), "true"],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert words in ended.stderr


def test_the_tests_services_log_in_as_that_user(server: RedisServer, service: Any) -> None:
    assert SERVICE_LOGIN.startswith("sekring:")
    with server.client() as client:
        service.ping()
        assert "sekring" in {one["user"] for one in client.client_list()}


def _is_in_step(replica: RedisServer) -> bool:
    with replica.client() as client:
        return bool(client.info("replication")["master_link_status"] == "up")
