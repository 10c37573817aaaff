"""The delivery of webhooks: each is delivered by the one replica that holds the lease on it."""

import asyncio
import random
import secrets
import socket

import structlog

from sekring.errors import SekringError, StoreUnavailable
from sekring.feed import Feed
from sekring.store.hooks import Claim, Hooks
from sekring.telemetry.tally import Tally
from sekring.webhooks.courier import Courier, Pace
from sekring.webhooks.post import Poster

__all__ = ["Delivery"]

#: How often each replica looks for webhooks that nobody delivers, in seconds.
_LOOK_S = 0.5

_log = structlog.get_logger(__name__)


class Delivery:
    """A background task of each replica."""

    def __init__(
        self, hooks: Hooks, feed: Feed, poster: Poster, pace: Pace, *, port: int, attempts: Tally
    ) -> None:
        """Prepare; `run` does it. `port` tells this replica from others of this machine.

        `attempts` counts how attempts end.
        """
        self._attempts = attempts
        self._hooks = hooks
        self._feed = feed
        self._poster = poster
        self._pace = pace
        # The random part: names of machines repeat, those of leases' owners must not.
        self._owner = f"{socket.gethostname()}:{port}/{secrets.token_hex(8)}"
        self._couriers: dict[str, tuple[Courier, asyncio.Task[None]]] = {}
        self._stopping = False

    async def run(self) -> None:
        """Take over what nobody delivers, until `stop`; an unreachable Redis is tried again."""
        while not self._stopping:
            try:
                await self._look()
            except StoreUnavailable:
                pass  # what reads or writes for a caller says so
            except Exception:  # noqa: BLE001 - nobody else would see it
                _log.exception("webhooks could not be looked through")
            await asyncio.sleep(_LOOK_S * random.uniform(0.8, 1.2))  # noqa: S311

    async def stop(self) -> None:
        """Hand everything over: another replica takes it at its next look."""
        self._stopping = True
        for courier, _ in self._couriers.values():
            courier.stop()
        tasks = [task for _, task in self._couriers.values()]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        for webhook in (await self._hooks.all()).values():
            if webhook.disabled or webhook.id in self._couriers:
                continue
            claim = await self._hooks.claim(webhook.id, self._owner, self._pace.lease_ms)
            if claim is None:
                continue
            if self._stopping:
                await self._release(claim)
                return
            courier = Courier(
                claim,
                self._owner,
                hooks=self._hooks,
                feed=self._feed,
                poster=self._poster,
                pace=self._pace,
                attempts=self._attempts,
            )
            task = asyncio.create_task(self._deliver(courier, claim))
            self._couriers[webhook.id] = (courier, task)
            _log.info("webhook is delivered here", webhook=webhook.id)

    async def _deliver(self, courier: Courier, claim: Claim) -> None:
        try:
            await courier.run()
        except Exception:  # noqa: BLE001 - nobody else would see it
            _log.exception("webhook delivery failed", webhook=claim.webhook.id)
        finally:
            self._couriers.pop(claim.webhook.id, None)
            await self._release(claim)

    async def _release(self, claim: Claim) -> None:
        try:
            await self._hooks.release(claim, self._owner)
        except SekringError:
            return  # the lease ends by itself
