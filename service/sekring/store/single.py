"""One server that holds everything."""

import math
from collections.abc import Callable

from sekring.store.connection import Address, Connector

__all__ = ["Single"]


class Single:
    """The topology of a single server, which never changes."""

    lost: str | None = None

    def __init__(self, connector: Connector) -> None:
        """Take the one server that the URL names."""
        self.connector = connector

    def start(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def slot_of(self, key: str) -> int:  # noqa: ARG002
        """Return 0."""
        return 0

    def owner(self, slot: int) -> Address | None:  # noqa: ARG002
        """Return the server."""
        return self.connector.first

    def owned_since_s(self, slot: int) -> float:  # noqa: ARG002
        """Return 0: there was no other."""
        return 0.0

    def owners(self) -> set[Address]:
        """Return the server."""
        return {self.connector.first}

    def learn(self, slot: int, owner: Address) -> None:
        """Do nothing: a single server knows of no other."""

    def suspect(self) -> None:
        """Do nothing: there is no other server."""

    def vouch(self) -> float:
        """Return infinity: there is no other server."""
        return math.inf

    def witness(self, callback: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002
        """Never call back."""
        return lambda: None

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002
        """Never call back."""
        return lambda: None
