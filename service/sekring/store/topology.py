"""Which node holds a key: a single server, sentinels and a cluster each have their own answer."""

from collections.abc import Callable
from typing import Protocol

from sekring.store.connection import Address, Connector

__all__ = ["Topology"]


class Topology(Protocol):
    """What is known of the nodes, and of which of them is in charge of a slot."""

    connector: Connector

    def slot_of(self, key: str) -> int:
        """Return the slot of a key; where there is but one node at a time, always 0."""
        ...

    def owner(self, slot: int) -> Address | None:
        """Return the node in charge of `slot`, as far as is known now."""
        ...

    def suspect(self) -> None:
        """Say that what is known may be wrong: it is looked up again soon."""
        ...

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after every change of an owner; returns what ends that."""
        ...
