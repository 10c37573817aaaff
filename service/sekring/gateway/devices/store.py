"""What the supervisor asks of a device store."""

from typing import Protocol

from sekring.gateway.devices.identity import StoreIdentity

__all__ = ["DeviceStore"]


class DeviceStore(Protocol):
    """Where devices are kept. The library writes their keys; which is whose is written by us."""

    @property
    def identity(self) -> StoreIdentity | None:
        """Which store this is, for other gateways to compare; known once it is open.

        `None`: it keeps nothing that could move to another gateway.
        """
        ...

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
        """Return where the library finds the instance's device: a path, or a postgresql:// URL.

        The library takes a path for a part of SQLite's URI, so whoever hands it over escapes what
        means something there (`%`, `?`, `#`). A URL is handed over as it is, and may hold a
        password.

        Raises:
            DevicesUnavailable: the place cannot be made.
        """
        ...

    async def device_of(self, instance_id: str) -> str | None:
        """Return the JID of the instance's device if the store really has it.

        The library ends the whole process when it is given one that the store lacks.

        Raises:
            DevicesUnavailable: it is not known now. Not the same as none: showing a QR code then
                would replace a device that is paired.
        """
        ...

    async def bind(self, instance_id: str, device: str) -> None:
        """Remember which device the instance was paired with; raises `DevicesUnavailable`."""
        ...

    async def forget(self, instance_id: str) -> None:
        """Take note that the device was unlinked: the next connection shows a QR code.

        The library deletes the device's keys by itself. Raises `DevicesUnavailable`.
        """
        ...
