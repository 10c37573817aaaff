"""What a driver must be able to do. It runs inside a worker process."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from sekring.gateway.workers.messages import Connect, Event

__all__ = ["DrivenSession", "HardEnding", "Listening", "SessionDriver", "Tell"]

#: Tells the supervisor of an event; may be called from any thread.
Tell = Callable[[Event], None]


class DrivenSession(Protocol):
    """One connection of one session, from its beginning to its end."""

    async def run(self) -> None:
        """Connect, and tell of events until the connection has ended.

        Returns when nothing of it is left; why it ended was told before, unless it was stopped.
        What it raises counts as a failure of unknown kind.
        """
        ...

    async def stop(self) -> None:
        """Have `run` end soon."""
        ...

    async def pair(self, phone: str) -> str:
        """Return a pairing code for the phone; raises `DriverError`."""
        ...

    async def send(self, to: str, text: str) -> str:
        """Send a text; return the message's id. Raises `DriverError`."""
        ...

    async def log_out(self) -> None:
        """Unlink the device; the connection then ends. Raises `DriverError`."""
        ...


class SessionDriver(Protocol):
    """Makes connections; one for the whole life of a worker process."""

    @property
    def build(self) -> str:
        """Library and version, as the breaker is told: `neonize/0.5.2`."""
        ...

    def session(self, order: Connect, tell: Tell) -> DrivenSession:
        """Prepare a connection; nothing is done yet."""
        ...


@runtime_checkable
class Listening(Protocol):
    """A driver that wants to know what its library prints on stdout."""

    def heard(self, line: str) -> str | None:
        """Take note of a line, in a thread of its own; return what of it may be kept.

        What is kept may appear in a failure's detail: no QR code, no message. `None` keeps nothing.
        """
        ...


@runtime_checkable
class HardEnding(Protocol):
    """A driver that wants to know that its process ends now, connections or not."""

    def ends_hard(self) -> None:
        """Say goodbye, from any thread, without waiting for anything."""
        ...
