"""The metrics that are read when somebody asks: how the fleet stands, and how this replica does.

Reading them costs no call to Redis: the fleet's come from what the sweep and the census have read
last. They are left out while that is old, so that a replica that is cut off does not go on telling
what was.
"""

from collections.abc import Callable

from sekring.http.runtime import Runtime
from sekring.model import FleetTotals, GuardState, State, health_score
from sekring.sessions.census import Counts
from sekring.telemetry.meters import Meters, Reading

__all__ = ["add_gauges"]


def add_gauges(meters: Meters, runtime: Runtime) -> None:
    """Declare everything that `runtime` can be asked."""
    _add_fleet(meters, runtime)
    _add_sessions(meters, runtime)
    _add_replica(meters, runtime)


def _add_fleet(meters: Meters, runtime: Runtime) -> None:
    def of_sums(read: Callable[[FleetTotals], Reading]) -> Callable[[], Reading]:
        return lambda: None if (sums := runtime.sweep.sums) is None else read(sums)

    def of_guard(read: Callable[[GuardState], float]) -> Callable[[], Reading]:
        return lambda: None if (guard := runtime.guard.known) is None else read(guard)

    meters.gauge(
        "sekring.breakers",
        "Instances whose breaker is not closed, by its state, in the whole fleet.",
        of_sums(_breakers),
        ["state"],
    )
    meters.gauge(
        "sekring.instances",
        "Known instances in the whole fleet.",
        of_sums(lambda sums: sums.known),
    )
    meters.gauge(
        "sekring.instances.failing",
        "Instances in the whole fleet that are not connected and fail.",
        of_sums(lambda sums: sums.failing),
    )
    meters.gauge(
        "sekring.health_score",
        "Health of the whole fleet, 0 to 100.",
        of_sums(_score),
    )
    meters.gauge(
        "sekring.guard.open",
        "1 while the fleet guard paces permits, 0 while it is closed.",
        of_guard(lambda guard: guard.state is not State.CLOSED),
    )
    meters.gauge(
        "sekring.guard.rate",
        "Permits per second that the fleet guard gives; 0 while it is closed.",
        of_guard(lambda guard: guard.rate_per_s),
    )


def _add_sessions(meters: Meters, runtime: Runtime) -> None:
    def of_counts(read: Callable[[Counts], Reading]) -> Callable[[], Reading]:
        return lambda: None if (counts := runtime.census.counts) is None else read(counts)

    meters.gauge(
        "sekring.sessions.wanted",
        "Sessions in the whole fleet that are to be connected.",
        of_counts(lambda counts: counts.wanted),
    )
    meters.gauge(
        "sekring.leases",
        "Wanted sessions in the whole fleet: held by a gateway that lives, or unowned.",
        of_counts(
            lambda counts: {
                ("held",): counts.wanted - counts.unowned,
                ("unowned",): counts.unowned,
            }
        ),
        ["state"],
    )
    meters.gauge(
        "sekring.gateways",
        "Gateways in the whole fleet that live.",
        of_counts(lambda counts: counts.gateways),
    )


def _add_replica(meters: Meters, runtime: Runtime) -> None:
    meters.gauge(
        "sekring.degraded",
        "1 while this replica decides alone for a part of the instances, else 0.",
        lambda: runtime.degraded.partitions > 0,
    )
    meters.gauge(
        "sekring.partitions.unproven",
        "Partitions of which this replica's view is not proven to be current.",
        lambda: runtime.replica.unproven,
    )
    meters.gauge(
        "sekring.view.staleness",
        "Age of the oldest proof that this replica's view is current.",
        lambda: runtime.replica.staleness_s,
        unit="s",
    )
    meters.gauge(
        "sekring.replay.queue",
        "Reports, attempts and trips that wait for Redis.",
        lambda: runtime.replay.waiting,
    )
    meters.count(
        "sekring.replay.dropped",
        "What the full replay queue had to drop.",
        lambda: runtime.replay.dropped,
    )
    meters.gauge(
        "sekring.unconfirmed_changes",
        "Trips and resets that replicas of Redis are not known to have.",
        lambda: runtime.pledges.waiting,
    )
    meters.gauge(
        "sekring.redis.nodes.lost",
        "Nodes of Redis that this replica takes to be lost.",
        lambda: runtime.lost_nodes,
    )


def _breakers(sums: FleetTotals) -> Reading:
    return {
        ("open",): sums.open,
        ("half_open",): sums.half_open,
        ("forced_open",): sums.forced_open,
        ("disabled",): sums.disabled,
    }


def _score(sums: FleetTotals) -> int:
    return health_score(
        breakers_open=sums.open + sums.forced_open,
        retries=sums.retry_attempts,
        failures=sums.failures,
        instances=sums.known,
    )
