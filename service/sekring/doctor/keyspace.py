"""The keyspace in Redis: its partition count, and where a key of each primary is."""

from sekring.doctor.finding import Finding, failure, ok
from sekring.doctor.nodes import Deployment, Holding
from sekring.settings import Settings
from sekring.store.connection import Address
from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink

__all__ = ["examine_keyspace", "holdings_of"]


async def examine_keyspace(link: RedisLink, settings: Settings) -> list[Finding]:
    """Compare the partition count with the one that the keyspace was made with; claims nothing.

    Raises:
        StoreUnavailable: Redis does not answer, or the user may not read it.
    """
    key = Keyspace(settings.key_prefix, settings.partitions).keyspace()
    raw = await link.read("HGET", key, "partitions")
    if not isinstance(raw, bytes):
        return [
            ok(
                "partitions",
                f"the keyspace {settings.key_prefix} is new; the first start fixes"
                f" {settings.partitions}",
            )
        ]
    found = int(raw)
    if found == settings.partitions:
        return [ok("partitions", f"{found}, as the keyspace {settings.key_prefix} was made with")]
    return [
        failure(
            "partitions",
            f"SEKRING_PARTITIONS is {settings.partitions}, and the keyspace {settings.key_prefix}"
            f" was made with {found}: the service refuses to start",
            f"Set SEKRING_PARTITIONS to {found}, or name another SEKRING_KEY_PREFIX.",
        )
    ]


async def holdings_of(link: RedisLink, deployment: Deployment, settings: Settings) -> list[Holding]:
    """Return for each primary a key that it holds: that of a partition's view.

    A primary that holds no partition has no part in the service, and none in the answer.

    Raises:
        StoreUnavailable: no node tells who holds what.
    """
    await link.ping()
    keyspace = Keyspace(settings.key_prefix, settings.partitions)
    by_address = {node.address: node for node in deployment.primaries}
    holdings: dict[Address, Holding] = {}
    for partition in keyspace.all_partitions():
        key = keyspace.view(partition)
        owner = link.topology.owner(link.topology.slot_of(key))
        if owner is not None and owner in by_address:
            holdings.setdefault(owner, Holding(by_address[owner], key))
    return list(holdings.values())
