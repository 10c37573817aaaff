"""Faults of our own, and of what a gateway depends on, stay with the session that they concern.

The gateway's parts run in this process, so that one of them can be made to fail; the service and
the workers are real.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from sekring.client import AsyncClient
from sekring.errors import DevicesUnavailable
from sekring.gateway.devices.memory import MemoryStore
from sekring.gateway.keeper import Keeper
from sekring.gateway.leases import Holding
from sekring.gateway.phases import Phases
from sekring.gateway.reports import Reports
from sekring.gateway.session import Session
from sekring.gateway.telemetry.metrics import GatewayMetrics
from sekring.gateway.tools import Telemetry, Tools
from sekring.gateway.workers.choice import DriverChoice
from sekring.gateway.workers.pool import WorkerPool
from sekring.telemetry.environment import Otel
from sekring.telemetry.meters import Meters
from sekring.telemetry.tracing import Tracing
from sekring.wire import OutcomeBody
from tests.gateways import sessions, wish
from tests.replica import until
from tests.servers import RedisServer
from tests.serving import PATIENT, ServiceProcess


class FaultyStore(MemoryStore):
    """Fails for some sessions, by their names."""

    async def device_of(self, instance_id: str) -> str | None:
        if instance_id == "fault":
            raise ZeroDivisionError
        if instance_id == "away":
            raise DevicesUnavailable("The device store does not answer.")
        return await super().device_of(instance_id)

    async def bind(self, instance_id: str, device: str) -> None:
        if instance_id == "late-fault":
            raise ZeroDivisionError
        await super().bind(instance_id, device)


class Scene:
    """A service, and a gateway in this process."""

    def __init__(self, url: str, client: AsyncClient) -> None:
        self.url = url
        workers = WorkerPool(DriverChoice(name="scripted"), per_worker=10)
        self.workers = workers
        self.phases = Phases(client, "a")
        self.keeper = Keeper(client, "a", 10, self.begin)
        self.keeping: asyncio.Task[None] | None = None
        self.tools = Tools(
            gateway="a",
            client=client,
            reports=Reports(client),
            phases=self.phases,
            workers=workers,
            devices=FaultyStore(),
            still_held=self.keeper.still_held,
            telemetry=Telemetry(Tracing(Otel({}, "a", "0")), GatewayMetrics(Meters())),
        )

    def begin(self, holding: Holding) -> Session:
        return Session(self.tools, holding)

    def snapshot(self, instance: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/v1/instances/{instance}").json()
        return found

    def failures(self, instance: str) -> int:
        count: int = self.snapshot(instance)["failures"]
        return count

    def session(self, instance: str) -> dict[str, Any]:
        return sessions(self.url)[instance]


@pytest.fixture
async def scene(redis_server: RedisServer) -> AsyncIterator[Scene]:
    with ServiceProcess(redis_server.url, lease_ttl_ms=6_000, **PATIENT) as service:
        async with AsyncClient(service.url) as client:
            scene = Scene(service.url, client)
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(scene.phases.run())
                reporting = group.create_task(scene.tools.reports.run())
                scene.keeping = group.create_task(scene.keeper.run())
                yield scene
                if not scene.keeping.done():
                    scene.keeper.drain()
                    await scene.keeping
                    assert {one["phase"] for one in sessions(service.url).values()} == {"vacant"}
                telling.cancel()
                reporting.cancel()
            await scene.workers.close()


async def test_a_fault_of_ours_is_that_sessions_failure_and_no_others(scene: Scene) -> None:
    wish(scene.url, ["fault", "late-fault", "well"])

    await until(lambda: scene.session("well")["phase"] == "connected")
    for name in ("fault", "late-fault"):
        await until(functools.partial(scene.failures, name))
        assert scene.snapshot(name)["last_failure_kind"] == "unknown"
        assert "error of the gateway itself" in scene.snapshot(name)["last_failure_detail"]
    assert scene.session("well")["phase"] == "connected"


async def test_a_device_store_that_is_away_is_no_failure_of_the_session(scene: Scene) -> None:
    """Nor is the session taken for unpaired: a QR code would replace its device."""
    wish(scene.url, ["away", "well"])

    await until(lambda: scene.session("well")["phase"] == "connected")
    await until(lambda: "device store" in (scene.session("away")["detail"] or ""))
    assert scene.snapshot("away")["failures"] == 0


async def test_the_success_of_a_lasting_connection_is_repeated(scene: Scene) -> None:
    wish(scene.url, ["well"])
    await until(lambda: scene.snapshot("well")["connection"] == "connected")
    await scene.tools.reports.send("well", OutcomeBody(outcome="disconnected"))
    assert scene.snapshot("well")["connection"] == ""

    for session in scene.keeper.sessions:
        await session.say_still_connected()

    assert scene.snapshot("well")["connection"] == "connected"


async def test_a_gateway_that_is_cancelled_leaves_no_connection(scene: Scene) -> None:
    """Without giving its leases back, which run out: it is not an end in order."""
    wish(scene.url, ["well"])
    await until(lambda: scene.session("well")["phase"] == "connected")
    assert scene.keeping

    scene.keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await scene.keeping

    # Told within moments, also where the answer to that was not waited for.
    await until(lambda: scene.snapshot("well")["connection"] == "")
    assert scene.session("well")["gateway"] == "a"
