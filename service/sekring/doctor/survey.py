"""Finds the servers of a Redis deployment, as the service finds them, replicas included."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, cast

import msgspec

from sekring.doctor.nodes import PATIENCE_S, Deployment, Unreached, ask, visit
from sekring.redisurl import RedisUrl
from sekring.store.cluster import read_slots
from sekring.store.connection import Address, Command, Connector
from sekring.store.sentinel import sentinels_own

__all__ = ["survey"]


class _Found(NamedTuple):
    """The servers that whoever was asked knows; who of them are primaries, by its word."""

    servers: list[Address]
    primaries: set[Address]
    #: Sentinels, or nodes that the URL names, that did not answer.
    away: list[Unreached]
    #: Whom each sentinel names.
    named: dict[Address, Address]


async def survey(url: RedisUrl) -> Deployment:
    """Find the servers and ask each how it is."""
    connector = Connector(url, timeout_s=PATIENCE_S)
    if url.kind == "sentinel":
        found = await _ask_sentinels(url)
    elif url.kind == "cluster":
        found = await _ask_seeds(url, connector)
    else:
        found = _Found([connector.first], {connector.first}, [], {})
    nodes, lost = await visit(connector, found.servers)
    if url.kind != "cluster":  # whose nodes know of all others
        replicas = {address: None for node in nodes for address in node.replicas}
        more, more_lost = await visit(
            connector, [address for address in replicas if address not in found.servers]
        )
        nodes, lost = nodes + more, lost + more_lost
    known = {node.address for node in nodes} | {one.address for one in lost}
    unreached = [one for one in found.away if one.address not in known]
    for one in lost:
        if one.address in found.primaries:
            unreached.append(one)
        else:
            unreached.append(msgspec.structs.replace(one, role="replica", spare=True))
    return Deployment(url, connector, tuple(nodes), tuple(unreached), found.named)


async def _ask_sentinels(url: RedisUrl) -> _Found:
    question: Command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.service)
    named: dict[Address, Address] = {}
    away = []
    guides = Connector(sentinels_own(url), timeout_s=PATIENCE_S)
    for sentinel, answer in (await _ask_each(guides, url, question)).items():
        if isinstance(answer, list):
            host, port = cast("list[bytes]", answer)
            named[sentinel] = Address(host.decode(), int(port))
        else:
            words = f"it knows no service named {url.service}" if answer is None else str(answer)
            away.append(Unreached(sentinel, words, role="sentinel"))
    servers = list(dict.fromkeys(named.values()))
    return _Found(servers, set(servers), _spare(away, others=bool(named)), named)


async def _ask_seeds(url: RedisUrl, connector: Connector) -> _Found:
    """Ask the nodes that the URL names for all nodes."""
    servers: dict[Address, None] = {}
    primaries: set[Address] = set()
    away = []
    for seed, answer in (await _ask_each(connector, url, ("CLUSTER", "SLOTS"))).items():
        if isinstance(answer, list):
            owners, nodes = read_slots(answer, seed)
            servers |= dict.fromkeys(nodes)
            primaries |= set(owners.values())
        else:
            away.append(Unreached(seed, str(answer)))
    return _Found(list(servers), primaries, _spare(away, others=bool(servers)), {})


async def _ask_each(
    connector: Connector, url: RedisUrl, question: Command
) -> dict[Address, object]:
    """Return the answer of each node that the URL names, errors as they are."""
    addresses = [Address(*node) for node in url.nodes]
    answers = await asyncio.gather(
        *(ask(connector, address, [question]) for address in addresses), return_exceptions=True
    )
    return {
        address: answer[0] if isinstance(answer, list) else answer
        for address, answer in zip(addresses, answers, strict=True)
    }


def _spare(away: Sequence[Unreached], *, others: bool) -> list[Unreached]:
    """Take note that one of several is what they are several for."""
    return [msgspec.structs.replace(one, spare=others) for one in away]
