"""The server processes of one replica: whichever of them is scraped answers for all.

Each has a number, which is its label `worker`, and serves its figures on a unix socket in a folder
that the supervisor made. A number is held by a file lock, so that of a process that died passes to
the one that replaces it: its counters begin anew in the same series, which Prometheus takes for the
restart that it was.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

import msgspec
import structlog
from msgspec import structs

from sekring.telemetry.families import Family

__all__ = ["Siblings", "prepare_siblings", "siblings_folder"]

#: Environment variable with the path of the folder.
_VARIABLE = "SEKRING_SIBLINGS_FOLDER"

#: How long a sibling may take to answer, in seconds; one that hangs is left out.
_PATIENCE_S = 1.0

_log = structlog.get_logger(__name__)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Family])


def prepare_siblings(folder: str) -> None:
    """Say in the environment, which server processes inherit, where they find each other."""
    os.environ[_VARIABLE] = folder


def siblings_folder() -> Path | None:
    """Return where the processes of a replica find each other; `None` where there is but one."""
    folder = os.environ.get(_VARIABLE)
    return Path(folder) if folder else None


class Siblings:
    """This process among those of its replica."""

    def __init__(self, folder: Path | None, gather: Callable[[], list[Family]]) -> None:
        """Tell what `gather` returns; without a `folder` there are no siblings."""
        self._folder = folder
        self._gather = gather
        self._number = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be found by the others."""
        if self._folder is None:
            yield
            return
        self._number, lock = _claim(self._folder)
        path = self._socket(self._number)
        path.unlink(missing_ok=True)
        try:
            server = await asyncio.start_unix_server(self._tell, path)
        except OSError as error:
            _log.error("metrics of this server process are not told", error=str(error))
            yield
            return
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)
            os.close(lock)

    def labelled(self, families: list[Family]) -> list[Family]:
        """Return families of this process with its label, if it has siblings."""
        return _merged([(self._number, families)]) if self._number else families

    async def gather(self) -> list[Family]:
        """Return the families of all processes, told apart by the label `worker`."""
        mine = self._gather()
        if self._folder is None or self._number == 0:
            return mine
        numbers = sorted(int(path.stem) for path in self._folder.glob("*.sock"))
        others = [number for number in numbers if number != self._number]
        told = await asyncio.gather(*map(self._ask, others))
        return _merged([(self._number, mine), *zip(others, told, strict=True)])

    async def _tell(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(_encoder.encode(self._gather()))
            await writer.drain()
            writer.close()

    async def _ask(self, number: int) -> list[Family]:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                reader, writer = await asyncio.open_unix_connection(self._socket(number))
                try:
                    return _decoder.decode(await reader.read())
                finally:
                    writer.close()
        except (OSError, TimeoutError, msgspec.DecodeError) as error:
            # It has just died, or hangs: then its series pause rather than begin anew.
            words = str(error) or type(error).__name__
            _log.warning("a server process does not tell its metrics", worker=number, error=words)
            return []

    def _socket(self, number: int) -> Path:
        assert self._folder  # noqa: S101 - asked only where there is one
        return self._folder / f"{number}.sock"


def _claim(folder: Path) -> tuple[int, int]:
    """Return the first number that no living process holds, and the lock that holds it now."""
    number = 0
    while True:
        number += 1
        lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return number, lock


def _merged(told: Iterable[tuple[int, Sequence[Family]]]) -> list[Family]:
    """Put the series of each family together."""
    merged: dict[str, Family] = {}
    for number, families in told:
        worker = (str(number),)
        for family in families:
            known = merged.get(family.name) or structs.replace(
                family, labels=(*family.labels, "worker"), points=(), buckets=()
            )
            merged[family.name] = structs.replace(
                known,
                points=[
                    *known.points,
                    *(structs.replace(one, labels=(*one.labels, *worker)) for one in family.points),
                ],
                buckets=[
                    *known.buckets,
                    *(
                        structs.replace(one, labels=(*one.labels, *worker))
                        for one in family.buckets
                    ),
                ],
            )
    return list(merged.values())
