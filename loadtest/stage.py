"""Real servers to measure: Redis, the service with a token and traces, the route without work."""

import asyncio
import contextlib
import http.client
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from msgspec import Struct

from loadtest import footprint
from loadtest.machine import Cores, on_core
from loadtest.redis_cost import a_failure
from sekring.model import Origin
from sekring.policies import Policies
from sekring.policy import DAY_MS, FleetGuardPatch, PolicyPatch
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.tokens import NewToken, Role
from tests.servers import RedisServer, free_port, wait_until
from tests.serving import ServiceProcess

__all__ = [
    "LASTING",
    "Collector",
    "Served",
    "noop",
    "open_url",
    "redis_name",
    "redis_pid",
    "redis_server",
    "scripts_on",
    "service",
    "set_policy",
    "trip",
]

#: Nothing leaves the window, recovers or is given up while a measurement goes on, and the fleet
#: guard, which many failing instances would open, stays out of it.
LASTING = PolicyPatch(
    window_ms=DAY_MS,
    cooldown_ms=DAY_MS,
    probe_ttl_ms=3_600_000,
    fleet_guard=FleetGuardPatch(enabled=False),
)

#: Failures that trip an instance by default.
_THRESHOLD = 15


class Served(Struct, frozen=True):
    """A server to send a load to."""

    url: str
    #: Its process group.
    group: int
    token: str

    def spent_s(self) -> float:
        """Return the processor time that it has used, in seconds."""
        return footprint.group_s(self.group)

    @property
    def headers(self) -> dict[str, str]:
        """What a request must have."""
        return {"Authorization": f"Bearer {self.token}"}

    def connect(self, patience_s: float) -> http.client.HTTPConnection:
        """Return a connection that is made when it is used first."""
        return http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=patience_s)


class Collector:
    """Takes what is exported by OTLP over HTTP, and looks at none of it: `exports` counts."""

    def __init__(self) -> None:
        """Listen in threads of this process."""
        self.exports = 0
        collector = self

        class Take(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                collector.exports += self.path == "/v1/traces"
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def settings(self) -> dict[str, object]:
        """What has a service send one trace in a hundred here."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_SAMPLER_ARG": "0.01",
        }

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def service(
    redis_url: str, cores: Cores, collector: Collector | None = None, **settings: object
) -> Iterator[Served]:
    """Run a service with a token, on the server's core; traces go to `collector` if there is one.

    Two workers also have a second core, where there is one.
    """
    made = NewToken.make("gateway-2", Role.OPERATOR)
    process = ServiceProcess(
        redis_url,
        tokens=f"{made.entry.name}={made.entry.role}:{made.entry.hash}",
        redis_timeout_ms=5_000,
        request_timeout_ms=20_000,
        **settings,
        **(collector.settings if collector else {}),
    )
    second = cores.second if settings.get("workers", 1) != 1 else None
    with on_core(cores.server, second):
        process.start()
    try:
        yield Served(f"http://127.0.0.1:{process.port}", process.pid, made.token)
    finally:
        process.stop()


@contextlib.contextmanager
def noop(cores: Cores) -> Iterator[Served]:
    """Run the route that does nothing, on the server's core."""
    port = free_port()
    with on_core(cores.server):
        process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.noop", "--port", str(port)], start_new_session=True
        )

    def answers() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        return False

    try:
        wait_until(answers, "the route that does nothing", seconds=60)
        yield Served(f"http://127.0.0.1:{port}", process.pid, "none")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


@contextlib.contextmanager
def redis_server(cores: Cores, *options: str) -> Iterator[RedisServer]:
    """Run a Redis in a folder of its own, on its core."""
    with (
        tempfile.TemporaryDirectory(prefix="sekring-") as folder,
        on_core(cores.redis),
        RedisServer(Path(folder), *options) as server,
    ):
        yield server


def redis_pid(server: RedisServer) -> int:
    """Return the process of a Redis."""
    with server.client() as client:
        return int(client.info("server")["process_id"])


def redis_name(server: RedisServer) -> str:
    """Return what a Redis is and which version."""
    with server.client() as client:
        info = client.info("server")
    kind = info.get("server_name", "redis")
    return f"{kind} {info.get(f'{kind}_version')}"


def open_url(server: RedisServer) -> str:
    """Return the URL for others than the service, which have no login and may do everything."""
    return f"redis://127.0.0.1:{server.port}/0"


@contextlib.asynccontextmanager
async def scripts_on(server: RedisServer) -> AsyncIterator[Scripts]:
    """Reach a Redis without a service."""
    link = RedisLink(server.url, timeout_ms=60_000)
    yield Scripts(link, Keyspace())
    await link.close()


async def set_policy(server: RedisServer, policy: PolicyPatch, partitions: int = 64) -> None:
    """Set the fleet's policy."""
    link = RedisLink(server.url, timeout_ms=60_000)
    keyspace = Keyspace(partitions=partitions)
    scripts, reads = Scripts(link, keyspace), Reads(link, keyspace)
    await Policies(scripts, reads, keyspace).change_fleet(policy, Origin())
    await link.close()


async def trip(server: RedisServer, names: list[str]) -> None:
    """Report as many failures of each instance as open its breaker."""
    numbers = itertools.count()
    async with scripts_on(server) as scripts:
        await asyncio.gather(
            *(
                scripts.report(a_failure(name, next(numbers)))
                for name in names
                for _ in range(_THRESHOLD)
            )
        )
