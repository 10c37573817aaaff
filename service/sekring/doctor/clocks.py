"""Whether clocks agree: the servers' with each other, which leases rest on, and with this one."""

from collections.abc import Sequence

from sekring.doctor.finding import Finding, failure, ok, warning
from sekring.doctor.nodes import Node

__all__ = ["examine_clocks", "offset_ms", "spread_ms"]

#: How far clocks may be apart, in ms. A failover that steps time further ends leases early, or
#: keeps them from a live gateway for as long.
_APART_MS = 3_000

_ADVICE = "Have every machine's clock kept by NTP (chrony, systemd-timesyncd)."


def offset_ms(node: Node) -> float:
    """Return how far a server's clock is ahead of ours, give or take half a round trip."""
    return node.clock_ms - node.own_clock_ms


def spread_ms(nodes: Sequence[Node]) -> float:
    """Return how far the servers' clocks are apart at least, whatever the round trips hide.

    The servers are compared by way of our clock, each within half of its round trip.
    """
    lows = [offset_ms(node) - node.round_trip_ms / 2 for node in nodes]
    highs = [offset_ms(node) + node.round_trip_ms / 2 for node in nodes]
    return max(0.0, max(lows) - min(highs))


def examine_clocks(nodes: Sequence[Node]) -> list[Finding]:
    """Examine the clocks of the servers that answered."""
    if not nodes:
        return []
    findings = []
    if len(nodes) > 1 and (apart := spread_ms(nodes)) > _APART_MS:
        ahead, behind = max(nodes, key=offset_ms), min(nodes, key=offset_ms)
        findings.append(
            failure(
                "clock",
                f"the clock of {ahead.address} is {apart / 1000:.1f} s ahead of that of"
                f" {behind.address}, and leases bear {_APART_MS / 1000:.0f} s",
                _ADVICE,
            )
        )
    furthest = max(nodes, key=lambda node: abs(offset_ms(node)))
    off = abs(offset_ms(furthest)) - furthest.round_trip_ms / 2
    if off > _APART_MS:
        way = "ahead of" if offset_ms(furthest) > 0 else "behind"
        findings.append(
            warning(
                "clock",
                f"the clock of {furthest.address} is {off / 1000:.1f} s {way} this machine's: logs"
                " and the history of breakers do not fit together",
                _ADVICE,
            )
        )
    if not findings:
        seconds = _APART_MS // 1000
        findings.append(ok("clock", f"servers and this machine agree within {seconds} s"))
    return findings
