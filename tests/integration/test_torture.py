"""Four replicas on one Redis, cut connections, killed replicas, lost scripts: the count is exact.

64 clients report failures of 200 instances. Each report has an id of its own, and a client repeats
a report, at another replica, until it is answered: whatever breaks in between, it counts once.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec

from sekring.local.instance import Instance
from sekring.model import Snapshot, State
from sekring.policy import Policy
from sekring.store.contract import ReportRequest
from sekring.taxonomy import Effect
from sekring.wire import InstancePage
from tests.conftest import check_keys
from tests.httpwire import Connection, raw_request
from tests.recording import counted_ids
from tests.replicas import REPLICAS, Replicas
from tests.servers import RedisServer

CLIENTS = 64
INSTANCES = 200
DAY_MS = 86_400_000

#: How many different reports, in CI and with `--full`.
REPORTS = {False: 3_500, True: 100_000}

#: A client gives up on an answer after so many seconds, and repeats the report elsewhere.
PATIENCE_S = 10

#: Instances with just too few failures for a trip, just enough, and one more; the others share
#: what is left of the reports.
AT_THE_THRESHOLD = [14] * 20 + [15] * 20 + [16] * 20


@dataclass(frozen=True)
class Report:
    """One failure, as a gateway saw it."""

    instance_id: str
    id: str

    def as_request(self) -> bytes:
        body = {"outcome": "failure", "kind": "websocket", "id": self.id, "gateway": "gateway-1"}
        path = f"/v1/instances/{self.instance_id}/outcomes"
        return raw_request("POST", path, json.dumps(body).encode())


@dataclass
class Tally:
    """What the clients were told, and what befell them."""

    counted: Counter[str] = field(default_factory=Counter, repr=False)
    tripped: Counter[str] = field(default_factory=Counter, repr=False)
    whys: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    cut: int = 0
    broken: int = 0
    unavailable: int = 0
    other_statuses: Counter[int] = field(default_factory=Counter)


def chaos(redis: RedisServer, replicas: Replicas) -> list[tuple[float, Callable[[], object]]]:
    """Return what goes wrong, and at which share of the reports; the last replica is spared."""

    def forget_scripts() -> None:
        with redis.client() as client:
            client.function_flush()

    return [
        (0.2, replicas[0].kill),
        (0.35, forget_scripts),
        (0.5, lambda: replicas[0].start(wait=False)),
        (0.6, replicas[1].kill),  # for good: the others take over
        (0.75, forget_scripts),
    ]


class Client:
    """A gateway: reports until it has an answer, by whichever replica."""

    def __init__(self, seed: int, ports: Sequence[int], tally: Tally) -> None:
        self._random = random.Random(seed)
        self._ports = ports
        self._tally = tally
        self._connection: Connection | None = None

    async def report(self, report: Report) -> None:
        """Report once, or more often than that."""
        await self._until_answered(report)
        if self._random.random() < 0.1:  # a duplicate, for no reason at all
            await self._until_answered(report)

    def close(self) -> None:
        if self._connection:
            self._connection.cut()
            self._connection = None

    async def _until_answered(self, report: Report) -> None:
        request = report.as_request()
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    if self._random.random() < 0.1:
                        await self._cut_off(request)
                    if await self._ask(report, request):
                        return
            except (OSError, EOFError, TimeoutError):
                self._tally.broken += 1
                self.close()
                await asyncio.sleep(0.01)

    async def _cut_off(self, request: bytes) -> None:
        """Send a part of the request, or all of it, and never read the answer."""
        connection = self._connection or await self._connect()
        part = self._random.choice([len(request) // 2, len(request) - 1, len(request)])
        await connection.send(request[:part])
        if self._random.random() < 0.5:
            await asyncio.sleep(0.002)  # the replica gets as far as Redis
        self.close()
        self._tally.cut += 1

    async def _ask(self, report: Report, request: bytes) -> bool:
        connection = self._connection or await self._connect()
        answer = await connection.ask(request)
        if answer.status == 503:
            self._tally.unavailable += 1
            self.close()
            return False
        if answer.status != 200:
            self._tally.other_statuses[answer.status] += 1
            return True
        verdict = answer.json
        self._tally.answered += 1
        self._tally.whys[verdict["why"]] += 1
        self._tally.counted[report.id] += verdict["counted"]
        self._tally.tripped[report.instance_id] += verdict["tripped"]
        return True

    async def _connect(self) -> Connection:
        self._connection = await Connection.open(self._random.choice(self._ports))
        return self._connection


def reports_of(total: int, seed: int) -> list[Report]:
    """Return `total` different reports of 200 instances in any order."""
    others = INSTANCES - len(AT_THE_THRESHOLD)
    rest = total - sum(AT_THE_THRESHOLD)
    counts = AT_THE_THRESHOLD + [
        rest // others + (number < rest % others) for number in range(others)
    ]
    reports = [
        Report(f"62811{number:05}", f"{number}-{serial}")
        for number, count in enumerate(counts)
        for serial in range(count)
    ]
    random.Random(seed).shuffle(reports)
    return reports


async def send_all(
    reports: Sequence[Report],
    ports: Sequence[int],
    breaks: Sequence[tuple[float, Callable[[], object]]],
) -> Tally:
    """Let 64 clients send the reports, while things break."""
    tally = Tally()
    waiting = iter(reports)
    to_come = [(round(share * len(reports)), act) for share, act in breaks]
    sent = 0

    async def client(seed: int) -> None:
        nonlocal sent
        gateway = Client(seed, ports, tally)
        for report in waiting:
            sent += 1
            if to_come and sent >= to_come[0][0]:
                await asyncio.to_thread(to_come.pop(0)[1])
            await gateway.report(report)
        gateway.close()

    await asyncio.gather(*(client(seed) for seed in range(CLIENTS)))
    assert not to_come, "something was to break and did not"
    return tally


@dataclass
class Aftermath:
    """What is left when all is quiet again."""

    tally: Tally
    logs: str
    health: dict[str, int]
    instances: dict[str, Snapshot]
    ids: dict[str, set[str]]
    actions: dict[str, list[str]]


async def torture(tmp_path: Path, reports: Sequence[Report], policy: dict[str, int]) -> Aftermath:
    with RedisServer(tmp_path / "redis") as redis, Replicas([redis.url] * REPLICAS) as replicas:
        replicas[-1].set_policy(**policy)
        tally = await send_all(reports, replicas.ports, chaos(redis, replicas))
        print(f"\n{len(reports)} reports: {tally}")  # noqa: T201 - shown with -s
        check_keys(redis)
        return seen_from_outside(redis, replicas, tally)


def seen_from_outside(redis: RedisServer, replicas: Replicas, tally: Tally) -> Aftermath:
    spared = replicas[-1]
    with httpx.Client(base_url=spared.url) as http, redis.client() as client:
        instances = {instance.instance_id: instance for instance in listed(http)}
        return Aftermath(
            tally=tally,
            logs="\n".join(replica.log_text() for replica in replicas),
            health=spared.health(),
            instances=instances,
            ids={name: counted_ids(client, name) for name in instances},
            actions={name: spared.history(name) for name in instances},
        )


def listed(http: httpx.Client) -> Iterator[Snapshot]:
    """Yield every known instance, page by page."""
    cursor: dict[str, str] = {}
    while True:
        answer = http.get("/v1/instances", params={"limit": "500", **cursor}).raise_for_status()
        page = msgspec.json.decode(answer.content, type=InstancePage)
        yield from page.instances
        if page.cursor is None:
            return
        cursor = {"cursor": page.cursor}


def ids_by_instance(reports: Sequence[Report]) -> dict[str, set[str]]:
    ids: dict[str, set[str]] = {}
    for report in reports:
        ids.setdefault(report.instance_id, set()).add(report.id)
    return ids


def by_the_reference(reports: Sequence[Report]) -> Mapping[str, Instance]:
    """Return what each instance comes to if every report arrives once."""
    policy = Policy(window_ms=DAY_MS, cooldown_ms=DAY_MS)
    instances: dict[str, Instance] = {}
    for clock, report in enumerate(reports, start=1_700_000_000_000):
        name = report.instance_id
        instance = instances.setdefault(name, Instance(name, policy))
        request = ReportRequest(
            instance_id=name,
            id=report.id,
            outcome="failure",
            effect=Effect.COUNT,
            kind="websocket",
            gateway="gateway-1",
            random=0.5,
        )
        instance.report(request, clock)
    return instances


def nothing_broke_that_should_not(aftermath: Aftermath) -> None:
    assert aftermath.tally.other_statuses == {}
    assert "Traceback" not in aftermath.logs, aftermath.logs
    assert aftermath.tally.cut > 0
    assert aftermath.tally.broken > 0
    assert max(aftermath.tally.counted.values()) == 1, "a report was counted twice"


async def test_below_the_threshold_every_report_counts_once(tmp_path: Path, *, full: bool) -> None:
    reports = reports_of(REPORTS[full], seed=1)
    expected = ids_by_instance(reports)

    # So high that nothing trips, so long that nothing leaves the window meanwhile.
    aftermath = await torture(tmp_path, reports, {"failure_threshold": 10_000, "window_ms": DAY_MS})

    assert aftermath.ids == expected
    assert {name: instance.failures for name, instance in aftermath.instances.items()} == {
        name: len(ids) for name, ids in expected.items()
    }
    assert {instance.state for instance in aftermath.instances.values()} == {State.CLOSED}
    assert aftermath.health["total_recent_failures"] == len(reports)
    assert aftermath.health["total_instances"] == INSTANCES
    assert aftermath.health["circuit_breaker_activations"] == 0
    nothing_broke_that_should_not(aftermath)


async def test_at_the_threshold_every_breaker_trips_once(tmp_path: Path, *, full: bool) -> None:
    reports = reports_of(REPORTS[full], seed=2)
    expected = by_the_reference(reports)

    # The default threshold; nothing leaves the window and nothing recovers meanwhile.
    aftermath = await torture(tmp_path, reports, {"window_ms": DAY_MS, "cooldown_ms": DAY_MS})

    assert {
        name: (instance.state, instance.failures) for name, instance in aftermath.instances.items()
    } == {name: (model.state, len(model.window)) for name, model in expected.items()}
    assert aftermath.actions == {
        name: [change.action for change in model.history] for name, model in expected.items()
    }
    trips = sum(model.state is State.OPEN for model in expected.values())
    assert trips == INSTANCES - AT_THE_THRESHOLD.count(14)
    assert aftermath.health["circuit_breaker_activations"] == trips
    assert aftermath.health["total_instances"] == INSTANCES
    assert aftermath.health["total_recent_failures"] == sum(
        len(model.window) for model in expected.values()
    )
    assert max(aftermath.tally.tripped.values()) == 1, "a trip was announced twice"
    nothing_broke_that_should_not(aftermath)
