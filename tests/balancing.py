"""The load balancer that ships: HAProxy with its own configuration, and the names that it asks for.

The configuration is used as it is. It finds the replicas by a name with one address for each, all
on one port: here 127.0.0.1, 127.0.0.2, … by a name server of the test.
"""

import contextlib
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest

from tests.polling import text_of
from tests.servers import free_port, wait_until
from tests.serving import ServiceProcess

__all__ = ["ADDRESSES", "CONFIGURATION", "DRAIN_MS", "Balancer", "balanced", "needs_haproxy"]

CONFIGURATION = Path(__file__).parents[1] / "deploy" / "haproxy" / "haproxy.cfg"

#: Where the replicas listen, all on one port.
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")

#: Longer than haproxy.cfg may take to notice a 503 of /ready: fall x inter + timeout check.
DRAIN_MS = 4_000

_HEAD = struct.Struct("!6H")
_A, _IN = 1, 1


def needs_haproxy() -> str:
    """Return HAProxy's path; without it the test is skipped, except in CI."""
    # Debian keeps it where only root looks.
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
    found = shutil.which("haproxy", path=path)
    if found is None:
        message = "haproxy is missing (Debian: apt-get install haproxy)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


class NameServer:
    """Answers whoever asks for an IPv4 address (RFC 1035) with the same ones, whatever the name."""

    def __init__(self, addresses: Sequence[str]) -> None:
        """Bind a port; nobody is answered before `with`."""
        self._addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Answer from now on."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Answer no more."""
        # Nothing wakes a thread that waits for a datagram, but a datagram.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(10)
        self._socket.close()

    def _run(self) -> None:
        while True:
            asked, sender = self._socket.recvfrom(4096)
            if not asked:
                return
            self._socket.sendto(self._answer(asked), sender)

    def _answer(self, asked: bytes) -> bytes:
        number = _HEAD.unpack_from(asked)[0]
        end = asked.index(b"\0", _HEAD.size) + 5
        question = asked[_HEAD.size : end]
        addresses = self._addresses if question[-3] == _A else ()
        # 0x8180: an answer, recursion wanted and available. 0xC00C: the name that was asked for.
        head = _HEAD.pack(number, 0x8180, 1, len(addresses), 0, 0)
        records = (
            struct.pack("!HHHIH", 0xC00C, _A, _IN, 1, 4) + socket.inet_aton(address)
            for address in addresses
        )
        return head + question + b"".join(records)


class Balancer:
    """HAProxy before replicas on `port`; `with Balancer(dns.port, port) as lb: get(lb.url)`."""

    def __init__(self, dns_port: int, replicas_port: int) -> None:
        """Prepare a process; nothing is started yet."""
        self._program = needs_haproxy()
        self.port, self.status_port = free_port(), free_port()
        self._environment = {
            "SEKRING_LB_LISTEN": f"127.0.0.1:{self.port}",
            "SEKRING_LB_STATUS": f"127.0.0.1:{self.status_port}",
            "SEKRING_LB_REPLICAS": f"replicas.test:{replicas_port}",
            "SEKRING_LB_DNS": f"127.0.0.1:{dns_port}",
        }
        self._process: subprocess.Popen[bytes] | None = None
        handle, name = tempfile.mkstemp(prefix="sekring-haproxy-", suffix=".log")
        os.close(handle)
        self._log = Path(name)
        weakref.finalize(self, self._log.unlink, missing_ok=True)

    @property
    def url(self) -> str:
        """Where clients come in."""
        return f"http://localhost:{self.port}"

    def check(self) -> subprocess.CompletedProcess[str]:
        """Have HAProxy read its configuration, and say what is wrong with it."""
        command = [self._program, "-c", "-f", str(CONFIGURATION)]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False, timeout=60
        )

    def status(self, path: str) -> str | None:
        """Return what it says of itself; `None` if that is not 200."""
        return text_of(self.status_port, path)

    def figure(self, name: str) -> int:
        """Return one figure of the replicas together, by HAProxy's name for it."""
        line = f'haproxy_backend_{name}{{proxy="replicas"}}'
        (value,) = re.findall(rf"(?m)^{line} (\d+)$", self.status("/metrics") or "")
        return int(value)

    def has_replicas(self, count: int) -> bool:
        """Tell whether so many replicas are sent requests."""
        return self._runs() and self._answers() and self.figure("active_servers") == count

    def _runs(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self.log_text()
        return True

    def _answers(self) -> bool:
        return self.status("/metrics") is not None

    @property
    def statuses(self) -> Counter[int]:
        """How often it has answered with each status, -1 where with none, by its log."""
        return Counter(map(int, re.findall(r"(?m)^[\d.]+ \S+ \S+ (-?\d+) ", self.log_text())))

    def log_text(self) -> str:
        """Return what it has logged."""
        return self._log.read_text()

    def __enter__(self) -> Self:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-db", "-f", str(CONFIGURATION)],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(lambda: self._runs() and self._answers(), "haproxy")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        if self._process:
            self._process.kill()
            self._process.wait(20)


@contextlib.contextmanager
def balanced(replicas: Sequence[ServiceProcess]) -> Iterator[Balancer]:
    """Start replicas, which share a port, all at once, and a balancer before them."""
    with contextlib.ExitStack() as stack:
        for replica in replicas:
            stack.callback(replica.kill)
            replica.start(wait=False)
        for replica in replicas:
            wait_until(replica.is_ready, replica.host, seconds=60)
        dns = stack.enter_context(NameServer([replica.host for replica in replicas]))
        balancer = stack.enter_context(Balancer(dns.port, replicas[0].port))
        wait_until(lambda: balancer.has_replicas(len(replicas)), "all replicas", 60)
        yield balancer
