"""The use-cases on gateways: who lives, and how many sessions each should own."""

from collections.abc import Sequence

from sekring.store.session_contract import (
    JoinGatewaysRequest,
    ListGatewaysRequest,
    LiveGateway,
)
from sekring.store.session_scripts import SessionScripts
from sekring.wire import GatewayItem

__all__ = ["Gateways", "share_of"]


class Gateways:
    """Gateways live for as long as a lease after each word of theirs."""

    def __init__(self, scripts: SessionScripts, ttl_ms: int) -> None:
        """Use the store through `scripts`; leases last for `ttl_ms`."""
        self._scripts = scripts
        self._ttl_ms = ttl_ms

    async def join(
        self,
        gateway: str,
        *,
        capacity: int,
        held: int,
        draining: bool = False,
        devices: str | None = None,
    ) -> Sequence[LiveGateway]:
        """Note that a gateway lives; return all that do.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        request = JoinGatewaysRequest(
            gateway=gateway,
            capacity=capacity,
            held=held,
            draining=draining,
            devices=devices,
            ttl_ms=self._ttl_ms,
        )
        return (await self._scripts.join_gateways(request)).gateways

    async def list_all(self) -> list[GatewayItem]:
        """Return all gateways that live, by their names.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        live = await self._scripts.list_gateways(ListGatewaysRequest(ttl_ms=self._ttl_ms))
        found = [
            GatewayItem(
                gateway=one.gateway,
                capacity=one.capacity,
                held=one.held,
                draining=one.draining,
                seen_ms_ago=max(0, live.now_ms - one.seen_ms),
                devices=one.devices,
            )
            for one in live.gateways
        ]
        return sorted(found, key=lambda item: item.gateway)


def share_of(gateway: str, live: Sequence[LiveGateway], sessions: int) -> int:
    """Return how many of all sessions a gateway should own: by its part of all capacity.

    Rounded up, so that none is left over; at most its capacity. A draining one should own none.
    """
    capacities = {one.gateway: one.capacity for one in live if not one.draining}
    capacity = capacities.get(gateway, 0)
    if capacity == 0:
        return 0
    return min(capacity, -(-sessions * capacity // sum(capacities.values())))
