"""The servers of a Redis deployment: found as the service finds them, and each asked how it is."""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple, cast

from msgspec import Struct

from sekring.redisurl import RedisUrl
from sekring.store.cluster import read_slots
from sekring.store.connection import Address, Command, ConnectionLost, Connector, Dialogue
from sekring.store.sentinel import sentinels_own

__all__ = ["PATIENCE_S", "Deployment", "Holding", "Node", "Unreached", "ask", "survey"]

#: How long a server may take to answer, connecting included, in seconds.
PATIENCE_S = 2.0


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
    sentinel: bool = False
    #: It is a replica: nothing needs it until the primary fails.
    replica: bool = False


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


async def survey(url: RedisUrl) -> Deployment:
    """Find the servers and ask each."""
    connector = Connector(url, timeout_s=PATIENCE_S)
    named: dict[Address, Address] = {}
    unreached: list[Unreached] = []
    if url.kind == "sentinel":
        named, unreached = await _ask_sentinels(url)
        first = list(dict.fromkeys(named.values()))
    elif url.kind == "cluster":
        first, unreached = await _ask_seeds(url, connector)
    else:
        first = [connector.first]
    nodes, lost = await _visit(connector, first)
    # Replicas are where a failover leads.
    more = [
        address
        for node in nodes
        for address in node.replicas
        if address not in first and url.kind != "cluster"
    ]
    replicas, lost_replicas = await _visit(connector, list(dict.fromkeys(more)))
    known = {node.address for node in nodes}
    unreached = [one for one in unreached if one.address not in known]
    unreached += [one for one in lost if one.address not in {two.address for two in unreached}]
    unreached += [Unreached(one.address, one.words, replica=True) for one in lost_replicas]
    return Deployment(url, connector, (*nodes, *replicas), tuple(unreached), named)


async def _ask_sentinels(url: RedisUrl) -> tuple[dict[Address, Address], list[Unreached]]:
    guides = Connector(sentinels_own(url), timeout_s=PATIENCE_S)
    addresses = [Address(*node) for node in url.nodes]
    question: Command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.service)
    named: dict[Address, Address] = {}
    unreached = []
    answers = await asyncio.gather(
        *(ask(guides, address, [question]) for address in addresses), return_exceptions=True
    )
    for address, answer in zip(addresses, answers, strict=True):
        word = answer[0] if isinstance(answer, list) else answer
        if isinstance(word, list):
            host, port = cast("list[bytes]", word)
            named[address] = Address(host.decode(), int(port))
        else:
            words = f"it knows no service named {url.service}" if word is None else str(word)
            unreached.append(Unreached(address, words, sentinel=True))
    return named, unreached


async def _ask_seeds(url: RedisUrl, connector: Connector) -> tuple[list[Address], list[Unreached]]:
    """Ask the nodes that the URL names for all nodes."""
    seeds = [Address(*node) for node in url.nodes]
    answers = await asyncio.gather(
        *(ask(connector, seed, [("CLUSTER", "SLOTS")]) for seed in seeds), return_exceptions=True
    )
    found: dict[Address, None] = {}
    unreached = []
    for seed, answer in zip(seeds, answers, strict=True):
        word = answer[0] if isinstance(answer, list) else answer
        if isinstance(word, list):
            _, nodes = read_slots(word, seed)
            found |= dict.fromkeys(nodes)
        else:
            unreached.append(Unreached(seed, str(word)))
    return list(found), unreached


async def _visit(
    connector: Connector, addresses: Sequence[Address]
) -> tuple[list[Node], list[Unreached]]:
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
        # The connection is made by the first, so that the second's time is the network's alone.
        (info,) = await dialogue.exchange([("INFO",)], connector.timeout_s)
        asked_s = time.monotonic()
        asked_ms = time.time() * 1000
        clock, cluster = await dialogue.exchange(
            [("TIME",), ("CLUSTER", "INFO")], connector.timeout_s
        )
        round_trip_ms = (time.monotonic() - asked_s) * 1000
    finally:
        await dialogue.close()
    for answer in (info, clock):
        if isinstance(answer, Exception):
            raise ConnectionLost(f"{address}: {answer}")
    seconds, microseconds = (int(part) for part in cast("list[bytes]", clock))
    return Node(
        address=address,
        info=_fields(info),
        clock_ms=seconds * 1000 + microseconds / 1000,
        own_clock_ms=asked_ms + round_trip_ms / 2,
        round_trip_ms=round_trip_ms,
        cluster={} if isinstance(cluster, Exception) else _fields(cluster),
    )


def _fields(answer: object) -> dict[str, str]:
    lines = cast("bytes", answer).decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
