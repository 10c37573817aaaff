"""What a driver must be able to do. It runs inside a worker process."""

from collections.abc import Callable
from typing import Protocol

from sekring.gateway.workers.messages import Connect, Event

__all__ = ["DrivenSession", "SessionDriver", "Tell"]

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
