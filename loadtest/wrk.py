"""The load, which no Python sends: wrk with `load.lua`, redis-benchmark."""

import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from loadtest.machine import on_core

__all__ = ["Answered", "LoadFailed", "program", "redis_benchmark", "send"]

_SCRIPT = Path(__file__).with_name("load.lua")

#: Debian's packages that have the programs.
_PACKAGES = {"wrk": "wrk", "redis-benchmark": "redis-tools"}


class LoadFailed(Exception):
    """The load could not be sent, or was not answered as it should be."""


class Answered(Struct, frozen=True):
    """What came of a load; the latency is that of each request from its sending on."""

    requests: int
    seconds: float
    #: Requests without an answer, or with one of 400 and above.
    errors: int
    p50_ms: float
    p99_ms: float
    worst_ms: float

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def program(name: str) -> str:
    """Return the program's path; says what has it where it is missing."""
    found = shutil.which(name)
    if found is None:
        raise LoadFailed(f"{name} is missing (Debian: apt-get install {_PACKAGES[name]}).")
    return found


def send(
    url: str,
    kind: str,
    *,
    token: str,
    first: int,
    seconds: float,
    core: int | None,
    connections: int = 64,
    think_ms: float = 0,
) -> Answered:
    """Send requests of a `kind` of `load.lua` for some seconds, one thread, from a core.

    wrk knows whole seconds only; of a part of one, it is stopped by SIGINT.

    Raises:
        LoadFailed: wrk is missing or failed, or a request was not answered with success.
    """
    command = [
        program("wrk"), "-t1", f"-c{connections}", "-d60s", "--timeout", "20s", "-s", str(_SCRIPT),
        url, "--", kind, token, str(first), str(think_ms),
    ]  # fmt: skip
    with (
        on_core(core),
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as wrk,
    ):
        try:
            wrk.wait(seconds)
        except subprocess.TimeoutExpired:
            wrk.send_signal(signal.SIGINT)
        output, _ = wrk.communicate(timeout=30)
    _, found, line = output.partition("LOAD ")
    if not found:
        raise LoadFailed(f"wrk failed: {output.strip()}")
    answered = msgspec.json.decode(line.splitlines()[0], type=Answered)
    if answered.errors:
        raise LoadFailed(f"{kind}: {answered.errors} errors in {answered.requests} requests")
    return answered


def redis_benchmark(
    port: int,
    words: Sequence[bytes],
    *,
    last: bytes,
    count: int,
    core: int | None,
) -> float:
    """Send a command so often, 16 in a pipeline; return how many a second were answered.

    The command's `last` word may hold anything. Every `__rand_int__` becomes 12 digits, each
    another below 2^31; but none after a NUL byte.

    Raises:
        LoadFailed: redis-benchmark is missing or failed, or Redis answered with an error.
    """
    if b"__rand_int__" in last.partition(b"\0")[2]:
        raise ValueError("redis-benchmark fills in nothing after a NUL byte")
    command: list[str | bytes] = [
        program("redis-benchmark"), "-p", str(port), "-P", "16", "-n", str(count),
        "-r", str(2**31 - 1), "-e", "--csv", "-x", *words,
    ]  # fmt: skip
    with on_core(core):
        ran = subprocess.run(command, input=last, capture_output=True, check=False)
    fields = ran.stdout.rstrip().rsplit(b'","', 7)
    if ran.returncode or len(fields) < 8 or b"Error from server" in ran.stdout:
        said = (ran.stderr or ran.stdout).decode(errors="replace").strip()
        raise LoadFailed(f"redis-benchmark failed: {said[-500:]}")
    # The first is the test's name: the command's bytes.
    return float(fields[1])
