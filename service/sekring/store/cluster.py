"""A cluster's slots and who has them, followed through failovers and resharding."""

import math
import time
from typing import cast

import structlog
from redis.crc import key_slot

from sekring.redisurl import RedisUrl
from sekring.store.connection import Address, ConnectionLost, Connector
from sekring.store.survey import Survey

__all__ = ["Cluster", "read_slots"]

_SLOTS = 16_384

#: How often to look without any suspicion, in seconds.
_PERIOD_S = 2.0
_GAP_S = 0.1

#: How many nodes to ask at once: the one that knows most is believed.
_ASKED = 3

_log = structlog.get_logger(__name__)


class Cluster(Survey):
    """The topology of a Redis Cluster."""

    def __init__(self, url: RedisUrl, connector: Connector) -> None:
        """Know some nodes from the URL; nothing is sent yet."""
        super().__init__(connector, guides=connector, period_s=_PERIOD_S, gap_s=_GAP_S)
        self._seeds = [Address(*node) for node in url.nodes]
        #: Whom to ask, those who answered last behind those who were not asked for longer.
        self._known = list(self._seeds)
        self._owner: list[Address | None] = [None] * _SLOTS
        self._owners: set[Address] = set()
        self._since_s: dict[int, float] = {}

    def slot_of(self, key: str) -> int:
        """Return the slot of the key's hash tag."""
        return int(key_slot(key.encode()))

    def owner(self, slot: int) -> Address | None:
        """Return the primary that has the slot."""
        return self._owner[slot]

    def owned_since_s(self, slot: int) -> float:
        """Return when it was noticed that the slot has moved."""
        return self._since_s.get(slot, 0.0)

    def owners(self) -> set[Address]:
        """Return the primaries that have slots."""
        return self._owners

    def vouch(self) -> float:
        """Return infinity: a primary without a majority takes no calls."""
        return math.inf

    def learn(self, slot: int, owner: Address) -> None:
        """Take a node's word (`MOVED`) for it."""
        self.suspect()
        if self._owner[slot] != owner:
            self._set(slot, owner)
            self._owners = self._owners | {owner}
            self.tell()

    async def look(self) -> None:
        """Ask some nodes for the slots, and believe the one whose epoch is the latest."""
        asked = self._known[:_ASKED]
        try:
            answers = await self.ask(asked, [("CLUSTER", "SLOTS"), ("CLUSTER", "INFO")])
        except ConnectionLost:
            # The seeds again: a cluster may have moved altogether.
            self._known = self._known[_ASKED:] + asked
            self._known += [seed for seed in self._seeds if seed not in self._known]
            raise
        teacher = max(answers, key=lambda address: _authority(answers[address][1]))
        owners, nodes = read_slots(answers[teacher][0], teacher)
        silent = [address for address in asked if address in nodes and address not in answers]
        fresh = [address for address in self._known if address in nodes and address not in asked]
        fresh += [address for address in nodes if address not in self._known]
        self._known = [*fresh, *answers, *silent]
        await self.forget(self._known)
        changed = {slot: owner for slot, owner in owners.items() if self._owner[slot] != owner}
        if not changed:
            return
        for slot, owner in changed.items():
            self._set(slot, owner)
        # A slot that nobody has stays with its last owner, who may come back.
        self._owners = {owner for owner in self._owner if owner}
        _log.info("cluster slots learnt", changed=len(changed), told_by=str(teacher))
        self.tell()

    def _set(self, slot: int, owner: Address) -> None:
        if self._owner[slot] is not None:
            self._since_s[slot] = time.monotonic()
        self._owner[slot] = owner


def _authority(info: object) -> tuple[bool, int, int]:
    """Read `CLUSTER INFO`: whether the node sees a working cluster, and how late its epochs are."""
    lines = cast("bytes", info).decode().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return (
        fields.get("cluster_state") == "ok",
        int(fields.get("cluster_current_epoch", 0)),
        int(fields.get("cluster_my_epoch", 0)),
    )


def read_slots(answer: object, teacher: Address) -> tuple[dict[int, Address], list[Address]]:
    """Read `CLUSTER SLOTS`: the owner of each slot, and all nodes, replicas included."""
    owners: dict[int, Address] = {}
    nodes: dict[Address, None] = {}
    for first, last, *members in cast("list[list[object]]", answer):
        addresses = [_member(member, teacher) for member in members]
        nodes |= dict.fromkeys(addresses)
        for slot in range(cast("int", first), cast("int", last) + 1):
            owners[slot] = addresses[0]
    return owners, list(nodes)


def _member(member: object, teacher: Address) -> Address:
    host, port, *_ = cast("list[object]", member)
    # A node that does not know its own address means the one by which it was asked.
    name = host.decode() if isinstance(host, bytes) else ""
    return Address(teacher.host if name in {"", "?"} else name, cast("int", port))
