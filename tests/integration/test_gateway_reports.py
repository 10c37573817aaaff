"""Outcomes that the service did not take: kept in order, with their age, up to a bound."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from sekring.client import AsyncClient
from sekring.gateway.reports import Reports
from sekring.taxonomy import Kind
from sekring.telemetry.environment import Otel
from sekring.telemetry.tracing import Tracing
from sekring.wire import OutcomeBody
from tests.servers import RedisServer
from tests.serving import ServiceProcess

CONFLICT = OutcomeBody(outcome="failure", kind=Kind.CONFLICT)
FAILURE = OutcomeBody(outcome="failure", kind=None, detail="no route to host")


class Scene:
    """A service that can go away, and reports that are sent to it."""

    def __init__(self, service: ServiceProcess, client: AsyncClient) -> None:
        self.service = service
        self.client = client
        self.reports = Reports(client, kept_max=5)

    def snapshot(self, instance: str) -> dict[str, object]:
        found: dict[str, object] = httpx.get(f"{self.service.url}/v1/instances/{instance}").json()
        return found

    def traces(self, instance: str) -> list[str]:
        """Return the trace of each transition in the audit trail."""
        url = f"{self.service.url}/v1/instances/{instance}/history"
        return [one["trace_id"] for one in httpx.get(url).json()["transitions"]]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    with (
        RedisServer(tmp_path / "redis", "--appendonly", "yes") as redis,
        ServiceProcess(redis.url) as service,
    ):
        async with AsyncClient(service.url) as client:
            yield Scene(service, client)


async def test_a_report_that_is_taken_is_answered(scene: Scene) -> None:
    verdict = await scene.reports.send("s", FAILURE)

    assert verdict
    assert verdict.counted
    assert scene.reports.kept == 0


async def test_what_was_kept_is_told_in_order_with_its_age_and_trace_and_counts_once(
    scene: Scene,
) -> None:
    scene.service.kill()
    with Tracing(Otel({}, "here", "0")).root("conflict") as span:
        assert await scene.reports.send("u", CONFLICT) is None
    assert await scene.reports.send("s", FAILURE) is None
    assert await scene.reports.send("t", FAILURE) is None
    assert await scene.reports.send("s", OutcomeBody(outcome="success")) is None
    assert scene.reports.kept == 4
    await scene.reports.flush()
    assert scene.reports.kept == 4
    await asyncio.sleep(1)
    scene.service.start()

    # Behind what is kept, though the service would take it.
    assert await scene.reports.send("s", FAILURE) is None
    await scene.reports.flush()

    assert (scene.reports.kept, scene.reports.dropped) == (0, 0)
    found = scene.snapshot("s")
    assert (found["failures"], found["connection"]) == (2, "")
    other = scene.snapshot("t")
    assert other["failures"] == 1
    assert isinstance(other["now_ms"], int)
    assert isinstance(other["last_failure_at_ms"], int)
    assert other["now_ms"] - other["last_failure_at_ms"] > 1_000
    assert scene.traces("u") == [span.trace.hex_id]


async def test_of_too_many_the_oldest_are_dropped_and_counted(scene: Scene) -> None:
    scene.service.kill()
    for number in range(8):
        await scene.reports.send(f"s{number}", FAILURE)

    assert (scene.reports.kept, scene.reports.dropped) == (5, 3)
    scene.service.start()
    await scene.reports.flush()

    assert [scene.snapshot(f"s{number}")["failures"] for number in range(8)] == [0] * 3 + [1] * 5


async def test_one_that_the_service_refuses_is_dropped_and_holds_up_nothing(scene: Scene) -> None:
    wrong = OutcomeBody(outcome="failure", code=401)
    assert await scene.reports.send("s", wrong) is None
    assert (scene.reports.kept, scene.reports.dropped) == (0, 1)

    scene.service.kill()
    await scene.reports.send("s", wrong)
    await scene.reports.send("s", FAILURE)
    scene.service.start()
    await scene.reports.flush()

    assert (scene.reports.kept, scene.reports.dropped) == (0, 2)
    assert scene.snapshot("s")["failures"] == 1


async def test_one_whose_sender_is_cancelled_is_told_all_the_same(scene: Scene) -> None:
    for _ in range(10):
        task = asyncio.create_task(scene.reports.send("s", FAILURE))
        await asyncio.sleep(0.002)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await scene.reports.flush()

    assert scene.snapshot("s")["failures"] == 10


async def test_they_are_sent_by_themselves_when_the_service_is_back(scene: Scene) -> None:
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(scene.reports.run())
        scene.service.kill()
        await scene.reports.send("s", FAILURE)
        await asyncio.sleep(2)
        assert scene.reports.kept == 1
        await asyncio.to_thread(scene.service.start)

        async with asyncio.timeout(20):
            while scene.reports.kept:  # noqa: ASYNC110 - it does not tell
                await asyncio.sleep(0.05)
        sending.cancel()

    assert scene.snapshot("s")["failures"] == 1
