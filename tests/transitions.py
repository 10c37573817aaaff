"""Transitions written straight into the streams, as the scripts write them: many, and quickly."""

import time
from typing import Any

import redis

from sekring.store.keys import Keyspace

__all__ = ["append_transitions", "transition_ids"]


def append_transitions(
    client: "redis.Redis",
    instances: list[str],
    keyspace: Keyspace | None = None,
    reason: str = "test",
) -> list[str]:
    """Append one transition of each instance, in that order; return their fleet-wide ids."""
    keyspace = keyspace or Keyspace()
    now_ms = int(time.time() * 1000)
    pipeline = client.pipeline(transaction=False)
    for instance_id in instances:
        fields = {
            "instance_id": instance_id,
            "action": "trip",
            "at_ms": now_ms,
            "before": "closed",
            "after": "open",
            "epoch": now_ms,
            "cause": "failures",
            "reason": reason,
        }
        key = keyspace.events(keyspace.partition_of(instance_id))
        pipeline.xadd(key, fields, maxlen=5_000, approximate=True)  # type: ignore[arg-type]
        pipeline.pexpire(key, 7 * 86_400_000)
    entry_ids = pipeline.execute()[::2]
    return [
        f"{keyspace.partition_of(name):02d}-{entry_id.decode()}"
        for name, entry_id in zip(instances, entry_ids, strict=True)
    ]


def transition_ids(client: "redis.Redis", keyspace: Keyspace | None = None) -> set[str]:
    """Return the fleet-wide ids of everything that the streams hold."""
    keyspace = keyspace or Keyspace()
    ids = set()
    for partition in keyspace.all_partitions():
        entries: Any = client.xrange(keyspace.events(partition))
        ids |= {f"{partition:02d}-{entry_id.decode()}" for entry_id, _ in entries}
    return ids
