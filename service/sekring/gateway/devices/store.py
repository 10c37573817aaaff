"""What the supervisor asks of a device store."""

from typing import Protocol

__all__ = ["DeviceStore"]


class DeviceStore(Protocol):
    """Where devices are kept. The library writes their keys; which is whose is written by us."""

    async def open(self) -> None:
        """Prepare the store, once for all workers.

        Raises:
            StartError: it cannot be reached or used, and what to do.
        """
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...

    def location(self, instance_id: str) -> str:
        """Return where the library finds the instance's device: a path, or a postgresql:// URL."""
        ...

    async def device_of(self, instance_id: str) -> str | None:
        """Return the JID of the instance's device if the store really has it.

        The library ends the whole process when it is given one that the store lacks.
        """
        ...

    async def bind(self, instance_id: str, device: str) -> None:
        """Remember which device the instance was paired with."""
        ...

    async def forget(self, instance_id: str) -> None:
        """Take note that the device was unlinked: the next connection shows a QR code."""
        ...
