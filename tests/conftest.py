"""Fixtures that every test may use."""

import functools
import gc
import os
import shutil
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import structlog
from httpx._transports import default as _transport

from sekring.store.keys import KEY_KINDS, Keyspace
from sekring.store.reads import Reads
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from tests.clusters import Cluster
from tests.postgres import PostgresServer, postgres_folder
from tests.sentinels import Sentinels
from tests.servers import RedisServer

#: httpx reads the machine's certificates for every client, `httpx.get` one for every call: once in
#: a process is enough.
_transport.create_ssl_context = functools.cache(httpx.create_ssl_context)  # type: ignore[attr-defined]

#: structlog's own tracebacks show all variables; each takes half a second, which the event loop of
#: a test does not have.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--full`: the long forms of the tests that have a short one for CI."""
    parser.addoption(
        "--full",
        action="store_true",
        default=os.environ.get("SEKRING_TEST_FULL", "") not in {"", "0"},
        help="the long forms of the torture and scale tests (also SEKRING_TEST_FULL=1)",
    )


#: Files that take long, the longest first.
_LONG = (
    "test_differential.py",
    "test_soak.py",
    "test_node_client.py",
    "test_restart.py",
    "test_gateways.py",
    "test_real_input.py",
    "test_gateway.py",
    "test_failover.py",
    "test_split.py",
    "test_client_guard.py",
    "test_neonize_real.py",
    "test_events.py",
    "test_watch.py",
    "test_console_looks.py",
    "test_client_away.py",
    "test_access.py",
    "test_loadtest.py",
    "test_system.py",
    "test_topologies.py",
)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays: four thousand tests and all that they import."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long: at the end, one process would be left with them."""
    places = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the long forms are asked for."""
    return bool(request.config.getoption("--full"))


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The server that most tests share."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(redis_process: RedisServer) -> Iterator[RedisServer]:
    """The shared server, empty; after the test every key is checked against the key schema."""
    with redis_process.client() as client:
        client.flushall()
    yield redis_process
    try:
        check_keys(redis_process)
        check_rights(redis_process)
    finally:
        # Services of other files find no keyspace there that was made with other settings.
        with redis_process.client() as client:
            client.flushall()


@pytest.fixture(scope="session")
def cluster_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster that the tests share."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(cluster_processes: Cluster) -> Cluster:
    """The shared cluster, whole; a test may leave it in pieces."""
    cluster_processes.heal()
    return cluster_processes


@pytest.fixture(scope="session")
def sentinel_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    """The sentinels and servers that the tests share."""
    with Sentinels(tmp_path_factory.mktemp("sentinels")) as trio:
        yield trio


@pytest.fixture
def sentinels(sentinel_processes: Sentinels) -> Sentinels:
    """The shared sentinels and servers, whole; a test may leave them in pieces."""
    sentinel_processes.heal()
    return sentinel_processes


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus' own checker; without it the test is skipped, except in CI."""
    found = shutil.which("promtool")
    if found is None:
        message = "promtool is missing (Debian: apt-get install prometheus)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def needs_postgres() -> None:
    """PostgreSQL's programs; without them the test is skipped, except in CI."""
    if postgres_folder() is None:
        message = "postgres is missing (Debian: apt-get install postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="session")
def postgres(needs_postgres: None) -> Iterator[PostgresServer]:  # noqa: ARG001
    """The PostgreSQL server that the tests share."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """The URL of an empty database of the shared PostgreSQL server."""
    return postgres.new_database()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server of the file's own; in the end every key is checked against the key schema."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server
        check_keys(server)


def check_keys(server: RedisServer) -> None:
    """Every key is of a known kind and type, and expires no later than its kind may."""
    kinds = {kind.name: kind for kind in KEY_KINDS}
    with server.client() as client:
        for key in client.scan_iter(count=1000):
            prefixed, _, tagged = key.decode().rpartition("}:")
            name = tagged.partition(":")[0] if prefixed else tagged.rpartition(":")[2]
            assert name in kinds, f"{key!r} is no key of ours"
            kind = kinds[name]
            type_, ttl = client.pipeline().type(key).pttl(key).execute()
            if type_ == b"none":
                continue  # it has expired since the scan
            assert type_.decode() == kind.type, f"{key!r} has another type"
            if kind.longest_ms is None:
                assert ttl == -1, f"{key!r} expires, which would be wrong: {kind.why}"
            else:
                assert 0 < ttl <= kind.longest_ms, f"{key!r} lives for {ttl} ms"


def check_rights(server: RedisServer) -> None:
    """The service was refused nothing, also where it could do without."""
    with server.client() as client:
        refused = [entry for entry in client.acl_log() if entry["username"] == "sekring"]
        client.acl_log_reset()
    assert not refused, f"deploy/redis/users.acl does not let the service do this: {refused}"


@pytest.fixture
def keyspace() -> Keyspace:
    """A keyspace of the default size."""
    return Keyspace()


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisLink]:
    """A connection to the shared server."""
    link = RedisLink(redis_server.url, timeout_ms=5_000)
    yield link
    await link.close()


@pytest.fixture
def scripts(link: RedisLink, keyspace: Keyspace) -> Scripts:
    """All scripts, on the shared server."""
    return Scripts(link, keyspace)


@pytest.fixture
def reads(link: RedisLink, keyspace: Keyspace) -> Reads:
    """All plain reads, on the shared server."""
    return Reads(link, keyspace)
