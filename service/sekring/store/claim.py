"""The claim on a keyspace: its partition count is fixed at first and verified ever after."""

import secrets

from sekring.errors import KeyspaceMismatch
from sekring.store.contract import ClaimRequest, KeyspaceClaim
from sekring.store.scripts import Scripts

__all__ = ["claim_keyspace"]


async def claim_keyspace(scripts: Scripts, partitions: int) -> KeyspaceClaim:
    """Fix the partition count in Redis at the first use; later, verify it.

    Raises:
        KeyspaceMismatch: the keyspace was made with another count.
        StoreUnavailable: Redis does not answer.
    """
    claim = await scripts.claim_keyspace(
        ClaimRequest(partitions=partitions, secret=secrets.token_urlsafe(32))
    )
    if claim.partitions != partitions:
        raise KeyspaceMismatch(
            f"This Redis holds a keyspace of {claim.partitions} partitions, and SEKRING_PARTITIONS "
            f"is {partitions}: set it to {claim.partitions}, or use another SEKRING_KEY_PREFIX."
        )
    return claim
