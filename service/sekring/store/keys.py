"""Every Redis key that Sekring uses: its name, its type and how it expires.

Instances are spread over partitions by a hash of their id, and all keys of an instance carry its
partition's hash tag, ``sekring:{07}:failures:6281…``. So one script may touch the instance and its
partition's indexes atomically, on a single server as on Redis Cluster, where a hash tag decides
the slot.
"""

import zlib
from collections.abc import Iterator

from msgspec import Struct

__all__ = ["FENCE_MS", "KEY_KINDS", "KeyKind", "Keyspace", "fence_beside"]

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS

#: How long a fence lives.
FENCE_MS = 60_000


class KeyKind(Struct, frozen=True):
    """What a kind of key is, and for how long it may live."""

    name: str
    type: str
    #: The longest time to live in ms; `None` never expires, and `why` says why.
    longest_ms: int | None
    why: str = ""


#: The keys of an instance, then those of its partition.
_INSTANCE_KINDS = (
    KeyKind("instance", "string", 370 * _DAY_MS),
    KeyKind("failures", "zset", 4 * _DAY_MS),
    KeyKind("seen", "zset", _DAY_MS + _HOUR_MS),
    KeyKind("probes", "zset", 2 * _HOUR_MS),
    KeyKind("proving", "zset", 4 * _DAY_MS),
    KeyKind("reporters", "zset", _DAY_MS + _HOUR_MS),
    KeyKind("history", "stream", 7 * _DAY_MS),
)
_PARTITION_KINDS = (
    KeyKind("policies", "hash", None, "configuration: lost policies would change what trips"),
    KeyKind("totals", "hash", 2 * _DAY_MS),
    KeyKind("index", "zset", 2 * _DAY_MS),
    KeyKind("due", "zset", 2 * _DAY_MS),
    KeyKind("events", "stream", 7 * _DAY_MS),
    KeyKind("view", "hash", 2 * _DAY_MS),
    KeyKind("records", "list", 2 * _HOUR_MS),
    KeyKind("minutes", "hash", 2 * _HOUR_MS),
)
#: Written to see whether what was written before it has reached the replicas.
_FENCE = KeyKind("fence", "string", FENCE_MS)
_GUARD = KeyKind("guard", "hash", 2 * _DAY_MS)
_BUILDS = KeyKind("builds", "hash", _DAY_MS)
#: Those of the webhooks, all in partition 0. What a state says is worth nothing once the streams
#: that it has places in are gone, and those live for 7 days after their last entry.
_WEBHOOK_KINDS = (
    KeyKind("webhooks", "hash", None, "configuration: a lost webhook would fall silent"),
    KeyKind("hookstate", "hash", 8 * _DAY_MS),
    KeyKind("hooklease", "string", _MINUTE_MS),
)
#: Those of the sessions, in every partition.
_SESSION_KINDS = (
    KeyKind("sessions", "hash", None, "configuration: a lost session would not be connected"),
    KeyKind("leases", "zset", None, "goes with sessions: each is in it, with the end of its lease"),
    KeyKind(
        "owners", "hash", None, "fencing tokens must go on growing for as long as a session is"
    ),
    KeyKind("claims", "hash", _MINUTE_MS),
)
#: In partition 0.
_GATEWAYS = KeyKind("gateways", "hash", _DAY_MS)
#: What the owner of a session is asked to do, and what came of it: as long as somebody waits, which
#: is two minutes at most (`SEKRING_QR_WAIT_MS`). A QR code is shown for five at most.
_ERRAND_KINDS = (
    KeyKind("errands", "list", 2 * _MINUTE_MS),
    KeyKind("waiting", "zset", 2 * _MINUTE_MS),
    KeyKind("taken", "string", _MINUTE_MS),
    KeyKind("answer", "string", 2 * _MINUTE_MS),
    KeyKind("qr", "string", 5 * _MINUTE_MS),
)
_KEYSPACE = KeyKind(
    "keyspace", "hash", None, "fixes the partition count: another one would lose every instance"
)

KEY_KINDS: tuple[KeyKind, ...] = (
    *_INSTANCE_KINDS,
    *_PARTITION_KINDS,
    _FENCE,
    _GUARD,
    _BUILDS,
    *_WEBHOOK_KINDS,
    *_SESSION_KINDS,
    _GATEWAYS,
    *_ERRAND_KINDS,
    _KEYSPACE,
)


def fence_beside(key: str) -> str:
    """Return the fence of the partition that holds `key`, which carries the partition's tag."""
    return key[: key.index("}") + 1] + ":fence"


class Keyspace(Struct, frozen=True):
    """Builds the names of all keys under one `prefix` with `partitions` partitions."""

    prefix: str = "sekring"
    partitions: int = 64

    def partition_of(self, instance_id: str) -> int:
        """Return the partition that holds the instance: CRC-32 of its id, modulo the count."""
        return zlib.crc32(instance_id.encode()) % self.partitions

    def instance(self, instance_id: str) -> list[str]:
        """Return KEYS of every script that works on one instance.

        Its record, and what the names of all its partition's keys begin with, which is never a key
        itself: the scripts make the others' names of it, and say why (`lua/shared/keys.lua`).
        """
        tag = self._tag(self.partition_of(instance_id))
        return [f"{tag}:instance:{instance_id}", tag]

    def whole(self, instance_id: str) -> list[str]:
        """Return all keys of an instance alone: its record, its failures, and the others."""
        tag = self._tag(self.partition_of(instance_id))
        return [f"{tag}:{kind.name}:{instance_id}" for kind in _INSTANCE_KINDS]

    def failures(self, instance_id: str) -> str:
        """Return the sorted set of an instance's failures inside the window."""
        return f"{self._tag(self.partition_of(instance_id))}:failures:{instance_id}"

    def history(self, instance_id: str) -> str:
        """Return the stream of an instance's own transitions."""
        return f"{self._tag(self.partition_of(instance_id))}:history:{instance_id}"

    def policies(self, partition: int) -> str:
        """Return the hash of a partition's policies."""
        return f"{self._tag(partition)}:policies"

    def totals(self, partition: int) -> str:
        """Return the hash of a partition's sums."""
        return f"{self._tag(partition)}:totals"

    def index(self, partition: int) -> str:
        """Return the sorted set of a partition's instances, whole and by state."""
        return f"{self._tag(partition)}:index"

    def due(self, partition: int) -> str:
        """Return the sorted set of instances by when time changes them next."""
        return f"{self._tag(partition)}:due"

    def events(self, partition: int) -> str:
        """Return the stream of a partition's transitions."""
        return f"{self._tag(partition)}:events"

    def view(self, partition: int) -> str:
        """Return the hash of what replicas see of a partition, and the name of its push channel."""
        return f"{self._tag(partition)}:view"

    def records(self, partition: int) -> str:
        """Return the list of a partition's failures of the last hour."""
        return f"{self._tag(partition)}:records"

    def minutes(self, partition: int) -> str:
        """Return the hash of how many failures a partition has counted in each minute."""
        return f"{self._tag(partition)}:minutes"

    def builds(self, partition: int) -> str:
        """Return the hash of refused gateway builds."""
        return f"{self._tag(partition)}:builds"

    def guard(self) -> list[str]:
        """Return KEYS 1-4 of every script that works on the fleet guard: all in partition 0.

        Its history has the name `*`, which no instance can have.
        """
        tag = self._tag(0)
        return [f"{tag}:guard", f"{tag}:policies", f"{tag}:events", self.guard_history()]

    def guard_history(self) -> str:
        """Return the stream of the fleet guard's own transitions."""
        return f"{self._tag(0)}:history:*"

    def webhooks(self) -> str:
        """Return the hash of webhooks as defined."""
        return f"{self._tag(0)}:webhooks"

    def hookstate(self, webhook_id: str) -> str:
        """Return the hash that says how far a webhook was delivered."""
        return f"{self._tag(0)}:hookstate:{webhook_id}"

    def hooklease(self, webhook_id: str) -> str:
        """Return the string that names the replica which delivers a webhook."""
        return f"{self._tag(0)}:hooklease:{webhook_id}"

    def sessions(self, partition: int) -> str:
        """Return the hash of sessions that are to be connected."""
        return f"{self._tag(partition)}:sessions"

    def leases(self, partition: int) -> str:
        """Return the sorted set of a partition's sessions by when their leases end."""
        return f"{self._tag(partition)}:leases"

    def owners(self, partition: int) -> str:
        """Return the hash of who owned a session last; field `*` is the last token of all."""
        return f"{self._tag(partition)}:owners"

    def claims(self, partition: int) -> str:
        """Return the hash of what the latest claims were answered."""
        return f"{self._tag(partition)}:claims"

    def gateways(self) -> str:
        """Return the hash of gateways."""
        return f"{self._tag(0)}:gateways"

    def errands(self, instance_id: str) -> str:
        """Return the list of what a session's owner is asked to do."""
        return f"{self._tag(self.partition_of(instance_id))}:errands:{instance_id}"

    def waiting(self, partition: int) -> str:
        """Return the sorted set of a partition's sessions with errands."""
        return f"{self._tag(partition)}:waiting"

    def taken(self, instance_id: str) -> str:
        """Return the string with the errands of a session that were handed out last."""
        return f"{self._tag(self.partition_of(instance_id))}:taken:{instance_id}"

    def answer(self, instance_id: str, errand_id: str) -> str:
        """Return the string with the answer to an errand."""
        return f"{self._tag(self.partition_of(instance_id))}:answer:{errand_id}"

    def qr(self, instance_id: str) -> str:
        """Return the string with a session's QR code."""
        return f"{self._tag(self.partition_of(instance_id))}:qr:{instance_id}"

    def keyspace(self) -> str:
        """Return the hash that fixes the partition count."""
        return f"{self.prefix}:keyspace"

    def all_partitions(self) -> Iterator[int]:
        """Yield every partition's number."""
        return iter(range(self.partitions))

    def _tag(self, partition: int) -> str:
        return f"{self.prefix}:{{{partition:02d}}}"
