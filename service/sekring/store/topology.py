"""Which node holds a key: a single server, sentinels and a cluster each have their own answer."""

from collections.abc import Callable
from typing import Protocol

from sekring.store.connection import Address, Connector

__all__ = ["Topology"]


class Topology(Protocol):
    """What is known of the nodes, and of which of them is in charge of a slot."""

    connector: Connector
    #: Why nothing can be learnt of the nodes; `None` as long as something can.
    lost: str | None

    def start(self) -> None:
        """Begin to follow changes; must be called in the event loop, any number of times."""
        ...

    async def close(self) -> None:
        """Stop following changes."""
        ...

    def slot_of(self, key: str) -> int:
        """Return the slot of a key; where there is but one node at a time, always 0."""
        ...

    def owner(self, slot: int) -> Address | None:
        """Return the node in charge of `slot`, as far as is known now."""
        ...

    def owned_since_s(self, slot: int) -> float:
        """Return when the slot got its owner from another (`time.monotonic()`), 0 for never."""
        ...

    def owners(self) -> set[Address]:
        """Return all nodes that are in charge of a slot."""
        ...

    def learn(self, slot: int, owner: Address) -> None:
        """Take a node's word for another node's being in charge of `slot`."""
        ...

    def suspect(self) -> None:
        """Say that what is known may be wrong: it is looked up again soon."""
        ...

    def vouch(self) -> float:
        """Return until when the owners are vouched for (`time.monotonic()`), and have it renewed.

        Infinite where nodes vouch for themselves. A server that sentinels have replaced may not
        know it yet; there, what it says counts once the sentinels, asked later, name it still.
        """
        ...

    def witness(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` whenever the owners are vouched for anew; returns what ends that."""
        ...

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after every change of an owner or of `lost`; returns what ends that."""
        ...
