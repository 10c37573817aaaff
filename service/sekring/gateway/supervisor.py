"""One gateway: everything of it is made, joined and ended here. The sessions are in its workers.

It ends in order at SIGTERM or SIGINT: it takes nothing more, ends its sessions and gives each back
as soon as nothing of it is left. At a second signal, or when that takes too long, it just ends: its
workers notice, and end their connections by themselves before their leases are over.
"""

import asyncio
import contextlib
import logging
import os
import random
import signal
from collections.abc import AsyncIterator, Mapping
from typing import Final, Literal, NoReturn, cast

import structlog
from msgspec import Struct

from sekring import __version__
from sekring.client import AsyncClient
from sekring.gateway.devices.choose import choose_store
from sekring.gateway.devices.memory import MemoryStore
from sekring.gateway.devices.store import DeviceStore
from sekring.gateway.errands import Errands
from sekring.gateway.introduction import introduce
from sekring.gateway.keeper import Keeper
from sekring.gateway.leases import Holding
from sekring.gateway.naming import own_name
from sekring.gateway.phases import Phases
from sekring.gateway.reach import Reach
from sekring.gateway.reports import Reports
from sekring.gateway.session import Session
from sekring.gateway.settings import GatewaySettings
from sekring.gateway.telemetry.calls import ServiceCalls
from sekring.gateway.telemetry.listener import exporting, probed
from sekring.gateway.telemetry.metrics import GatewayMetrics
from sekring.gateway.tools import Telemetry, Tools
from sekring.gateway.workers.choice import DriverChoice
from sekring.gateway.workers.connection import Workers
from sekring.gateway.workers.pool import WorkerPool
from sekring.gateway.workers.pooled import Deadlines
from sekring.telemetry.environment import Otel
from sekring.telemetry.meters import Meters
from sekring.telemetry.push import Push
from sekring.telemetry.tracing import Tracing
from sekring.wire import Phase

__all__ = ["supervise"]

#: How long it may take to end everything in order, in seconds.
_DRAIN_S: Final = 20.0

#: How long reports that are kept may still take at the end, in seconds.
_LAST_REPORTS_S: Final = 2.0

#: How often the success of a lasting connection is repeated, in seconds: the service forgets one
#: after a day without news.
_REPEAT_S: Final = 43_200.0

#: Pause between two renewals that doubt brings about, in seconds.
_DOUBT_S: Final = 1.0

#: Exit code after an end that was not in order.
_HARD: Final = 1

_log = structlog.get_logger("sekring")


async def supervise(settings: GatewaySettings) -> int:
    """Run a gateway until SIGTERM or SIGINT; return the exit code.

    Raises:
        StartError: a setting, the driver, the device store or the service's answer forbids it.
    """
    otel = Otel(os.environ, "sekring-gateway", __version__)
    tracing, meters = Tracing(otel), Meters()
    metrics, push = GatewayMetrics(meters), Push(otel, meters.gather)
    workers = WorkerPool(
        _driver(settings),
        per_worker=settings.sessions_per_worker,
        deadlines=Deadlines(
            dial_ms=settings.dial_timeout_ms, pairing_ms=settings.pairing_timeout_ms
        ),
        exited=metrics.worker_exited,
    )
    _raise_file_limit()
    async with _devices(settings) as devices, _clients(settings) as clients:
        supervisor = _Supervisor(settings, clients, workers, devices, Telemetry(tracing, metrics))
        metrics.watch(supervisor)
        async with exporting(otel, tracing, push), probed(settings, supervisor, meters.gather):
            await supervisor.introduce()
            return await supervisor.run()


class _Clients(Struct, frozen=True):
    """Renewals do not wait behind anything else: they have connections of their own."""

    leases: AsyncClient
    sessions: AsyncClient


class _Supervisor:
    def __init__(
        self,
        settings: GatewaySettings,
        clients: _Clients,
        workers: WorkerPool,
        devices: DeviceStore,
        telemetry: Telemetry,
    ) -> None:
        gateway = settings.gateway_name or own_name()
        self._settings = settings
        self._leases = clients.leases
        self._workers = workers
        self._reach = Reach()
        self.introduced = False
        self._reports = Reports(clients.sessions)
        self._phases = Phases(clients.sessions, gateway)
        identity = self._identity = devices.identity
        self._keeper = Keeper(
            clients.leases,
            gateway,
            settings.gateway_capacity,
            self._begin,
            devices=None if identity is None else str(identity),
            reach=self._reach,
            lost=telemetry.metrics.lease_lost,
        )
        self._errands = Errands(clients.sessions, gateway, self._keeper.session)
        self._tools = Tools(
            gateway=gateway,
            client=clients.sessions,
            reports=self._reports,
            phases=self._phases,
            workers=cast("Workers", workers),
            telemetry=telemetry,
            devices=devices,
            still_held=self._keeper.still_held,
            proxy=settings.proxy,
        )
        self._ending = False

    # -------------------------------------------------------------- what probes and metrics ask

    @property
    def is_turning(self) -> bool:
        """Whether the leases are looked after."""
        return self._keeper.is_turning

    @property
    def draining(self) -> bool:
        """Whether it was told to stop."""
        return self._ending

    @property
    def service_reachable(self) -> bool:
        """Whether the service has answered the last claim or renewal."""
        return self._reach.is_there

    @property
    def capacity(self) -> int:
        """How many sessions it owns at most."""
        return self._settings.gateway_capacity

    @property
    def phases(self) -> Mapping[Phase, int]:
        """How many sessions stand where."""
        return self._keeper.phases

    @property
    def workers(self) -> int:
        """How many worker processes there are."""
        return len(self._workers.pids)

    # ---------------------------------------------------------------------------- its life

    async def introduce(self) -> None:
        """Join the other gateways.

        Raises:
            StartError: the service's answer forbids it.
        """
        await introduce(self._leases, self._tools.gateway, self._settings, self._identity)
        self.introduced = True

    async def run(self) -> int:
        """Return when everything has ended in order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number.name)
        _log.info("gateway started", gateway=self._tools.gateway, build=self._workers.build)
        try:
            async with asyncio.TaskGroup() as group:
                beside = [
                    group.create_task(work)
                    for work in (
                        self._reports.run(),
                        self._phases.run(),
                        self._errands.run(),
                        self._settle_doubts(),
                        self._repeat_successes(),
                    )
                ]
                await self._keeper.run()
                for task in beside:
                    task.cancel()
        finally:
            await self._workers.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_REPORTS_S):
                await self._reports.flush()
        if self._reports.kept:
            _log.error("reports lost, the service does not take them", count=self._reports.kept)
        _log.info("gateway stopped")
        return 0

    def _begin(self, holding: Holding) -> Session:
        return Session(self._tools, holding)

    def _end(self, why: str) -> None:
        if self._ending:
            _end_hard(f"a second signal ({why})")
        self._ending = True
        _log.info("draining", signal=why, seconds=_DRAIN_S)
        self._keeper.drain()
        loop = asyncio.get_running_loop()
        loop.call_later(_DRAIN_S, _end_hard, f"not everything has ended within {_DRAIN_S:g} s")

    async def _settle_doubts(self) -> None:
        while True:
            await self._phases.doubt.wait()
            self._phases.doubt.clear()
            self._keeper.renew_soon()
            await asyncio.sleep(_DOUBT_S)

    async def _repeat_successes(self) -> None:
        while True:
            await asyncio.sleep(_REPEAT_S * random.uniform(0.8, 1.0))  # noqa: S311
            for session in self._keeper.sessions:
                await session.say_still_connected()


def _end_hard(why: str) -> NoReturn:
    """End at once; the workers see it by their pipes."""
    _log.error("stopped at once, workers end by themselves", why=why)
    logging.shutdown()
    os._exit(_HARD)


def _driver(settings: GatewaySettings) -> DriverChoice:
    return DriverChoice(
        name=cast("Literal['neonize', 'scripted']", settings.driver),
        scenario=_text(settings.scenario),
        log=_text(settings.scripted_log),
    )


def _text(path: object) -> str | None:
    return None if path is None else str(path)


@contextlib.asynccontextmanager
async def _devices(settings: GatewaySettings) -> AsyncIterator[DeviceStore]:
    store: DeviceStore = MemoryStore()
    if settings.driver != "scripted":
        store = choose_store(
            settings.device_store or "",
            settings.data_dir,
            sessions=settings.gateway_capacity,
        )
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _clients(settings: GatewaySettings) -> AsyncIterator[_Clients]:
    async with (
        AsyncClient(
            settings.url, settings.token, connections=8, traced_by=ServiceCalls()
        ) as leases,
        AsyncClient(settings.url, settings.token, traced_by=ServiceCalls()) as sessions,
    ):
        yield _Clients(leases, sessions)


def _raise_file_limit() -> None:
    """Make room: a worker takes three files of ours; the usual soft limit is for a thousand."""
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
