"""One server that holds everything."""

from collections.abc import Callable

from sekring.store.connection import Address, Connector

__all__ = ["Single"]


class Single:
    """The topology of a single server, which never changes."""

    def __init__(self, connector: Connector) -> None:
        """Take the one server that the URL names."""
        self.connector = connector

    def slot_of(self, key: str) -> int:  # noqa: ARG002
        """Return 0."""
        return 0

    def owner(self, slot: int) -> Address | None:  # noqa: ARG002
        """Return the server."""
        return self.connector.first

    def suspect(self) -> None:
        """Do nothing: there is no other server."""

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002
        """Never call back."""
        return lambda: None
