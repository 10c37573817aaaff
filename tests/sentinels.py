"""Real sentinels for tests: three of them, one master and two replicas, on loopback."""

import contextlib
import math
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.servers import PASSWORD, SERVICE_LOGIN, RedisServer, acl_file, redis_binary, wait_until

__all__ = ["Sentinels"]

_SERVICE = "breakers"

#: After how long without a failover a sentinel is asked for it again: longer than one takes.
_ASK_AGAIN_S = 10.0


class SentinelProcess(RedisServer):
    """One sentinel that watches `master`."""

    def __init__(self, folder: Path, master: RedisServer, binary: str | None) -> None:
        """Prepare a sentinel in `folder`."""
        super().__init__(folder, binary=binary)
        self._master = master

    def command(self) -> list[str]:
        """Return its command line; a sentinel keeps what it learns in its configuration."""
        configuration = self.folder / "sentinel.conf"
        if not configuration.exists():
            lines = [
                f"port {self.port}",
                "bind 127.0.0.1",
                f"dir {self.folder}",
                f"sentinel monitor {_SERVICE} 127.0.0.1 {self._master.port} 2",
                f"sentinel down-after-milliseconds {_SERVICE} 1000",
                f"sentinel failover-timeout {_SERVICE} 3000",
                f"sentinel auth-user {_SERVICE} sentinel",
                f"sentinel auth-pass {_SERVICE} {PASSWORD}",
                "sentinel sentinel-user sentinel",
                f"sentinel sentinel-pass {PASSWORD}",
                f"aclfile {acl_file(self.folder, 'sentinel-users.acl')}",
            ]
            configuration.write_text("\n".join(lines) + "\n")
        return [self._binary, str(configuration), "--sentinel"]


class Sentinels:
    """Three sentinels and the three servers they watch; `with Sentinels(folder) as trio: …`."""

    service = _SERVICE

    def __init__(self, folder: Path, binary: str | None = None) -> None:
        """Prepare the processes in `folder`."""
        binary = binary or redis_binary()
        options = ["--repl-diskless-sync-delay", "0"]
        master = RedisServer(folder / "0", *options, binary=binary)
        options += ["--replicaof", f"127.0.0.1 {master.port}"]
        replicas = [RedisServer(folder / str(n), *options, binary=binary) for n in (1, 2)]
        self.servers = [master, *replicas]
        self.sentinels = [SentinelProcess(folder / f"s{n}", master, binary) for n in range(3)]

    @property
    def url(self) -> str:
        """URL of the service."""
        named = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        own = f"sentinel_username=sekring&sentinel_password={PASSWORD}"
        return f"redis+sentinel://{SERVICE_LOGIN}{named}/{_SERVICE}?{own}"

    def master(self) -> RedisServer:
        """Return the server that most sentinels name."""
        named = [self.named_by(sentinel) for sentinel in self.sentinels if sentinel.answers_now()]
        return max(set(named), key=named.count)

    def named_by(self, sentinel: RedisServer) -> RedisServer:
        """Return the server that one sentinel names."""
        with sentinel.client() as client:
            address = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", _SERVICE)
        return next(server for server in self.servers if server.port == int(address[1]))

    def fail_over(self) -> RedisServer:
        """Have the sentinels promote a replica, although the master is well; return it.

        The old master learns of it seconds later; until then it would take writes that are lost.
        So it is paused first, as an operator should.
        """
        old = self.master()
        with old.client() as client:
            client.client_pause(5_000, all=False)
        self.begin_failover()
        wait_until(lambda: self.master() is not old, "a failover", seconds=40)
        return self.master()

    def begin_failover(self) -> RedisServer:
        """Have a replica promoted; return it as soon as the first sentinel names it.

        On a busy machine a sentinel that has just taken the order may find no replica that it heard
        of lately, and gives up without a word: it is asked again.
        """
        leader = self.sentinels[0]
        old = self.named_by(leader)
        asked_s = -math.inf

        def has_failed_over() -> bool:
            nonlocal asked_s
            if self.named_by(leader) is not old:
                return True
            if time.monotonic() - asked_s > _ASK_AGAIN_S:
                asked_s = time.monotonic()
                with leader.client() as client, contextlib.suppress(redis.ResponseError):
                    client.execute_command("SENTINEL", "FAILOVER", _SERVICE)
            return False

        wait_until(has_failed_over, "a failover", seconds=40)
        return self.named_by(leader)

    def heal(self) -> None:
        """Start what was killed, let go on what was stopped, and wait until all is well."""
        for process in (*self.servers, *self.sentinels):
            process.revive()
        wait_until(self.is_whole, "the trio to be whole", seconds=40)

    def is_whole(self) -> bool:
        """Tell whether the master has two replicas in step and the sentinels know all."""
        master = self.master()
        with master.client() as client:
            info = client.info("replication")
        if info["role"] != "master" or info["connected_slaves"] != len(self.servers) - 1:
            return False
        for server in self.servers:
            if server is not master:
                with server.client() as client:
                    info = client.info("replication")
                if info.get("master_port") != master.port or info["master_link_status"] != "up":
                    return False
        return all(self._knows_all(sentinel, master) for sentinel in self.sentinels)

    def start(self) -> None:
        """Start all and wait until the sentinels know each other and the replicas."""
        for process in (*self.servers, *self.sentinels):
            process.spawn()
        for process in (*self.servers, *self.sentinels):
            wait_until(process.answers, "a server")
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                client.execute_command("SENTINEL", "DEBUG", "INFO-PERIOD", 500)
                # A former master that returns is put in its place after four such periods.
                client.execute_command("SENTINEL", "DEBUG", "PUBLISH-PERIOD", 500)
        wait_until(self.is_whole, "the trio", seconds=40)

    def stop(self) -> None:
        """End all; nothing is to be kept."""
        for process in (*self.sentinels, *self.servers):
            process.kill()

    def __enter__(self) -> Self:
        """Start; a start that fails leaves no process behind."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def _knows_all(self, sentinel: RedisServer, master: RedisServer) -> bool:
        with sentinel.client() as client:
            try:
                raw = client.execute_command("SENTINEL", "MASTER", _SERVICE)
            except redis.RedisError:
                return False
        fields = _plain(raw)
        return (
            int(fields["port"]) == master.port
            and int(fields["num-slaves"]) >= len(self.servers) - 1
            and int(fields["num-other-sentinels"]) == len(self.sentinels) - 1
            and fields["flags"] == "master"
        )


def _plain(raw: object) -> dict[str, str]:
    pairs = raw if isinstance(raw, dict) else dict(zip(raw[::2], raw[1::2], strict=True))  # type: ignore[index]
    return {_text(name): _text(value) for name, value in pairs.items()}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
