"""Keeps the leases of a gateway: claims and gives back; each has a session under it.

What makes sure that a session is connected only once:

- a session is ended when its lease is over by our own clock, whatever the service says or does not;
- a lease is given back only when nothing of its session is left;
- a lease that the service does not know as ours any more ends its session at once
  (`sekring.gateway.renewals`).
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

import structlog

from sekring.client import AsyncClient
from sekring.errors import SekringError
from sekring.gateway.held import Held, KeptSession
from sekring.gateway.leases import Holding, Terms
from sekring.gateway.reach import Reach
from sekring.gateway.renewals import Renewals
from sekring.gateway.waiting import Member, rest
from sekring.wire import ClaimBody, Lease, Phase, ReleaseBody

__all__ = ["Keeper"]

#: How often more sessions are asked for, and how soon again if there were as many as asked for, in
#: seconds; both are spread by a quarter, so that gateways that start together do not ask together.
_CLAIM_EVERY_S: Final = 1.0
_CLAIM_ON_S: Final = 0.4
#: The same where sessions of a gateway that died are taken over: each of them is down.
_TAKE_OVER_ON_S: Final = 0.1
_SPREAD: Final = 0.25

#: Sessions that are claimed at once: each starts a process.
_BATCH: Final = 10

#: Sessions that are ended at a time when the gateway stops.
_ENDED_AT_ONCE: Final = 50

#: How long the service may take to answer a claim, and a release, in seconds.
_WITHIN_S: Final = 5.0
_RELEASE_S: Final = 2.0

#: How long a session takes to end, in seconds, until that is worth a line in the log.
_SLOW_S: Final = 10.0

_log = structlog.get_logger(__name__)


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
        self._member = Member(gateway, capacity, devices)
        self._begin = begin
        self._held: Held[S] = Held(lost)
        self._draining = asyncio.Event()
        self._reach = reach or Reach()
        self._renewals = Renewals(client, self._member, self._held, self._draining, self._reach)
        self._group: asyncio.TaskGroup | None = None

    @property
    def phases(self) -> Counter[Phase]:
        """How many sessions stand where, by what the service was told last."""
        return self._held.phases

    @property
    def draining(self) -> bool:
        """Whether it takes nothing more."""
        return self._draining.is_set()

    @property
    def is_turning(self) -> bool:
        """Whether the leases are looked after: what that waits for has a deadline, always."""
        return self._group is None or self._renewals.is_turning

    @property
    def sessions(self) -> list[S]:
        """The sessions that are kept now."""
        return self._held.sessions

    def session(self, instance_id: str) -> S | None:
        """Return the instance's session, if it is kept here and not being ended."""
        return self._held.session(instance_id)

    async def run(self) -> None:
        """Keep sessions until `drain` was called, and all of them have ended."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            claiming = group.create_task(self._claim_on())
            renewing = group.create_task(self._renewals.run())
            await self._draining.wait()
            told = group.create_task(self._renewals.say_draining())
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
        self._renewals.hurry()

    async def still_held(self, holding: Holding) -> bool:
        """Ask the service whether a lease is still ours; if not, its session is being ended.

        Raises:
            ServiceUnavailable: it is not known.
        """
        await self._renewals.renew([holding])
        return not holding.lost

    # ----------------------------------------------------------------------------- claiming

    async def _claim_on(self) -> None:
        await rest(self._draining, random.uniform(0, _CLAIM_EVERY_S))  # noqa: S311
        while not self._draining.is_set():
            pause_s = await self._claim()
            await rest(self._draining, _spread(pause_s))

    async def _claim(self) -> float:
        """Claim a few sessions; return how long to wait until the next time, in seconds."""
        limit = min(_BATCH, self._member.capacity - len(self._held))
        if limit <= 0:
            return _CLAIM_EVERY_S
        body = ClaimBody(
            gateway=self._member.gateway,
            capacity=self._member.capacity,
            held=len(self._held),
            limit=limit,
            devices=self._member.devices,
        )
        sent_s = time.monotonic()
        try:
            answer = await self._client.claim(body, within_s=_WITHIN_S)
        except SekringError as error:
            self._reach.missed("claim", error)
            return _CLAIM_EVERY_S
        self._reach.answered()
        terms = self._renewals.terms = Terms(answer.ttl_ms / 1000)
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
        if ours := self._held.holding(lease.instance_id):
            # Our own lease ran out and came back to us, before its session has ended.
            self._held.lose(ours)
            return False
        assert self._group is not None  # noqa: S101 - it is what runs this
        holding = Holding(lease.instance_id, lease.token, until_s)
        session = self._begin(holding)
        running = self._group.create_task(self._run(holding, session))
        self._held.add(holding, session, running)
        self._group.create_task(self._hold(holding, running))
        return True

    # ------------------------------------------------------------------------------ holding

    async def _run(self, holding: Holding, session: S) -> None:
        try:
            await session.run()
        except Exception:  # noqa: BLE001 - it must not end the others
            # Nothing is known of its connection, so it is not given back: the lease runs out.
            self._held.abandon(holding)
            _log.exception("session ended unexpectedly", instance_id=holding.instance_id)

    async def _hold(self, holding: Holding, running: asyncio.Task[None]) -> None:
        """See that the session ends with its lease, then give that back."""
        while not running.done() and not holding.ending:
            now_s = time.monotonic()
            if holding.is_over(now_s):
                self._held.expire(holding)
            else:
                await asyncio.wait([running], timeout=holding.until_s - now_s)
        while not running.done():
            await asyncio.wait([running], timeout=_SLOW_S)
            if not running.done():
                _log.warning("session has not ended yet", instance_id=holding.instance_id)
                running.cancel()
        self._held.remove(holding)
        try:
            if not holding.lost:
                await self._give_back([holding])
        finally:
            holding.ended.set()

    async def _end_all(self, why: str) -> None:
        gate = asyncio.Semaphore(_ENDED_AT_ONCE)

        async def end(holding: Holding) -> None:
            async with gate:
                self._held.end(holding, why)
                await holding.ended.wait()

        async with asyncio.TaskGroup() as group:
            for holding in self._held:
                group.create_task(end(holding))

    async def _give_back(self, holdings: Iterable[Holding]) -> None:
        body = ReleaseBody(gateway=self._member.gateway, leases=[one.named for one in holdings])
        try:
            await self._client.release(body, within_s=_RELEASE_S)
        except SekringError as error:
            _log.warning("lease not given back, it runs out", error=str(error))


def _spread(seconds: float) -> float:
    return seconds * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 - no cryptography
