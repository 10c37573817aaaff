"""Whether primaries take writes, and have the replicas that the service waits for."""

import asyncio
import time
from collections.abc import Sequence

from sekring.doctor.finding import Finding, failure, merged, ok, warning
from sekring.doctor.nodes import Deployment, Holding, Node, ask
from sekring.settings import Settings
from sekring.store.connection import ConnectionLost
from sekring.store.holds import GUARD
from sekring.store.redis import RedisLink

__all__ = ["examine_replication", "examine_writes"]

#: How long a replica may take to have a write, in ms.
_CONFIRM_MS = 1_000


async def examine_writes(deployment: Deployment, holdings: Sequence[Holding]) -> list[Finding]:
    """Have each primary run a script that may write and does not: the service's own guard."""
    found = []
    for node, key in holdings:
        try:
            (answer,) = await ask(deployment.connector, node.address, [("EVAL", GUARD, 1, key)])
        except ConnectionLost as error:
            answer = error
        found.append((str(node.address), _write(answer)))
    return merged(found)


async def examine_replication(
    deployment: Deployment, settings: Settings, link: RedisLink, holdings: Sequence[Holding]
) -> list[Finding]:
    """Examine the replicas of each primary; one fence, which expires, is written to each."""
    wanted = settings.replicas_to_confirm
    if not wanted:
        return [_unwanted(deployment)]
    await link.ping()  # by then the primaries are known
    confirmed = await asyncio.gather(
        *(link.confirm(key, wanted, _CONFIRM_MS, time.monotonic()) for _, key in holdings)
    )
    return merged(
        (str(node.address), _replicas(node, wanted, confirmed=one))
        for (node, _), one in zip(holdings, confirmed, strict=True)
    )


def _unwanted(deployment: Deployment) -> Finding:
    if any(node.replicas for node in deployment.primaries):
        return warning(
            "replicas",
            "there are some, and nobody waits until they have a trip or a lease",
            "Leave SEKRING_CONFIRM_REPLICAS unset (1 with Sentinel and Cluster), or set it to 1: a"
            " failover may else undo what was answered.",
        )
    return ok("replicas", "none, and none is waited for (SEKRING_CONFIRM_REPLICAS)")


def _replicas(node: Node, wanted: int, *, confirmed: bool) -> Finding:
    count = node.replicas_in_step
    if count < wanted:
        return failure(
            "replicas",
            f"{count} in step, and SEKRING_CONFIRM_REPLICAS asks for {wanted}: no session is handed"
            " to a gateway",
            "Give every primary a replica that is in step, or lower SEKRING_CONFIRM_REPLICAS.",
        )
    if not confirmed:
        return failure(
            "replicas",
            f"{count} in step by its own word, but none confirmed a write within {_CONFIRM_MS} ms",
            "See their logs, and the network between them and the primary.",
        )
    if count == wanted:
        return warning(
            "replicas",
            f"{count} in step, as many as SEKRING_CONFIRM_REPLICAS waits for",
            "Give every primary one more: without this one no session is handed to a gateway.",
        )
    return ok("replicas", f"{count} in step, and a write was confirmed by {wanted}")


def _write(answer: object) -> Finding:
    if not isinstance(answer, Exception):
        return ok("writes", "taken")
    words = str(answer).rstrip(".")
    lowered = words.lower()
    if "permission" in lowered:
        return failure(
            "writes",
            f"the user may not run scripts: {words}",
            "Give it the rights in deploy/redis/users.acl; +eval and ~PREFIX:* are what is asked"
            " for here.",
        )
    if "noreplicas" in lowered or "good replicas" in lowered:
        return failure(
            "writes",
            "refused: fewer replicas are in step than min-replicas-to-write asks for",
            "Bring the replicas back, or lower min-replicas-to-write.",
        )
    if "read only" in lowered or "readonly" in lowered:
        return failure("writes", "refused: it is a replica", "Name the primary or its sentinels.")
    if "cluster is down" in lowered or "clusterdown" in lowered:
        return failure(
            "writes",
            f"refused: {words}",
            "Some slots have no primary, see below. With cluster-require-full-coverage no, the"
            " others would be served.",
        )
    return failure("writes", f"refused: {words}", "The server's log says more.")
