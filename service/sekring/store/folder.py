"""The data folder of the embedded server: who holds it, where its socket is, what its log says."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from sekring.errors import DataDirLocked, StartError

__all__ = ["DataFolder"]

#: Unix sockets have room for 103 bytes of path on macOS, 107 on Linux.
SOCKET_PATH_MAX_BYTES: Final = 100

#: Above this size the log of earlier runs is put aside as `valkey.log.1` before the next start.
LOG_MAX_BYTES: Final = 1_000_000

#: How often a held folder is tried again while its holder may be on its way out.
LOCK_POLL_MS: Final = 50


class DataFolder:
    """A folder that one embedded server at a time may use.

    The lock is an flock(2) on the file `lock`. The server inherits the open file, so the folder
    stays held for as long as either process lives: an orphaned server cannot meet a second one on
    the same append-only file.
    """

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is touched before `acquire`."""
        self.path = path.expanduser().absolute()
        #: The server's unix socket; valid once the folder is held.
        self.socket = self.path / "valkey.sock"
        self._lock_fd: int | None = None
        self._socket_folder: Path | None = None

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.path / "valkey.log"

    @property
    def lock_fd(self) -> int:
        """The open lock file, for the server to inherit."""
        if self._lock_fd is None:
            raise RuntimeError("the folder is not held")
        return self._lock_fd

    # ------------------------------------------------------------------------------ the lock

    def acquire(self, wait_ms: int) -> None:
        """Make the folder if need be and hold it.

        Waits up to `wait_ms` for a holder that is stopping. Raises `DataDirLocked` after that, and
        `StartError` where the folder cannot be made or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock_fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(
                f"The data folder {self.path} cannot be used: {error.strerror}. Make it writable,"
                " or name another one in SEKRING_DATA_DIR."
            ) from error
        deadline = time.monotonic() + wait_ms / 1000
        while True:
            try:
                fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    message = self._locked_message(lock_fd)
                    os.close(lock_fd)
                    raise DataDirLocked(message) from None
                time.sleep(LOCK_POLL_MS / 1000)
            else:
                self._lock_fd = lock_fd
                self._place_socket()
                return

    def note_holders(self, server_pid: int) -> None:
        """Write down who holds the folder, for the message of whoever comes next."""
        note = json.dumps({"pid": os.getpid(), "server_pid": server_pid}).encode()
        os.pwrite(self.lock_fd, note + b"\n", 0)
        os.ftruncate(self.lock_fd, len(note) + 1)

    def release(self) -> None:
        """Let go of the folder and remove the socket."""
        if self._lock_fd is None:
            return
        with contextlib.suppress(OSError):
            self.socket.unlink(missing_ok=True)
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            self._socket_folder = None
        # The note goes with the holder; the file stays, since removing it would let two processes
        # hold locks on two files of the same name.
        os.ftruncate(self._lock_fd, 0)
        os.close(self._lock_fd)
        self._lock_fd = None

    def _locked_message(self, lock_fd: int) -> str:
        try:
            note = json.loads(os.pread(lock_fd, 200, 0))
            pids = [int(note["pid"]), int(note["server_pid"])]
        except (OSError, ValueError, TypeError, KeyError):
            pids = []
        running = [pid for pid in pids if _is_running(pid)]
        who = f"process {running[0]}" if running else "another process"
        if pids and running == pids[1:]:
            who += " (a server left behind by one that was killed)"
        return (
            f"The data folder {self.path} is held by {who}. Stop it, or give this one another"
            " folder in SEKRING_DATA_DIR, or let both share one Redis by SEKRING_REDIS_URL."
        )

    def _place_socket(self) -> None:
        self.socket = self.path / "valkey.sock"
        if len(os.fsencode(self.socket)) <= SOCKET_PATH_MAX_BYTES:
            return
        base = tempfile.gettempdir()
        if len(os.fsencode(base)) > SOCKET_PATH_MAX_BYTES // 2:
            base = "/tmp"  # noqa: S108  # mkdtemp makes a folder there that is ours alone
        self._socket_folder = Path(tempfile.mkdtemp(prefix="sekring-", dir=base))
        self.socket = self._socket_folder / "valkey.sock"

    # -------------------------------------------------------------------------------- the log

    def rotate_log(self) -> int:
        """Put a large log aside; returns the size in bytes of what the next run appends to."""
        try:
            size = self.log.stat().st_size
        except FileNotFoundError:
            return 0
        if size <= LOG_MAX_BYTES:
            return size
        self.log.replace(self.log.with_name("valkey.log.1"))
        return 0

    def log_tail(self, since_bytes: int, lines: int = 8) -> str:
        """Return the last lines that were logged after the first `since_bytes` bytes."""
        try:
            with self.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(since_bytes, size - 10_000))
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-lines:])


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True
