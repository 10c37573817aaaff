"""Renews the leases of a gateway in time, and hands over what is above its share."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from sekring.client import AsyncClient
from sekring.errors import SekringError
from sekring.gateway.held import Held, KeptSession
from sekring.gateway.leases import Holding, Terms, excess
from sekring.gateway.reach import Reach
from sekring.gateway.waiting import Member, rest
from sekring.wire import HeldLease, RenewBody

__all__ = ["Renewals"]

#: Leases that are renewed by one request: the service takes a body of 1 MiB.
_RENEWED_AT_ONCE: Final = 5_000

#: How often to look whether there is anything to renew before the first claim, in seconds.
_IDLE_S: Final = 1.0

#: How long the renewals may stand still beyond their pause, in seconds.
_STUCK_S: Final = 30.0


S = TypeVar("S", bound=KeptSession)


class Renewals(Generic[S]):
    """One gateway's renewals, of all that it holds."""

    def __init__(
        self,
        client: AsyncClient,
        member: Member,
        held: Held[S],
        draining: asyncio.Event,
        reach: Reach,
    ) -> None:
        """Renew what is `held`, in the name of `member`; while `draining` nothing is taken."""
        self._client = client
        self._member = member
        self._held = held
        self._draining = draining
        self._reach = reach
        self._soon = asyncio.Event()
        self._turned_s = time.monotonic()
        #: How long leases last, as the service has said last; `None` before anything was claimed.
        self.terms: Terms | None = None

    @property
    def is_turning(self) -> bool:
        """Whether the leases are looked after: what that waits for has a deadline, always."""
        pause_s = _IDLE_S if self.terms is None else self.terms.renew_every_s
        return time.monotonic() - self._turned_s < pause_s + _STUCK_S

    def hurry(self) -> None:
        """Renew now: there is doubt about one of them."""
        self._soon.set()

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            sent_s = self._turned_s = time.monotonic()
            pause_s = _IDLE_S
            if self.terms is not None:
                try:
                    share = await self.renew(list(self._held))
                except SekringError as error:
                    self._reach.missed("renewal", error)
                    pause_s = self.terms.retry_s
                else:
                    self._reach.answered()
                    self._hand_over(share)
                    pause_s = sent_s + self.terms.renew_every_s - time.monotonic()
            await rest(self._soon, max(0.0, pause_s))
            self._soon.clear()

    async def say_draining(self) -> None:
        """Have the others' share grow at once, not when this gateway has been silent for long."""
        if self.terms is None:
            return
        try:
            await self.renew(list(self._held))
        except SekringError as error:
            self._reach.missed("renewal", error)

    async def renew(self, holdings: Sequence[Holding]) -> int:
        """Renew leases; return the gateway's share. Raises `SekringError`."""
        terms, share = self.terms, 0
        assert terms is not None  # noqa: S101 - nothing is held before
        by_name = {holding.named: holding for holding in holdings}
        for first in range(0, max(1, len(holdings)), _RENEWED_AT_ONCE):
            self._turned_s = time.monotonic()
            some = holdings[first : first + _RENEWED_AT_ONCE]
            body = RenewBody(
                gateway=self._member.gateway,
                capacity=self._member.capacity,
                draining=self._draining.is_set(),
                devices=self._member.devices,
                leases=[one.named for one in some],
            )
            sent_s = time.monotonic()
            answer = await self._client.renew(body, within_s=terms.within_s)
            terms, share = Terms(answer.ttl_ms / 1000), max(share, answer.share)
            # Those that are missing were neither prolonged nor lost.
            for renewed in answer.leases:
                if holding := by_name.get(HeldLease(renewed.instance_id, renewed.token)):
                    self._held.renewed(holding, renewed, terms.until_s(sent_s))
        return share

    def _hand_over(self, share: int) -> None:
        if self._draining.is_set():
            return
        if holding := excess(self._held, share):
            self._held.end(holding, "other gateways have room for it")
