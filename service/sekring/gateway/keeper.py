"""Keeps the leases of a gateway: claims, renews and gives back; each has a session under it.

What makes sure that a session is connected only once:

- a session is ended when its lease is over by our own clock, whatever the service says or does not;
- a lease is given back only when nothing of its session is left;
- a lease that the service does not know as ours any more ends its session at once.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, Protocol, TypeVar

import structlog

from sekring.client import AsyncClient
from sekring.errors import SekringError
from sekring.gateway.leases import Holding, Terms, excess
from sekring.gateway.reach import Reach
from sekring.wire import ClaimBody, HeldLease, Lease, Phase, ReleaseBody, RenewBody, RenewedLease

__all__ = ["Keeper", "KeptSession"]

#: How often more sessions are asked for, and how soon again if there were as many as asked for, in
#: seconds; both are spread by a quarter, so that gateways that start together do not ask together.
_CLAIM_EVERY_S: Final = 1.0
_CLAIM_ON_S: Final = 0.4
#: The same where sessions of a gateway that died are taken over: each of them is down.
_TAKE_OVER_ON_S: Final = 0.1
_SPREAD: Final = 0.25

#: Sessions that are claimed at once: each starts a process.
_BATCH: Final = 10

#: Leases that are renewed by one request: the service takes a body of 1 MiB.
_RENEWED_AT_ONCE: Final = 5_000

#: Sessions that are ended at a time when the gateway stops.
_ENDED_AT_ONCE: Final = 50

#: How long the service may take to answer a claim, and a release, in seconds.
_WITHIN_S: Final = 5.0
_RELEASE_S: Final = 2.0

#: How long a session takes to end, in seconds, until that is worth a line in the log.
_SLOW_S: Final = 10.0

#: How long the renewals may stand still beyond their pause, in seconds.
_STUCK_S: Final = 30.0

_log = structlog.get_logger(__name__)


class KeptSession(Protocol):
    """What a lease is held for."""

    async def run(self) -> None:
        """Keep the session connected until cancelled; then nothing of it is left."""
        ...

    def extend(self, until_s: float) -> None:
        """Take note that the lease lasts until then (CLOCK_MONOTONIC, s)."""
        ...


S = TypeVar("S", bound=KeptSession)


class Keeper(Generic[S]):
    """All leases of one gateway; `begin` makes the session of a new one."""

    def __init__(
        self,
        client: AsyncClient,
        gateway: str,
        capacity: int,
        begin: Callable[[Holding], S],
        *,
        devices: str | None = None,
        reach: Reach | None = None,
        lost: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Own up to `capacity` sessions under the name `gateway`; `devices` names its store.

        `lost` is told why a lease was lost: `expired`, `taken` or `abandoned`.
        """
        self._client = client
        self._devices = devices
        self._tell_lost = lost
        self._gateway = gateway
        self._capacity = capacity
        self._begin = begin
        self._held: dict[str, tuple[Holding, S, asyncio.Task[None]]] = {}
        self._terms: Terms | None = None
        self._draining = asyncio.Event()
        self._renew_soon = asyncio.Event()
        self._reach = reach or Reach()
        self._turned_s = time.monotonic()
        self._group: asyncio.TaskGroup | None = None

    @property
    def phases(self) -> Counter[Phase]:
        """How many sessions stand where, by what the service was told last."""
        told = (holding.told for holding, _, _ in self._held.values())
        return Counter(body.phase if body else Phase.WAITING for body in told)

    @property
    def draining(self) -> bool:
        """Whether it takes nothing more."""
        return self._draining.is_set()

    @property
    def is_turning(self) -> bool:
        """Whether the leases are looked after: what that waits for has a deadline, always."""
        if self._group is None:
            return True
        pause_s = _CLAIM_EVERY_S if self._terms is None else self._terms.renew_every_s
        return time.monotonic() - self._turned_s < pause_s + _STUCK_S

    @property
    def sessions(self) -> list[S]:
        """The sessions that are kept now."""
        return [session for _, session, _ in self._held.values()]

    def session(self, instance_id: str) -> S | None:
        """Return the instance's session, if it is kept here and not being ended."""
        entry = self._held.get(instance_id)
        return None if entry is None or entry[0].ending else entry[1]

    async def run(self) -> None:
        """Keep sessions until `drain` was called, and all of them have ended."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            claiming = group.create_task(self._claim_on())
            renewing = group.create_task(self._renew_on())
            await self._draining.wait()
            told = group.create_task(self._say_draining())
            await self._end_all("the gateway stops")
            # What a claim on its way still brings is given back.
            await claiming
            await told
            renewing.cancel()

    def drain(self) -> None:
        """Take nothing more, end everything, give everything back."""
        self._draining.set()

    def renew_soon(self) -> None:
        """Have the leases renewed now: there is doubt about one of them."""
        self._renew_soon.set()

    async def still_held(self, holding: Holding) -> bool:
        """Ask the service whether a lease is still ours; if not, its session is being ended.

        Raises:
            ServiceUnavailable: it is not known.
        """
        await self._renew([holding])
        return not holding.lost

    # ----------------------------------------------------------------------------- claiming

    async def _claim_on(self) -> None:
        await self._rest(self._draining, random.uniform(0, _CLAIM_EVERY_S))  # noqa: S311
        while not self._draining.is_set():
            pause_s = await self._claim()
            await self._rest(self._draining, _spread(pause_s))

    async def _claim(self) -> float:
        """Claim a few sessions; return how long to wait until the next time, in seconds."""
        limit = min(_BATCH, self._capacity - len(self._held))
        if limit <= 0:
            return _CLAIM_EVERY_S
        body = ClaimBody(
            gateway=self._gateway,
            capacity=self._capacity,
            held=len(self._held),
            limit=limit,
            devices=self._devices,
        )
        sent_s = time.monotonic()
        try:
            answer = await self._client.claim(body, within_s=_WITHIN_S)
        except SekringError as error:
            self._reach.missed("claim", error)
            return _CLAIM_EVERY_S
        self._reach.answered()
        terms = self._terms = Terms(answer.ttl_ms / 1000)
        if answer.leases:
            _log.info(
                "sessions claimed",
                count=len(answer.leases),
                held=len(self._held) + len(answer.leases),
                share=answer.share,
            )
        unused = [lease for lease in answer.leases if not self._take(lease, terms.until_s(sent_s))]
        if unused:
            await self._give_back(Holding(one.instance_id, one.token, 0.0) for one in unused)
        if unused or len(answer.leases) < limit:
            return _CLAIM_EVERY_S
        taken_over = any(lease.taken_from for lease in answer.leases)
        return _TAKE_OVER_ON_S if taken_over else _CLAIM_ON_S

    def _take(self, lease: Lease, until_s: float) -> bool:
        """Begin the session of a claimed lease; tell whether it is of use."""
        if self._draining.is_set() or time.monotonic() >= until_s:
            return False
        if lease.taken_from is not None:
            _log.info("session taken over", instance_id=lease.instance_id, was=lease.taken_from)
        if entry := self._held.get(lease.instance_id):
            # Our own lease ran out and came back to us, before its session has ended.
            self._lose(entry[0])
            return False
        assert self._group is not None  # noqa: S101 - it is what runs this
        holding = Holding(lease.instance_id, lease.token, until_s)
        session = self._begin(holding)
        running = self._group.create_task(self._run(holding, session))
        self._held[lease.instance_id] = holding, session, running
        self._group.create_task(self._hold(holding, running))
        return True

    # ------------------------------------------------------------------------------ holding

    async def _run(self, holding: Holding, session: S) -> None:
        try:
            await session.run()
        except Exception:  # noqa: BLE001 - it must not end the others
            # Nothing is known of its connection, so it is not given back: the lease runs out.
            holding.lost = True
            self._tell_lost("abandoned")
            _log.exception("session ended unexpectedly", instance_id=holding.instance_id)

    async def _hold(self, holding: Holding, running: asyncio.Task[None]) -> None:
        """See that the session ends with its lease, then give that back."""
        while not running.done() and not holding.ending:
            now_s = time.monotonic()
            if holding.is_over(now_s):
                self._tell_lost("expired")
                self._end(holding, "its lease is over")
            else:
                await asyncio.wait([running], timeout=holding.until_s - now_s)
        while not running.done():
            await asyncio.wait([running], timeout=_SLOW_S)
            if not running.done():
                _log.warning("session has not ended yet", instance_id=holding.instance_id)
                running.cancel()
        del self._held[holding.instance_id]
        try:
            if not holding.lost:
                await self._give_back([holding])
        finally:
            holding.ended.set()

    def _end(self, holding: Holding, why: str) -> None:
        if holding.ending:
            return
        holding.ending = why
        _log.info("session is ended", instance_id=holding.instance_id, why=why)
        if entry := self._held.get(holding.instance_id):
            entry[2].cancel()

    def _lose(self, holding: Holding) -> None:
        if not holding.lost:
            self._tell_lost("taken")
        holding.lost = True
        self._end(holding, "another gateway owns it")

    async def _end_all(self, why: str) -> None:
        gate = asyncio.Semaphore(_ENDED_AT_ONCE)

        async def end(holding: Holding) -> None:
            async with gate:
                self._end(holding, why)
                await holding.ended.wait()

        async with asyncio.TaskGroup() as group:
            for holding, _, _ in list(self._held.values()):
                group.create_task(end(holding))

    async def _give_back(self, holdings: Iterable[Holding]) -> None:
        body = ReleaseBody(gateway=self._gateway, leases=[one.named for one in holdings])
        try:
            await self._client.release(body, within_s=_RELEASE_S)
        except SekringError as error:
            _log.warning("lease not given back, it runs out", error=str(error))

    # ----------------------------------------------------------------------------- renewing

    async def _renew_on(self) -> None:
        while True:
            sent_s = self._turned_s = time.monotonic()
            pause_s = _CLAIM_EVERY_S
            if self._terms is not None:
                try:
                    share = await self._renew([holding for holding, _, _ in self._held.values()])
                except SekringError as error:
                    self._reach.missed("renewal", error)
                    pause_s = self._terms.retry_s
                else:
                    self._reach.answered()
                    self._hand_over(share)
                    pause_s = sent_s + self._terms.renew_every_s - time.monotonic()
            await self._rest(self._renew_soon, max(0.0, pause_s))
            self._renew_soon.clear()

    async def _say_draining(self) -> None:
        """Have the others' share grow at once, not when this gateway has been silent for long."""
        if self._terms is None:
            return
        try:
            await self._renew([holding for holding, _, _ in self._held.values()])
        except SekringError as error:
            self._reach.missed("renewal", error)

    async def _renew(self, holdings: Sequence[Holding]) -> int:
        """Renew leases; return the gateway's share. Raises `SekringError`."""
        terms, share = self._terms, 0
        assert terms is not None  # noqa: S101 - nothing is held before
        by_name = {holding.named: holding for holding in holdings}
        for first in range(0, max(1, len(holdings)), _RENEWED_AT_ONCE):
            self._turned_s = time.monotonic()
            some = holdings[first : first + _RENEWED_AT_ONCE]
            body = RenewBody(
                gateway=self._gateway,
                capacity=self._capacity,
                draining=self._draining.is_set(),
                devices=self._devices,
                leases=[one.named for one in some],
            )
            sent_s = time.monotonic()
            answer = await self._client.renew(body, within_s=terms.within_s)
            terms, share = Terms(answer.ttl_ms / 1000), max(share, answer.share)
            # Those that are missing were neither prolonged nor lost.
            for renewed in answer.leases:
                if holding := by_name.get(HeldLease(renewed.instance_id, renewed.token)):
                    self._renewed(holding, renewed, terms.until_s(sent_s))
        return share

    def _renewed(self, holding: Holding, renewed: RenewedLease, until_s: float) -> None:
        entry = self._held.get(holding.instance_id)
        if entry is None or entry[0] is not holding:
            return  # it has ended meanwhile
        if not renewed.held:
            self._lose(holding)
            return
        holding.renew(until_s)
        if not renewed.wanted:
            self._end(holding, "it is not to be connected any more")
        if not holding.ending:
            entry[1].extend(holding.until_s)

    def _hand_over(self, share: int) -> None:
        if self._draining.is_set():
            return
        if holding := excess((one for one, _, _ in self._held.values()), share):
            self._end(holding, "other gateways have room for it")

    # -------------------------------------------------------------------------------- waiting

    @staticmethod
    async def _rest(until: asyncio.Event, seconds: float) -> None:
        """Wait for `seconds`, or until the event is set."""
        try:
            async with asyncio.timeout(seconds):
                await until.wait()
        except TimeoutError:
            pass


def _spread(seconds: float) -> float:
    return seconds * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 - no cryptography
