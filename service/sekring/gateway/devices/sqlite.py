"""Devices in SQLite: a folder, in it one file per instance.

Not one file for all, since many worker processes write: each waits only for itself. In its file the
library has its own tables; one of ours, with a single row, says which device is the instance's.
"""

import asyncio
import contextlib
import os
import re
import secrets
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from sekring.errors import DevicesUnavailable, StartError
from sekring.gateway.devices.identity import StoreIdentity, machine_id
from sekring.gateway.devices.names import file_name

__all__ = ["SqliteStore"]

#: How long to wait for a worker that is writing, in s. Its library waits as long for us.
_BUSY_S: Final = 5

#: Says that a folder is a device store, and which.
_MARK: Final = "store-id"
_MARK_FORM: Final = re.compile(r"[0-9a-f]{32}")

#: What the root of a fresh file system has.
_NOT_FILES: Final = frozenset({"lost+found"})

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS sekring_device"
    " (one INTEGER PRIMARY KEY CHECK (one = 1), device TEXT NOT NULL, linked INTEGER NOT NULL)"
)

_UPSERT: Final = (
    "INSERT INTO sekring_device VALUES (1, ?, ?)"
    " ON CONFLICT (one) DO UPDATE SET device = excluded.device, linked = excluded.linked"
)

_OURS_ALONE: Final = 0o600

T = TypeVar("T")


class SqliteStore:
    """A folder of device files, for the gateways of one machine."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is touched before `open`."""
        self._folder = Path(os.path.abspath(folder.expanduser()))  # noqa: PTH100 - takes out `..`
        self._identity: StoreIdentity | None = None

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder

    @property
    def identity(self) -> StoreIdentity:
        """Which folder this is."""
        if self._identity is None:
            raise RuntimeError("the device store is not open")
        return self._identity

    async def open(self) -> None:
        """Make the folder if need be, and close it to other users.

        Raises:
            StartError: it cannot be written, or holds other things.
        """
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Do nothing: no file stays open."""

    def location(self, instance_id: str) -> str:
        """Return the path of the instance's file.

        The file is made here if it is not there: the library would let others read it.
        """
        path = self._folder / file_name(instance_id)
        try:
            _make(path)
        except OSError as error:
            raise self._unavailable(path, error) from error
        return str(path)

    async def device_of(self, instance_id: str) -> str | None:
        """Return the JID of the instance's device, if its file has it."""
        return await self._in_thread(self._device_of, instance_id)

    async def bind(self, instance_id: str, device: str) -> None:
        """Remember the instance's device."""

        def write(path: Path) -> None:
            _make(path)
            _write(path, device, linked=True)

        await self._in_thread(write, instance_id)

    async def forget(self, instance_id: str) -> None:
        """Take note that the instance's device was unlinked, whether its keys are gone or not."""

        def write(path: Path) -> None:
            device = self._device_of(path)
            if device is not None:
                _write(path, device, linked=False)

        await self._in_thread(write, instance_id)

    # ------------------------------------------------------------------------------ the folder

    def _open(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A look at the names first: what is somebody else's is not closed to others.
            if not (self._folder / _MARK).exists():
                self._refuse_other_files()
                _leave_mark(self._folder / _MARK)
            with contextlib.suppress(PermissionError):  # a mounted folder; the files are closed
                self._folder.chmod(0o700)
            mark = (self._folder / _MARK).read_text(encoding="ascii").strip()
            if not os.access(self._folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "it cannot be written")
        except OSError as error:
            raise StartError(
                f"The folder {self._folder} for devices cannot be used: {error.strerror}. Make it"
                " writable, or name another one in SEKRING_DEVICE_STORE (an absolute path)."
            ) from error
        except UnicodeDecodeError:
            mark = ""
        if not _MARK_FORM.fullmatch(mark):
            raise StartError(
                f"{self._folder / _MARK} is damaged. If all files of the folder are this"
                " gateway's devices, delete that file, and start again."
            )
        self._identity = StoreIdentity(kind="sqlite", store=mark, machine=machine_id())

    def _refuse_other_files(self) -> None:
        for entry in self._folder.iterdir():
            ours = entry.name.startswith(("device-", _MARK))
            if not ours and entry.name not in _NOT_FILES:
                raise StartError(
                    f"The folder {self._folder} holds other things ({entry.name}). Devices need a"
                    " folder of their own: name one in SEKRING_DEVICE_STORE that is empty or not"
                    " there yet."
                )

    # ----------------------------------------------------------------------------- one file

    @staticmethod
    def _device_of(path: Path) -> str | None:
        if not path.exists():
            return None
        with _opened(path) as database:
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
            if "whatsmeow_device" not in tables:
                return None
            # The column is the key, and yet SQLite lets it be NULL.
            query = "SELECT jid FROM whatsmeow_device WHERE jid IS NOT NULL"
            stored = {str(row[0]) for row in database.execute(query)}
            noted = None
            if "sekring_device" in tables:
                noted = database.execute("SELECT device, linked FROM sekring_device").fetchone()
        if noted is not None:
            device, linked = str(noted[0]), bool(noted[1])
            if linked and device in stored:
                return device
            stored.discard(device)
        # Paired, and then the gateway was killed before it could write that down. The file is this
        # instance's alone, so a single device that we know nothing of is its own.
        return stored.pop() if len(stored) == 1 else None

    async def _in_thread(self, work: Callable[[Path], T], instance_id: str) -> T:
        path = self._folder / file_name(instance_id)
        try:
            return await asyncio.to_thread(work, path)
        except (sqlite3.Error, OSError) as error:
            raise self._unavailable(path, error) from error

    @staticmethod
    def _unavailable(path: Path, error: Exception) -> DevicesUnavailable:
        return DevicesUnavailable(f"The device file {path} cannot be used: {error}.")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    # Not read-only, even to read: a killed worker may have left a journal that is to be undone.
    address = f"file:{_quoted(path)}?mode=rw"
    database = sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None)
    try:
        yield database
    finally:
        database.close()


def _write(path: Path, device: str, *, linked: bool) -> None:
    with _opened(path) as database:
        database.execute("BEGIN IMMEDIATE")
        # Closing takes back what was not committed.
        database.execute(_TABLE)
        database.execute(_UPSERT, (device, linked))
        database.execute("COMMIT")


def _make(path: Path) -> None:
    """Make an empty file that is closed to others; an empty file is an empty database."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        # Not opened: closing it would drop the locks that SQLite has on it in this process.
        # One that was copied here, from a backup for example, may be open to others.
        if stat.S_IMODE(path.stat().st_mode) != _OURS_ALONE:
            path.chmod(_OURS_ALONE)


def _leave_mark(path: Path) -> None:
    """Write the folder's id, whole or not at all; several gateways may do so at once."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(16) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        with contextlib.suppress(FileExistsError):  # another one was first
            os.link(draft, path)
    finally:
        draft.unlink()


def _quoted(path: Path) -> str:
    text = "/" + str(path).lstrip("/")
    return text.replace("%", "%25").replace("?", "%3F").replace("#", "%23")
