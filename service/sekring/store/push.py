"""What scripts publish, delivered in order, with a proof of what was delivered.

Scripts publish on sharded channels that are named like keys, so that a channel is where its
partition is: `SPUBLISH` within the script that changes the state. Each node that holds channels has
one connection; a message, and the answer to whatever was sent later, arrive in that order.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

from sekring.store.connection import Address
from sekring.store.redis import RedisLink
from sekring.store.subscription import Subscription

__all__ = ["PushChannel", "PushListener"]


class PushListener(Protocol):
    """Who is told. Every method is called in the event loop and must not wait."""

    def opened(self, channel: str) -> None:
        """Take note: all that is published from now on will arrive; read the state now."""
        ...

    def message(self, channel: str, payload: bytes) -> None:
        """Take one message; only ever between `opened` and `broken`.

        None is missing, but one may come again, and late: a call is repeated when its answer is
        lost, and a primary that was stopped runs what it had received once it goes on, and tells
        its shard. So a payload needs a version of its own.
        """
        ...

    def broken(self, channel: str) -> None:
        """Take note: messages may be lost from now on, until `opened`."""
        ...

    def proven(self, channels: Collection[str], sent_s: float) -> None:
        """Take note: everything published on `channels` before `sent_s` was delivered.

        `sent_s` is a `time.monotonic()`. Published means: by a script that ended on the node which
        this replica knows to be in charge, and which still was when it answered.
        """
        ...


class PushChannel:
    """Keeps `channels` subscribed wherever they are, and tells `listener` how it stands."""

    def __init__(
        self, link: RedisLink, channels: Sequence[str], listener: PushListener, *, ping_ms: int
    ) -> None:
        """Prepare; nothing is sent yet.

        Every `ping_ms` each node is asked whether it is still in charge; its answer is the proof.
        """
        self._topology = link.topology
        self._channels = tuple(channels)
        self._listener = listener
        self._ping_s = ping_ms / 1000

    async def run(self) -> None:
        """Deliver until cancelled; whatever breaks is mended."""
        changed = asyncio.Event()
        self._topology.start()
        unwatch = self._topology.watch(changed.set)
        nodes: dict[Address, tuple[Subscription, asyncio.Task[None]]] = {}
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    wanted = self._wanted()
                    for address in nodes.keys() - wanted.keys():
                        subscription, task = nodes.pop(address)
                        # At once: when the task has ended they may be open on another node.
                        subscription.want({})
                        task.cancel()
                    for address, channels in wanted.items():
                        if address not in nodes:
                            subscription = Subscription(
                                self._topology, address, self._listener, ping_s=self._ping_s
                            )
                            nodes[address] = subscription, tasks.create_task(subscription.run())
                        nodes[address][0].want(channels)
                    await changed.wait()
                    changed.clear()
        finally:
            unwatch()

    def _wanted(self) -> dict[Address, dict[str, int]]:
        """Return the channels, each with its slot, by the node that holds them now."""
        wanted: dict[Address, dict[str, int]] = {}
        for channel in self._channels:
            slot = self._topology.slot_of(channel)
            owner = self._topology.owner(slot)
            if owner is not None:
                wanted.setdefault(owner, {})[channel] = slot
        return wanted
