"""Devices of a driver that has none: remembered until the gateway ends."""

__all__ = ["MemoryStore"]


class MemoryStore:
    """Implements `DeviceStore`; nothing of it can fail."""

    def __init__(self) -> None:
        """Begin without devices."""
        self._devices: dict[str, str] = {}

    @property
    def identity(self) -> None:
        """None: there is nothing in it that could move to another gateway."""

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
