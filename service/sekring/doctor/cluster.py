"""Whether a cluster is whole, and what it does when it is not."""

from collections.abc import Sequence

from sekring.doctor.finding import Finding, failure, merged, ok, unchecked, warning
from sekring.doctor.nodes import Deployment, Holding, Node, ask
from sekring.doctor.rights import may
from sekring.store.connection import ConnectionLost

__all__ = ["examine_cluster"]

_SLOTS = 16_384

_COVERAGE = "cluster-require-full-coverage"


async def examine_cluster(deployment: Deployment, holdings: Sequence[Holding]) -> list[Finding]:
    """Examine a cluster; `holdings` are its primaries'."""
    found = [(str(node.address), _state(node)) for node in deployment.nodes]
    asked = [(str(node.address), await _coverage(deployment, node, key)) for node, key in holdings]
    return merged(found) + (merged(asked) if asked else [])


def _state(node: Node) -> Finding:
    fields = node.cluster
    covered = int(fields.get("cluster_slots_ok", 0))
    if fields.get("cluster_state") == "ok" and covered == _SLOTS:
        return ok("cluster", f"whole: {fields.get('cluster_size', '?')} primaries have all slots")
    lost = _SLOTS - covered
    return failure(
        "cluster",
        f"its state is {fields.get('cluster_state', 'unknown')}; {lost} of {_SLOTS} slots are not"
        " served",
        "`redis-cli --cluster check HOST:PORT` says which; bring their primaries back.",
    )


async def _coverage(deployment: Deployment, node: Node, key: str) -> Finding:
    question = ("CONFIG", "GET", _COVERAGE)
    try:
        (permitted,) = await may(deployment, node, key, [question])
        answer = None
        if permitted:
            (answer,) = await ask(deployment.connector, node.address, [question])
    except ConnectionLost:
        answer = None
    if not isinstance(answer, dict):
        return unchecked(
            "coverage",
            f"the user may not ask for {_COVERAGE}, and need not",
            f"As an administrator: {' '.join(question)}. With `no` a lost shard takes along its own"
            " partitions only.",
        )
    if b"no" in answer.values():
        return ok("coverage", f"{_COVERAGE} no: a lost shard takes along its own partitions only")
    return warning(
        "coverage",
        f"{_COVERAGE} yes: when one shard is lost, all partitions are",
        f"CONFIG SET {_COVERAGE} no on every node.",
    )
