"""What the supervisor sees of worker processes: connections, each made by one `Connect`."""

from collections.abc import AsyncIterator
from typing import Protocol

from sekring.gateway.workers.messages import Connect, Event

__all__ = ["Connection", "Workers"]


class Connection(Protocol):
    """One connection of one session; whatever happens to its process, `Ended` comes."""

    def events(self) -> AsyncIterator[Event]:
        """Yield what happens; `Ended` is the last. To be used once."""
        ...

    def extend(self, until_s: float) -> None:
        """Let the connection last until then (CLOCK_MONOTONIC, s): the lease was renewed."""
        ...

    async def stop(self) -> None:
        """End the connection; returns when nothing of it is left, its process killed if need be."""
        ...

    async def pair(self, phone: str) -> str:
        """Return a pairing code; raises `DriverError`."""
        ...

    async def send(self, to: str, text: str) -> str:
        """Send a text; return the message's id. Raises `DriverError`."""
        ...

    async def log_out(self) -> None:
        """Unlink the device; the connection then ends. Raises `DriverError`."""
        ...


class Workers(Protocol):
    """All worker processes of a gateway."""

    @property
    def build(self) -> str:
        """The driver's library and version, as the breaker is told: `neonize/0.5.2`."""
        ...

    def connect(self, order: Connect) -> Connection:
        """Have a worker make a connection; what goes wrong comes as an event."""
        ...

    async def close(self) -> None:
        """Stop all connections; returns when no process is left."""
        ...
