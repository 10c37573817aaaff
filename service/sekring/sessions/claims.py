"""Claiming sessions: for gateways that own fewer than their share, where nobody owns them.

A claim that is answered is on Redis' replicas as well, where there are any: a failover that undid
it would let another gateway claim the session, and connect it a second time.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence

import structlog

from sekring.errors import StoreUnavailable
from sekring.model import Origin
from sekring.sessions.gateways import Gateways, share_of
from sekring.sessions.partial import Confirm, answers, unconfirmed
from sekring.sessions.vacancies import Vacancies
from sekring.store.session_contract import (
    ClaimedLease,
    ClaimLeasesRequest,
    ReleaseLeasesRequest,
)
from sekring.store.session_scripts import SessionScripts
from sekring.wire import ClaimAnswer, ClaimBody, Lease

__all__ = ["Claims"]

_log = structlog.get_logger(__name__)


class Claims:
    """Leases last for `ttl_ms` from when a gateway asked for them."""

    def __init__(
        self,
        scripts: SessionScripts,
        gateways: Gateways,
        vacancies: Vacancies,
        *,
        ttl_ms: int,
        confirm: Confirm,
        changed: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Use the store through `scripts`; `changed` is told of partitions with transitions."""
        self._scripts = scripts
        self._gateways = gateways
        self._vacancies = vacancies
        self._ttl_ms = ttl_ms
        self._confirm = confirm
        self._changed = changed

    async def claim(self, body: ClaimBody, origin: Origin) -> ClaimAnswer:
        """Give a gateway sessions that nobody owns: up to its limit, and up to its share.

        Raises:
            StoreUnavailable: Redis does not answer, or its replicas do not confirm.
        """
        live, _ = await asyncio.gather(
            self._gateways.join(
                body.gateway, capacity=body.capacity, held=body.held, devices=body.devices
            ),
            self._vacancies.look(),
        )
        sessions = self._vacancies.sessions
        share = share_of(body.gateway, live, sessions)
        claimed = await self._claim(body.gateway, min(body.limit, share - body.held), origin)
        return ClaimAnswer(
            leases=[
                Lease(
                    instance_id=one.instance_id,
                    token=one.token,
                    taken_from=one.taken_from,
                    errands=one.errands,
                )
                for one in claimed
            ],
            ttl_ms=self._ttl_ms,
            share=share,
            sessions=sessions,
            gateways=len(live),
        )

    async def _claim(self, gateway: str, room: int, origin: Origin) -> list[ClaimedLease]:
        """Claim up to `room` sessions, wherever there are any."""
        since_s = time.monotonic()
        vacant = self._vacancies.vacant
        partitions = random.sample(sorted(vacant), len(vacant))
        results: list[Sequence[ClaimedLease] | BaseException] = []
        left = room
        while partitions and left > 0:
            # As many partitions at once as it takes if nobody else claims there meanwhile.
            limits: dict[int, int] = {}
            while partitions and (more := left - sum(limits.values())) > 0:
                partition = partitions.pop()
                limits[partition] = min(more, vacant[partition])
            found = await asyncio.gather(
                *(
                    self._claim_in(partition, gateway, limit, origin, since_s)
                    for partition, limit in limits.items()
                ),
                return_exceptions=True,
            )
            results += found
            left -= sum(len(part) for part in found if not isinstance(part, BaseException))
        return [lease for part in answers(results) for lease in part]

    async def _claim_in(
        self, partition: int, gateway: str, limit: int, origin: Origin, since_s: float
    ) -> Sequence[ClaimedLease]:
        request = ClaimLeasesRequest(
            gateway=gateway, limit=limit, ttl_ms=self._ttl_ms, origin=origin
        )
        leases = (await self._scripts.claim_leases(partition, request)).leases
        self._vacancies.took(partition, len(leases), all_of_them=len(leases) < limit)
        if leases and not await self._confirm(partition, since_s):
            await self._give_back(partition, gateway, leases)
            raise unconfirmed()
        for lease in leases:
            if lease.taken_from and lease.taken_from != gateway:
                self._changed(partition)
                _log.warning(
                    "a session's lease has run out: taken over",
                    instance_id=lease.instance_id,
                    gateway=gateway,
                    taken_from=lease.taken_from,
                )
        return leases

    async def _give_back(
        self, partition: int, gateway: str, leases: Sequence[ClaimedLease]
    ) -> None:
        """Let go of what a failover could undo; if that fails, it runs out."""
        _log.warning("claim not confirmed by redis' replicas", partition=partition, gateway=gateway)
        request = ReleaseLeasesRequest(
            gateway=gateway,
            instance_ids=[lease.instance_id for lease in leases],
            tokens=[lease.token for lease in leases],
        )
        try:
            await self._scripts.release_leases(partition, request)
        except StoreUnavailable as error:
            _log.warning("an unconfirmed claim was not given back", error=str(error))
