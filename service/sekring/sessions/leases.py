"""The use-cases of those who own sessions: renew, release, and say where a session stands.

A renewal that is answered is on Redis' replicas as well, where there are any: a failover must not
bring back a lease that ends sooner than its owner believes.
"""

import asyncio
import time
from collections.abc import Sequence

from sekring.errors import InvalidInput, StoreUnavailable
from sekring.sessions.gateways import Gateways, share_of
from sekring.sessions.partial import Confirm, answers, unconfirmed
from sekring.sessions.vacancies import Vacancies
from sekring.store.keys import Keyspace
from sekring.store.session_contract import (
    ReleaseLeasesRequest,
    RenewLeasesRequest,
    SetPhaseRequest,
)
from sekring.store.session_scripts import SessionScripts
from sekring.wire import (
    HeldLease,
    Phase,
    PhaseBody,
    ReleaseBody,
    RenewAnswer,
    RenewBody,
    RenewedLease,
)

__all__ = ["Leases"]

#: Characters of a phase's detail that are kept.
_DETAIL_MAX = 300


class Leases:
    """What a gateway does with leases that it has; an outdated token has no effect."""

    def __init__(
        self,
        scripts: SessionScripts,
        keyspace: Keyspace,
        gateways: Gateways,
        vacancies: Vacancies,
        *,
        ttl_ms: int,
        confirm: Confirm,
    ) -> None:
        """Use the store through `scripts`; leases last for `ttl_ms`."""
        self._scripts = scripts
        self._keyspace = keyspace
        self._gateways = gateways
        self._vacancies = vacancies
        self._ttl_ms = ttl_ms
        self._confirm = confirm

    async def renew(self, body: RenewBody) -> RenewAnswer:
        """Prolong a gateway's leases, and note that it lives.

        Leases whose Redis cannot be reached are left out of the answer.

        Raises:
            StoreUnavailable: that are all of them.
        """
        share, renewed = await asyncio.gather(self._share(body), self._renew(body))
        return RenewAnswer(leases=renewed, ttl_ms=self._ttl_ms, share=share)

    async def release(self, body: ReleaseBody) -> int:
        """Let others claim a gateway's sessions at once; return how many were its own.

        Raises:
            StoreUnavailable: Redis does not answer for some; saying it again does no harm.
        """
        results = await asyncio.gather(
            *(
                self._release_in(partition, body, numbers)
                for partition, numbers in self._by_partition(body.leases).items()
            ),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return sum(answers(results))

    async def set_phase(self, instance_id: str, body: PhaseBody) -> bool:
        """Note where a session stands; false, and nothing noted, if the caller does not own it.

        Raises:
            InvalidInput: the phase is not an owner's to say.
            StoreUnavailable: Redis does not answer.
        """
        if body.phase is Phase.VACANT:
            raise InvalidInput(
                "phase: an owner does not say vacant; who is done with a session releases it.",
                "phase",
            )
        request = SetPhaseRequest(
            instance_id=instance_id,
            gateway=body.gateway,
            token=body.token,
            phase=body.phase,
            device=body.device,
            detail=body.detail[:_DETAIL_MAX] if body.detail else None,
        )
        return await self._scripts.set_phase(request)

    async def _share(self, body: RenewBody) -> int:
        """Return a gateway's share; as many as it has where that is not known, so it keeps them."""
        held = len(body.leases)
        try:
            live, _ = await asyncio.gather(
                self._gateways.join(
                    body.gateway,
                    capacity=body.capacity,
                    held=held,
                    draining=body.draining,
                    devices=body.devices,
                ),
                self._vacancies.look(),
            )
        except StoreUnavailable:
            return 0 if body.draining else held
        share = share_of(body.gateway, live, self._vacancies.sessions)
        return share if body.draining or self._vacancies.complete else max(share, held)

    async def _renew(self, body: RenewBody) -> list[RenewedLease]:
        since_s = time.monotonic()
        parts = await asyncio.gather(
            *(
                self._renew_in(partition, body, numbers, since_s)
                for partition, numbers in self._by_partition(body.leases).items()
            ),
            return_exceptions=True,
        )
        places = {number: lease for part in answers(parts) for number, lease in part.items()}
        return [places[number] for number in sorted(places)]

    async def _renew_in(
        self, partition: int, body: RenewBody, numbers: Sequence[int], since_s: float
    ) -> dict[int, RenewedLease]:
        """Return what became of the leases of one partition, by their places in the request."""
        leases = [body.leases[number] for number in numbers]
        request = RenewLeasesRequest(
            gateway=body.gateway,
            ttl_ms=self._ttl_ms,
            instance_ids=[lease.instance_id for lease in leases],
            tokens=[lease.token for lease in leases],
        )
        renewed = await self._scripts.renew_leases(partition, request)
        if any(renewed.held) and not await self._confirm(partition, since_s):
            raise unconfirmed()
        return {
            number: RenewedLease(
                instance_id=lease.instance_id,
                token=lease.token,
                held=held,
                wanted=wanted,
                errands=errands,
            )
            for number, lease, held, wanted, errands in zip(
                numbers, leases, renewed.held, renewed.wanted, renewed.errands, strict=True
            )
        }

    async def _release_in(self, partition: int, body: ReleaseBody, numbers: Sequence[int]) -> int:
        request = ReleaseLeasesRequest(
            gateway=body.gateway,
            instance_ids=[body.leases[number].instance_id for number in numbers],
            tokens=[body.leases[number].token for number in numbers],
        )
        released = sum((await self._scripts.release_leases(partition, request)).released)
        if released:
            self._vacancies.nudge(partition, released)
        return released

    def _by_partition(self, leases: Sequence[HeldLease]) -> dict[int, list[int]]:
        """Return where in `leases` those of each partition are."""
        parts: dict[int, list[int]] = {}
        for number, lease in enumerate(leases):
            parts.setdefault(self._keyspace.partition_of(lease.instance_id), []).append(number)
        return parts
