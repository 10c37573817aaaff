"""What each server of Redis has to be: its version, what it evicts, keeps and has room for."""

from collections.abc import Callable

from sekring.doctor.finding import Finding, failure, merged, ok, warning
from sekring.doctor.nodes import Deployment, Node

__all__ = ["examine_servers"]

_MIB = 1024 * 1024

#: What scripts, shard channels and `redis.acl_check_cmd` need.
_REDIS_LEAST = (7, 0)
_VALKEY_LEAST = (8, 0)

#: How much of its memory a server may have used without a warning, in percent.
_FULL_PERCENT = 75


def examine_servers(deployment: Deployment) -> list[Finding]:
    """Examine every server; what is the same on all is one finding."""
    judges: tuple[Callable[[Node], Finding], ...] = (_version, _eviction, _persistence, _memory)
    return [
        finding
        for judge in judges
        for finding in merged((str(node.address), judge(node)) for node in deployment.nodes)
    ]


def _version(node: Node) -> Finding:
    valkey = node.info.get("valkey_version")
    name, said, least = (
        ("Valkey", valkey, _VALKEY_LEAST)
        if valkey
        else ("Redis", node.info.get("redis_version", "0"), _REDIS_LEAST)
    )
    numbers = tuple(int(part) for part in said.split(".")[:2] if part.isdecimal())
    if numbers >= least:
        return ok("version", f"{name} {said}")
    return failure(
        "version", f"{name} {said}", "Sekring needs Redis 7.0 or Valkey 8.0, or a later one."
    )


def _eviction(node: Node) -> Finding:
    policy = node.info.get("maxmemory_policy", "unknown")
    if policy == "noeviction":
        return ok("eviction", policy)
    return failure(
        "eviction",
        f"maxmemory-policy is {policy}: an evicted breaker is a closed one",
        "CONFIG SET maxmemory-policy noeviction, and the same in the server's configuration.",
    )


def _persistence(node: Node) -> Finding:
    info = node.info
    if info.get("loading") == "1":
        return warning("persistence", "it is loading its data", "Wait until it has.")
    if info.get("aof_enabled") == "1":
        if info.get("aof_last_write_status") == "ok":
            return ok("persistence", "append-only file")
        return failure(
            "persistence",
            "the last write to the append-only file failed, so it takes no writes",
            "See whether its disk is full or broken; its log has the error.",
        )
    if info.get("rdb_last_bgsave_status") != "ok":
        return failure(
            "persistence",
            "no append-only file, and the last snapshot failed",
            "See its log; then turn the append-only file on: CONFIG SET appendonly yes.",
        )
    advice = "CONFIG SET appendonly yes, and the same in the server's configuration."
    what = "no append-only file: after a restart breakers, leases and policies are as they were"
    what += " at the last snapshot, if there is any"
    if node.replicas_in_step or not node.is_primary:
        return warning("persistence", what, advice)
    return failure("persistence", what, advice)


def _memory(node: Node) -> Finding:
    info = node.info
    used = int(info.get("used_memory", 0))
    limit = int(info.get("maxmemory", 0))
    room = limit or int(info.get("total_system_memory", 0))
    # Rounded, so that nodes that are alike share a row.
    percent = round(100 * used / room) if room else 0
    what = f"{percent} % of maxmemory" if limit else f"{percent} % of the machine's, no maxmemory"
    if percent < _FULL_PERCENT:
        return ok("memory", what)
    return warning(
        "memory",
        f"{what} ({used // _MIB} of {room // _MIB} MiB)",
        "When it is full every write is refused and replicas decide alone: raise maxmemory.",
    )
