"""A real cluster for tests: three primaries with a replica each, on loopback."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.crc import key_slot

from tests.servers import SERVICE_LOGIN, RedisServer, free_port, wait_until

__all__ = ["Cluster", "ClusterNode"]

_SLOTS = 16_384
_PRIMARIES = 3


class ClusterNode(RedisServer):
    """One node; knows its id once the cluster is formed."""

    def __init__(self, folder: Path, binary: str | None) -> None:
        """Prepare a node in `folder`."""
        self.bus_port = free_port()
        self.id = ""
        super().__init__(
            folder,
            "--cluster-enabled", "yes",
            "--cluster-port", str(self.bus_port),
            "--cluster-node-timeout", "1500",
            "--repl-diskless-sync-delay", "0",
            "--enable-debug-command", "yes",
            binary=binary,
        )  # fmt: skip

    def ask(self, *command: str | int) -> Any:
        """Run one command on this very node."""
        with self.client() as client:
            return client.execute_command(*command)

    def info(self, section: str) -> dict[str, Any]:
        """Return a part of INFO."""
        with self.client() as client:
            return dict(client.info(section))


class Cluster:
    """Six nodes; `with Cluster(folder) as cluster: …`."""

    def __init__(self, folder: Path, binary: str | None = None) -> None:
        """Prepare the nodes in `folder`."""
        self.nodes = [ClusterNode(folder / str(n), binary) for n in range(2 * _PRIMARIES)]

    @property
    def url(self) -> str:
        """URL that names three of the nodes, a replica among them."""
        named = (self.nodes[0], self.nodes[4], self.nodes[2])
        return f"redis+cluster://{SERVICE_LOGIN}" + ",".join(
            f"127.0.0.1:{node.port}" for node in named
        )

    def primary_of(self, key: str) -> ClusterNode:
        """Return the node that has the key's slot, as most others see it."""
        slot = key_slot(key.encode())
        for node in self.nodes:
            try:
                with node.client(patience_s=1) as client:
                    ranges = client.execute_command("CLUSTER", "SLOTS")
            except redis.RedisError:
                continue
            for first, last, primary, *_ in ranges:
                if first <= slot <= last:
                    return next(one for one in self.nodes if one.port == primary[1])
        raise AssertionError(f"no node has the slot of {key}")

    def replica_of(self, primary: ClusterNode) -> ClusterNode:
        """Return a replica that follows `primary`."""
        for node in self.nodes:
            if node is not primary and node.answers_now():
                role = node.ask("ROLE")
                if role[0] == b"slave" and role[2] == primary.port:
                    return node
        raise AssertionError("it has no replica")

    # ------------------------------------------------------------------------- mischief

    def fail_over(self, key: str) -> None:
        """Have the replica of the key's primary take over, in agreement with it."""
        old = self.primary_of(key)
        replica = self.replica_of(old)
        replica.ask("CLUSTER", "FAILOVER")
        wait_until(lambda: replica.ask("ROLE")[0] == b"master", "the replica to take over")

    def begin_move(self, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        """Open a slot on both sides."""
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

    def move_keys(self, slot: int, source: ClusterNode, target: ClusterNode, most: int) -> int:
        """Move up to `most` keys of an open slot; return how many."""
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, most)
        if keys:
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        return len(keys)

    def end_move(self, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        """Give the slot to the target: it is told first, the source second, then the others."""
        for node in (target, source, *self.nodes):
            if node in {target, source} or node.ask("ROLE")[0] == b"master":
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def move(self, slot: int, target: ClusterNode) -> None:
        """Move a slot with all its keys."""
        source = next(
            node for node in self.nodes if node.ask("ROLE")[0] == b"master" and _has(node, slot)
        )
        self.begin_move(slot, source, target)
        while self.move_keys(slot, source, target, 10):
            pass
        self.end_move(slot, source, target)

    # --------------------------------------------------------------------------- running

    def empty(self) -> None:
        """Remove every key: a slot that holds any cannot simply be given away."""
        for node in self.nodes:
            if node.ask("ROLE")[0] == b"master":
                node.ask("FLUSHALL")

    def heal(self) -> None:
        """Start what was killed, let go on what was stopped, and wait until all is well."""
        for node in self.nodes:
            node.revive()
        wait_until(self.is_whole, "the cluster to be whole", seconds=40)

    def is_whole(self) -> bool:
        """Tell whether every node sees a working cluster, and three replicas are in step."""
        replicas = 0
        for node in self.nodes:
            info = node.info("replication")
            replicas += info["role"] == "slave" and info["master_link_status"] == "up"
            state = node.ask("CLUSTER", "INFO")
            fields = state if isinstance(state, dict) else _fields(state)
            if fields["cluster_state"] != "ok" or int(fields["cluster_size"]) != _PRIMARIES:
                return False
        return replicas == _PRIMARIES

    def start(self) -> None:
        """Start the nodes and form the cluster."""
        for node in self.nodes:
            node.spawn()
        for epoch, node in enumerate(self.nodes, start=1):
            wait_until(node.answers, "a node")
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", epoch)
            node.id = node.ask("CLUSTER", "MYID").decode()
        first, *others = self.nodes
        for node in others:
            first.ask("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        share = -(-_SLOTS // _PRIMARIES)
        for n, node in enumerate(self.nodes[:_PRIMARIES]):
            last = min((n + 1) * share, _SLOTS) - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", n * share, last)
        for n, node in enumerate(self.nodes[_PRIMARIES:]):
            wait_until(lambda node=node: _knows_all(node), "the nodes to meet")
            node.ask("CLUSTER", "REPLICATE", self.nodes[n].id)
        wait_until(self.is_whole, "the cluster to form", seconds=40)

    def stop(self) -> None:
        """End all nodes; nothing is to be kept."""
        for node in self.nodes:
            node.kill()

    def __enter__(self) -> Self:
        """Start; a start that fails leaves no process behind."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()


def _fields(text: bytes) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)


def _knows_all(node: ClusterNode) -> bool:
    state = node.ask("CLUSTER", "INFO")
    fields = state if isinstance(state, dict) else _fields(state)
    # Slots too: a replica is refused the primary that it has not heard of as one.
    return int(fields["cluster_known_nodes"]) == 2 * _PRIMARIES


def _has(node: ClusterNode, slot: int) -> bool:
    return any(
        first <= slot <= last and primary[1] == node.port
        for first, last, primary, *_ in node.ask("CLUSTER", "SLOTS")
    )
