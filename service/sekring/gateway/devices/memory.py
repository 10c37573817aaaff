"""Devices of a driver that has none: remembered until the gateway ends."""

import secrets

from sekring.gateway.devices.identity import StoreIdentity, machine_id

__all__ = ["MemoryStore"]


class MemoryStore:
    """Implements `DeviceStore`; nothing of it can fail."""

    def __init__(self) -> None:
        """Begin without devices."""
        self._devices: dict[str, str] = {}
        self._store = secrets.token_hex(16)

    @property
    def identity(self) -> StoreIdentity:
        """Not to be compared with others': there is nothing in it that could move."""
        return StoreIdentity(kind="sqlite", store=self._store, machine=machine_id())

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def location(self, instance_id: str) -> str:  # noqa: ARG002 - as the others
        """Return nothing: there is no place."""
        return ""

    async def device_of(self, instance_id: str) -> str | None:
        """Return the instance's device."""
        return self._devices.get(instance_id)

    async def bind(self, instance_id: str, device: str) -> None:
        """Remember the device."""
        self._devices[instance_id] = device

    async def forget(self, instance_id: str) -> None:
        """Forget it."""
        self._devices.pop(instance_id, None)
