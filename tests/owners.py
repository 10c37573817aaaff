"""Gateways that own sessions by lease and connect none: what they believe is written down."""

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from typing import Any

import httpx
from msgspec import Struct

__all__ = ["Belief", "Owners", "check_beliefs"]


class Belief(Struct):
    """That a gateway owns a session; times are this machine's monotonic clock, in seconds."""

    gateway: str
    token: int
    #: When the claim was answered.
    from_s: float
    #: Until when it may believe so at most.
    until_s: float
    taken_from: str | None


class Owners:
    """One gateway: claims while it may have more, renews at a third of a lease's time."""

    def __init__(self, name: str, urls: Sequence[str], beliefs: dict[str, list[Belief]]) -> None:
        """Ask any of `urls`, each time another; write into `beliefs`."""
        self.name = name
        self.held: dict[str, Belief] = {}
        self.share = 0
        self._urls = urls
        self._beliefs = beliefs
        self._renewed_s = 0.0

    async def run(self, http: httpx.AsyncClient, limit: int) -> None:
        """Own as much as it is given, until it is cancelled: then it is dead, and says nothing."""
        while True:
            if time.monotonic() - self._renewed_s > 0.5:
                await self.renew(http)
            if self.share > len(self.held):
                await self.claim(http, limit)
            await asyncio.sleep(random.uniform(0.02, 0.1))

    async def claim(self, http: httpx.AsyncClient, limit: int) -> None:
        """Claim up to `limit` sessions."""
        asked_s = time.monotonic()
        body = {"capacity": 100, "held": len(self.held), "limit": limit}
        answer = await self._post(http, "claim", body)
        self.share = answer["share"]
        assert len(self.held) + len(answer["leases"]) <= max(self.share, len(self.held))
        assert len(answer["leases"]) <= limit
        for lease in answer["leases"]:
            belief = Belief(
                gateway=self.name,
                token=lease["token"],
                from_s=time.monotonic(),
                until_s=asked_s + answer["ttl_ms"] / 1000,
                taken_from=lease["taken_from"],
            )
            self._beliefs.setdefault(lease["instance_id"], []).append(belief)
            self.held[lease["instance_id"]] = belief

    async def renew(self, http: httpx.AsyncClient, *, draining: bool = False) -> None:
        """Say what it owns, and forget what it does not any more."""
        asked_s = self._renewed_s = time.monotonic()
        body = {"capacity": 100, "draining": draining, "leases": self._leases()}
        answer = await self._post(http, "renew", body)
        self.share = answer["share"]
        for lease in answer["leases"]:
            if lease["held"]:
                self.held[lease["instance_id"]].until_s = asked_s + answer["ttl_ms"] / 1000
            else:
                self.held.pop(lease["instance_id"])

    async def leave(self, http: httpx.AsyncClient) -> None:
        """Give everything back, as at a SIGTERM."""
        await self.renew(http, draining=True)
        for belief in self.held.values():
            belief.until_s = min(belief.until_s, time.monotonic())
        answer = await self._post(http, "release", {"leases": self._leases()})
        assert answer["released"] == len(self.held)
        self.held.clear()

    def _leases(self) -> list[dict[str, Any]]:
        return [{"instance_id": name, "token": one.token} for name, one in self.held.items()]

    async def _post(self, http: httpx.AsyncClient, verb: str, body: dict[str, Any]) -> Any:
        url = f"{random.choice(self._urls)}/v1/leases/{verb}"
        answer = await http.post(url, json={"gateway": self.name, **body})
        assert answer.status_code == 200, answer.text
        return answer.json()


def check_beliefs(beliefs: dict[str, list[Belief]]) -> None:
    """No session had two owners at once, and each had a higher token than the one before it."""
    for name, ones in beliefs.items():
        ones.sort(key=lambda belief: belief.token)
        for before, after in itertools.pairwise(ones):
            assert before.token < after.token, name
            # It was claimed at some time before the answer came.
            assert before.until_s <= after.from_s, f"{name}: {before} and {after}"
