"""One worker process, seen from the supervisor: started, given orders, listened to, ended.

Three pipes lead to it: orders (its stdin), events, and its output (stdout and stderr in one), of
which the last words are kept. It is in a session of its own: what a terminal or a service manager
sends to the supervisor's process group does not reach it.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import BinaryIO, Final, Self, cast

import msgspec

from sekring.gateway.workers.choice import DriverChoice, HostOptions
from sekring.gateway.workers.lastwords import LastWords
from sekring.gateway.workers.messages import Event, Order

__all__ = ["Garbled", "WorkerProcess", "worker_command"]

#: Longest line that an event may be, in bytes.
_LINE_BYTES: Final = 262_144

#: Orders that may wait for a worker to read them, in bytes; above, it counts as stuck.
_BACKLOG_BYTES: Final = 1_048_576

#: How long a process may take to be gone after its last event or SIGKILL, in seconds, and its
#: output to end once it is: a grandchild might hold that open.
_EXIT_S: Final = 3.0
_OUTPUT_S: Final = 0.5


class Garbled(Exception):
    """A worker wrote what is no event; its text is never repeated, it may hold a QR code."""


def worker_command() -> tuple[str, ...]:
    """Return the command that starts a worker, without its argument.

    Unbuffered, so that its last words get out; and without the current folder, in which a file
    may have the name of one of ours.
    """
    return (sys.executable, "-u", "-P", "-m", "sekring.gateway.workers.host")


class _Output(asyncio.Protocol):
    def __init__(self, words: LastWords, ended: "asyncio.Future[None]") -> None:
        self._words = words
        self._ended = ended

    def data_received(self, data: bytes) -> None:
        self._words.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self._ended.done():
            self._ended.set_result(None)


class WorkerProcess:
    """Made by `start`; then `event` until `None`, and `reap` in any case."""

    def __init__(self, process: asyncio.subprocess.Process, stdin: asyncio.StreamWriter) -> None:
        """Take over a process; `listen` comes next."""
        self._process = process
        self._stdin = stdin
        self._events = asyncio.StreamReader(limit=_LINE_BYTES)
        self._words = LastWords()
        self._output_ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pipes: list[asyncio.BaseTransport] = []
        self._encoder = msgspec.json.Encoder()
        self._decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)

    @classmethod
    async def start(
        cls, driver: DriverChoice, sessions: int, command: Sequence[str] | None = None
    ) -> Self:
        """Start a worker for so many connections at a time; `command` is for tests.

        Raises `OSError` where the system has no room for it, or there is no such program.
        """
        with contextlib.ExitStack() as stack:
            events, events_fd = _pipe(stack)
            output, output_fd = _pipe(stack)
            options = HostOptions(
                driver=driver, events_fd=events_fd, held_fd=output.fileno(), sessions=sessions
            )
            process = await asyncio.create_subprocess_exec(
                *(command or worker_command()),
                options.encode(),
                stdin=asyncio.subprocess.PIPE,
                stdout=output_fd,
                stderr=output_fd,
                pass_fds=(events_fd, output.fileno()),
                start_new_session=True,
                env=_environment(os.environ),
            )
            started = cls(process, cast("asyncio.StreamWriter", process.stdin))
            try:
                await started._listen(events, output)
            except BaseException:
                started.kill()
                raise
            # The reading ends belong to their transports from here on.
            stack.pop_all()
            os.close(events_fd)
            os.close(output_fd)
        return started

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, order: Order) -> bool:
        """Give it an order; false if it takes none (any more)."""
        if self._stdin.is_closing():
            return False
        if self._stdin.transport.get_write_buffer_size() > _BACKLOG_BYTES:
            return False
        self._stdin.write(self._encoder.encode(order) + b"\n")
        return True

    async def event(self) -> Event | None:
        """Return its next event, `None` after the last. Raises `Garbled`."""
        try:
            line = await self._events.readline()
        except ValueError:
            raise Garbled(f"sent a line of more than {_LINE_BYTES} bytes") from None
        if not line.endswith(b"\n"):
            return None  # nothing, or what a death cut off
        try:
            return self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Garbled("sent what is no event") from None

    def let_go(self) -> None:
        """Have it end: without orders it stops what it has, and exits."""
        self._stdin.close()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def reap(self) -> str:
        """Wait until it is gone, killing it if need be; return how it ended, and its last words."""
        try:
            try:
                async with asyncio.timeout(_EXIT_S):
                    await self._process.wait()
            except TimeoutError:
                self.kill()
                await self._process.wait()
            await asyncio.wait([self._output_ended], timeout=_OUTPUT_S)
        finally:
            self.kill()
            self.let_go()
            for pipe in self._pipes:
                pipe.close()
        words = self._words.text()
        ending = _ending(self._process.returncode)
        return f"{ending}: {words}" if words else ending

    async def _listen(self, events: BinaryIO, output: BinaryIO) -> None:
        loop = asyncio.get_running_loop()
        transport: asyncio.BaseTransport
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._events), events
        )
        self._pipes.append(transport)
        transport, _ = await loop.connect_read_pipe(
            lambda: _Output(self._words, self._output_ended), output
        )
        self._pipes.append(transport)


def _pipe(stack: contextlib.ExitStack) -> tuple[BinaryIO, int]:
    read, write = os.pipe()
    stack.callback(os.close, write)
    return stack.enter_context(os.fdopen(read, "rb", 0)), write


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a worker may see of our environment: no token, no password of ours."""
    ours = ("SEKRING_", "OTEL_")
    return {name: value for name, value in environ.items() if not name.startswith(ours)}


def _ending(status: int | None) -> str:
    if status is None or status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
