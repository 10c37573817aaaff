"""`sekring serve` as users start it: its own process on a free port, on a Redis of the test."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import msgspec

from tests.polling import text_of
from tests.servers import free_port, wait_until

__all__ = ["PATIENT", "ServiceProcess", "entries_of", "variable_of"]

#: Settings for tests that are not about deadlines: a busy machine's Redis may be late.
PATIENT = MappingProxyType({"redis_timeout_ms": 5_000, "request_timeout_ms": 20_000})

#: What the process gets of this process's environment; no SEKRING_* of a developer's shell.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")

#: How long a stop may take: the drain, the requests under way and the workers' own grace.
_STOP_S = 20


def variable_of(name: str) -> str:
    """Return the variable of a setting; OpenTelemetry's go by their own names."""
    return name if name.startswith("OTEL_") else f"SEKRING_{name.upper()}"


def entries_of(event: str, log: str) -> list[dict[str, Any]]:
    """Return the entries of that event in a log of JSON; other lines are passed over."""
    entries = []
    for line in log.splitlines():
        with contextlib.suppress(msgspec.DecodeError):
            entry = msgspec.json.decode(line)
            if isinstance(entry, dict) and entry.get("event") == event:
                entries.append(entry)
    return entries


class ServiceProcess:
    """One replica; `with ServiceProcess(redis.url, workers=2) as service: httpx.get(service.url)`.

    Settings go by their names (`port`, `log_level`, …), OpenTelemetry's by its own (`OTEL_…`).
    Without a Redis URL the service starts its embedded server; `data_dir` should then be set. A
    stopped or killed one can be started again: port, settings and log stay.
    """

    def __init__(self, redis_url: str | None, **settings: object) -> None:
        """Prepare a process; nothing is started yet."""
        self.port = int(str(settings.setdefault("port", free_port())))
        #: Where this machine reaches it.
        self.host = str(settings.get("host", "127.0.0.1"))
        settings.setdefault("drain_ms", 0)
        if redis_url is not None:
            settings["redis_url"] = redis_url
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        handle, name = tempfile.mkstemp(prefix="sekring-service-", suffix=".log")
        os.close(handle)
        self._log = Path(name)
        weakref.finalize(self, self._log.unlink, missing_ok=True)

    @property
    def url(self) -> str:
        """Where it is, by the name under which a browser without tokens may ask for it."""
        return f"http://localhost:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the supervisor, which is also its process group."""
        assert self._process, "the service was not started"
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until `/ready` says so; `wait=False` where Redis is away."""
        assert self._process is None, "the service runs already"
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment["PYTHONFAULTHANDLER"] = "1"
        for name, value in self._settings.items():
            shown = ("off", "on")[value] if isinstance(value, bool) else str(value)
            environment[variable_of(name)] = shown
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sekring", "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                # Its workers are in its group, so that `kill` leaves none behind.
                start_new_session=True,
            )
        if wait:
            wait_until(self.is_ready, f"sekring serve on port {self.port}", seconds=30)

    def is_ready(self) -> bool:
        """Tell whether it wants requests; fails with its log if it has ended."""
        assert self._process, "the service was not started"
        assert self._process.poll() is None, f"the service has ended:\n{self.log_text()}"
        return self._answers("/ready")

    def is_live(self) -> bool:
        """Tell whether it answers at all."""
        return self._answers("/live")

    def signal(self, number: signal.Signals) -> None:
        """Send the supervisor a signal, SIGTERM for example."""
        os.kill(self.pid, number)

    def wait(self, seconds: float = _STOP_S) -> int:
        """Wait until it has ended by itself; return its exit code."""
        assert self._process, "the service was not started"
        code = self._process.wait(seconds)
        self._process = None
        return code

    def stop(self) -> int | None:
        """End it by SIGTERM; return its exit code, `None` if it did not run."""
        if self._process is None:
            return None
        self._process.terminate()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            # Where it hangs goes into its log: faulthandler writes all stacks.
            os.killpg(self.pid, signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self.kill()
            raise AssertionError(f"the service did not stop:\n{self.log_text()}") from None

    def kill(self) -> None:
        """End the supervisor and its workers by SIGKILL."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def log_text(self) -> str:
        """Return everything that it has logged since the first start."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        """Start; a start that fails leaves no process behind."""
        try:
            self.start()
        except BaseException:
            self.kill()
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

    def _answers(self, path: str) -> bool:
        return text_of(self.port, path, self.host) is not None
