"""The servers of a Redis deployment, as they answered when each was asked how it is."""

import asyncio
import time
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

from msgspec import Struct

from sekring.redisurl import RedisUrl
from sekring.store.connection import Address, Command, ConnectionLost, Connector, Dialogue

__all__ = ["PATIENCE_S", "Deployment", "Holding", "Node", "Unreached", "ask", "visit"]

#: How long a server may take to answer, connecting included, in seconds.
PATIENCE_S = 2.0

#: How often a server's clock is read.
_READINGS = 3


class Node(Struct, frozen=True):
    """A server that answered."""

    address: Address
    #: `INFO`, all of it.
    info: dict[str, str]
    #: Its clock and ours (both `time.time()`), in ms: ours in the middle of the round trip.
    clock_ms: float
    own_clock_ms: float
    round_trip_ms: float
    #: `CLUSTER INFO`, where it is a cluster's.
    cluster: dict[str, str]

    @property
    def is_primary(self) -> bool:
        """Whether it takes writes, or would."""
        return self.info.get("role") == "master"

    @property
    def replicas(self) -> list[Address]:
        """The replicas that a primary has, as it names them."""
        return [
            Address(fields["ip"], int(fields["port"]))
            for fields in self._replica_fields()
            if "ip" in fields
        ]

    @property
    def replicas_in_step(self) -> int:
        """How many of them get what is written."""
        return sum(fields.get("state") == "online" for fields in self._replica_fields())

    def _replica_fields(self) -> list[dict[str, str]]:
        lines = [
            value
            for name, value in self.info.items()
            if name.startswith("slave") and name[5:].isdecimal()
        ]
        return [dict(pair.partition("=")[::2] for pair in line.split(",")) for line in lines]


class Holding(NamedTuple):
    """A primary, and a key that it holds."""

    node: Node
    key: str


class Unreached(Struct, frozen=True):
    """A server, or a sentinel, that did not answer."""

    address: Address
    words: str
    role: Literal["server", "replica", "sentinel"] = "server"
    #: The service goes on without it, as long as nothing else fails.
    spare: bool = False


class Deployment(Struct, frozen=True):
    """What was found."""

    url: RedisUrl
    connector: Connector
    nodes: tuple[Node, ...]
    unreached: tuple[Unreached, ...]
    #: How many sentinels answered, and whom each names as the primary.
    named: dict[Address, Address]

    @property
    def primaries(self) -> list[Node]:
        """The servers that take writes."""
        return [node for node in self.nodes if node.is_primary]


async def ask(connector: Connector, address: Address, commands: Sequence[Command]) -> list[object]:
    """Ask one server, on a connection of its own.

    Raises:
        ConnectionLost: it does not answer.
    """
    dialogue = Dialogue(connector, address)
    try:
        return await dialogue.exchange(commands, connector.timeout_s)
    finally:
        await dialogue.close()


async def visit(
    connector: Connector, addresses: Sequence[Address]
) -> tuple[list[Node], list[Unreached]]:
    """Ask servers how they are, all at once; return who answered, and who did not."""
    answers = await asyncio.gather(
        *(_examine(connector, address) for address in addresses), return_exceptions=True
    )
    nodes, unreached = [], []
    for address, answer in zip(addresses, answers, strict=True):
        if isinstance(answer, Node):
            nodes.append(answer)
        elif isinstance(answer, ConnectionLost):
            unreached.append(Unreached(address, str(answer)))
        else:
            raise answer
    return nodes, unreached


async def _examine(connector: Connector, address: Address) -> Node:
    dialogue = Dialogue(connector, address)
    try:
        info, cluster = await dialogue.exchange(
            [("INFO",), ("CLUSTER", "INFO")], connector.timeout_s
        )
        if isinstance(info, Exception):
            raise ConnectionLost(f"{address}: {info}")
        readings = [await _read_clock(dialogue, connector.timeout_s) for _ in range(_READINGS)]
    finally:
        await dialogue.close()
    # The quickest tells most of the clock, and of the network: the others have waited, here or
    # there.
    best = min(readings, key=lambda reading: reading.round_trip_ms)
    return Node(
        address=address,
        info=_fields(info),
        clock_ms=best.clock_ms,
        own_clock_ms=best.own_clock_ms,
        round_trip_ms=best.round_trip_ms,
        cluster={} if isinstance(cluster, Exception) else _fields(cluster),
    )


class _Reading(NamedTuple):
    """A server's clock, and ours in the middle of the round trip."""

    clock_ms: float
    own_clock_ms: float
    round_trip_ms: float


async def _read_clock(dialogue: Dialogue, timeout_s: float) -> _Reading:
    asked_s, asked_ms = time.monotonic(), time.time() * 1000
    (clock,) = await dialogue.exchange([("TIME",)], timeout_s)
    round_trip_ms = (time.monotonic() - asked_s) * 1000
    if isinstance(clock, Exception):
        raise ConnectionLost(f"{dialogue.address}: {clock}")
    seconds, microseconds = (int(part) for part in cast("list[bytes]", clock))
    server_ms = seconds * 1000 + microseconds / 1000
    return _Reading(server_ms, asked_ms + round_trip_ms / 2, round_trip_ms)


def _fields(answer: object) -> dict[str, str]:
    lines = cast("bytes", answer).decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
