"""Reading changes no byte in Redis."""

import asyncio
from typing import Final

import msgspec
import redis

from sekring.model import State
from sekring.policy import PolicyPatch
from sekring.store.contract import (
    DisableRequest,
    MinutesRequest,
    OverrideRequest,
    PermitRequest,
    PolicyRequest,
    ReportRequest,
    SnapshotRequest,
    TotalsRequest,
    TripRequest,
)
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads, StoredPolicy
from sekring.store.scripts import Scripts
from sekring.taxonomy import Effect
from tests.servers import RedisServer

NOW: Final = 1_700_000_000_000
#: What a test reads is due long ago and yet not written down.
LATER: Final = NOW + 3_600_000
DAY_LATER: Final = NOW + 86_400_000

CLOSED, OPEN, HALF_OPEN, FORCED, DISABLED, CONNECTED, BANNED, UNKNOWN = (
    f"62812000{number}" for number in range(8)
)


async def fill(scripts: Scripts) -> None:
    """Make instances in every state."""
    policy = PolicyPatch(failure_threshold=3, success_clears=True)
    stored = msgspec.json.encode(StoredPolicy(1, policy)).decode()
    for partition in range(Keyspace().partitions):
        request = PolicyRequest(policy=stored, version=1, first=partition == 0, now_ms=NOW)
        await scripts.set_policy(partition, request)
    probing = msgspec.json.encode(StoredPolicy(1, PolicyPatch(probes=2))).decode()
    await scripts.set_override(
        OverrideRequest(instance_id=HALF_OPEN, policy=probing, version=0, now_ms=NOW)
    )
    for name, times in ((CLOSED, 2), (OPEN, 5), (HALF_OPEN, 3)):
        for number in range(times):
            await scripts.report(failure(name, f"r{number}"))
    for now in (NOW, NOW + 600_001, NOW + 600_002):
        await scripts.permit(PermitRequest(instance_id=HALF_OPEN, now_ms=now))
    await scripts.report(
        ReportRequest(instance_id=HALF_OPEN, id="s", outcome="success", now_ms=NOW + 600_003)
    )
    await scripts.trip(TripRequest(instance_id=FORCED, for_ms=60_000, now_ms=NOW))
    await scripts.disable(DisableRequest(instance_id=DISABLED, for_ms=60_000, now_ms=NOW))
    await scripts.report(failure(CONNECTED, "r"))
    await scripts.report(
        ReportRequest(instance_id=CONNECTED, id="s", outcome="success", now_ms=NOW)
    )
    await scripts.report(failure(BANNED, "b", ban_ms=30 * 86_400_000))


def failure(instance_id: str, report_id: str, ban_ms: int | None = None) -> ReportRequest:
    return ReportRequest(
        instance_id=instance_id,
        id=report_id,
        outcome="failure",
        effect=Effect.BAN if ban_ms else Effect.COUNT,
        kind="temporary_ban" if ban_ms else "timeout",
        ban_ms=ban_ms,
        now_ms=NOW,
    )


async def read_everything(scripts: Scripts, reads: Reads, now_ms: int) -> int:
    """Read whatever can be read, at once; return how many reads that were."""
    names = (CLOSED, OPEN, HALF_OPEN, FORCED, DISABLED, CONNECTED, BANNED, UNKNOWN)
    labels = ["all", *(state for state in State if state is not State.CLOSED)]
    partitions = range(Keyspace().partitions)
    done = await asyncio.gather(
        *(
            scripts.snapshot(SnapshotRequest(instance_id=name, with_failures=listed, now_ms=now_ms))
            for name in names
            for listed in (True, False)
        ),
        *(reads.history(name, 10) for name in names),
        *(reads.override(name) for name in names),
        *(
            scripts.totals(partition, TotalsRequest(limit=100, now_ms=now_ms))
            for partition in partitions
        ),
        *(reads.page(partition, label, None, 10) for partition in partitions for label in labels),
        *(reads.count(partition, "all", "62") for partition in partitions),
        *(reads.overrides(partition, names) for partition in partitions),
        *(scripts.minutes(partition, MinutesRequest(now_ms=now_ms)) for partition in partitions),
        reads.fleet_policy(),
        reads.refused_builds(),
        reads.ping(),
    )
    return len(done)


def contents(client: redis.Redis) -> dict[bytes, tuple[bytes | None, int]]:
    """Return every key's bytes, and when it expires (Unix time in ms; -1: never)."""
    return {
        key: (client.dump(key), client.pexpiretime(key)) for key in client.scan_iter(count=1_000)
    }


async def test_a_thousand_reads_change_no_byte(
    scripts: Scripts, reads: Reads, redis_server: RedisServer
) -> None:
    await fill(scripts)
    with redis_server.client() as client:
        before = contents(client)
        client.config_resetstat()

        done = 0
        for now_ms in (NOW, LATER, DAY_LATER):
            done += await read_everything(scripts, reads, now_ms)
        assert done >= 1_000

        ran = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
        assert contents(client) == before
        # Not even a write that happens to change nothing.
        writes = {name for name, command in client.command().items() if "write" in command["flags"]}
    assert {"fcall", "get", "zrange"} <= ran
    assert ran & writes == set()


async def test_what_is_due_is_read_as_if_it_had_been_written_down(scripts: Scripts) -> None:
    await fill(scripts)

    async def state(name: str, now_ms: int) -> State:
        reading = await scripts.snapshot(SnapshotRequest(instance_id=name, now_ms=now_ms))
        return reading.snapshot.state

    assert await state(OPEN, NOW) is State.OPEN
    for name in (OPEN, FORCED, DISABLED):
        assert await state(name, LATER) is State.CLOSED
    assert await state(HALF_OPEN, NOW + 600_003) is State.HALF_OPEN
    assert await state(BANNED, LATER) is State.OPEN
