"""Tells the service where each session stands: the latest only, and as well as it can."""

import asyncio
from typing import Final

import structlog

from sekring.client import AsyncClient
from sekring.errors import SekringError
from sekring.gateway.leases import Holding
from sekring.wire import Phase, PhaseBody

__all__ = ["Phases"]

#: Requests on their way at a time; all phases of one session take the same lane, in their order.
_LANES: Final = 4

#: Pause after the service did not take one, in seconds.
_TRY_AGAIN_S: Final = 1.0

#: Characters that the service takes of a detail.
_DETAIL_MAX: Final = 300

_log = structlog.get_logger(__name__)


class Phases:
    """What the service has yet to be told; one that changes meanwhile takes its place.

    Never more than one entry a session, and none of a session that is no longer held.
    """

    def __init__(self, client: AsyncClient, gateway: str) -> None:
        """Tell it in the name of `gateway`."""
        self._client = client
        self._gateway = gateway
        self._lanes = [_Lane() for _ in range(_LANES)]
        #: Set when the service did not know a lease as ours any more.
        self.doubt = asyncio.Event()

    def tell(
        self,
        holding: Holding,
        phase: Phase,
        *,
        device: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Have the service told of a session's phase, if it is another; returns at once."""
        body = PhaseBody(
            gateway=self._gateway,
            token=holding.token,
            phase=phase,
            device=device,
            detail=detail[:_DETAIL_MAX] if detail else None,
        )
        if body == holding.told:
            return
        holding.told = body
        self._lanes[hash(holding.instance_id) % _LANES].put(holding, body)

    async def run(self) -> None:
        """Tell it, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(self._serve(lane))

    async def _serve(self, lane: "_Lane") -> None:
        while True:
            holding, body = await lane.take()
            if holding.ending:
                continue
            try:
                held = await self._client.set_phase(holding.instance_id, body)
            except SekringError as error:
                _log.debug("phase not told", instance_id=holding.instance_id, error=str(error))
                lane.put_back(holding, body)
                await asyncio.sleep(_TRY_AGAIN_S)
                continue
            if not held:
                self.doubt.set()


class _Lane:
    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Holding, PhaseBody]] = {}
        self._news = asyncio.Event()

    def put(self, holding: Holding, body: PhaseBody) -> None:
        self._waiting[holding.instance_id] = holding, body
        self._news.set()

    def put_back(self, holding: Holding, body: PhaseBody) -> None:
        """Put it back, unless there is a newer one."""
        self._waiting.setdefault(holding.instance_id, (holding, body))
        self._news.set()

    async def take(self) -> tuple[Holding, PhaseBody]:
        await self._news.wait()
        taken = self._waiting.pop(next(iter(self._waiting)))
        if not self._waiting:
            self._news.clear()
        return taken
