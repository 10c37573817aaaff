"""What the scripted driver did, as JSON lines: what the checkers of tests read.

Each line has `event`, `instance`, `token` (the lease's fencing token), `number` (of the connect
under this token), `pid` (of the worker) and `at_s` (CLOCK_MONOTONIC, s). The events:

* `connect`: written before there is a connection;
* `connected`: logged in;
* `sent`: a text was sent, of which there is only its `length`, in characters;
* `disconnect`: written after the connection has ended. For a worker that could not write it any
  more, the supervisor does, when the process is gone. There may then be two: the first counts.

Every line is one write to a file opened with O_APPEND, so that processes can share it.
"""

import os
import time

import msgspec

from sekring.gateway.workers.messages import Connect

__all__ = ["ScriptLog"]


class ScriptLog:
    """Writes to a file; to nothing if there is none."""

    def __init__(self, path: str | None) -> None:
        """Append to the file at `path`."""
        self._path = path

    def write(self, event: str, order: Connect, pid: int | None = None, **more: object) -> None:
        """Write a line on the connection that `order` made. Raises `OSError`."""
        if self._path is None:
            return
        line = {
            "event": event,
            "instance": order.instance_id,
            "token": order.token,
            "number": order.number,
            "pid": os.getpid() if pid is None else pid,
            "at_s": time.monotonic(),
            **more,
        }
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(self._path, flags, 0o644)
        try:
            os.write(fd, msgspec.json.encode(line) + b"\n")
        finally:
            os.close(fd)
