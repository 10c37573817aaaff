"""Webhooks as Redis has them: their definitions, and how far they were delivered."""

import asyncio
from collections.abc import Mapping
from typing import cast

import msgspec
from msgspec import Struct, structs

from sekring.cursor import Place
from sekring.model import Origin, State
from sekring.store.contract import (
    AdvanceWebhookRequest,
    ClaimWebhookRequest,
    CreateWebhookRequest,
    DeleteWebhookRequest,
    DisableWebhookRequest,
    ReleaseWebhookRequest,
)
from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts

__all__ = ["Claim", "Hooks", "Mark", "Progress", "Webhook"]

#: Names of the counters in a webhook's state; every other number there names a partition.
_COUNTERS = ("delivered", "lost", "attempts", "last_success_ms", "last_error_ms", "next_try_ms")


class Webhook(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A webhook as it was defined. The secret is kept readable: signing takes it."""

    id: str
    url: str
    secret: str
    states: tuple[State, ...] = ()
    instances: tuple[str, ...] = ()
    description: str = ""
    created_ms: int
    created_by: str = ""
    #: Why it is delivered no more; empty as long as it is.
    disabled: str = ""

    def __repr__(self) -> str:
        """Name it; its address and its secret are in no log."""
        return f"Webhook({self.id})"


class Mark(Struct, frozen=True):
    """Up to where a partition was delivered, and how many entries its stream had by then."""

    place: Place = Place(0, 0)
    ordinal: int = 0

    @classmethod
    def parse(cls, text: str) -> "Mark":
        """Read what `str` wrote."""
        place, _, ordinal = text.partition(" ")
        return cls(Place.parse(place), int(ordinal))

    def __str__(self) -> str:
        return f"{self.place} {self.ordinal}"


class Progress(Struct, frozen=True, kw_only=True):
    """How the delivery of a webhook goes."""

    #: By partition; one that is not named was not begun.
    marks: dict[int, Mark] = {}
    delivered: int = 0
    lost: int = 0
    #: Attempts that failed since the last success.
    attempts: int = 0
    last_success_ms: int | None = None
    last_error: str | None = None
    last_error_ms: int | None = None
    next_try_ms: int | None = None
    #: The replica that delivers it, if one does.
    replica: str | None = None


class Claim(Struct, frozen=True):
    """A lease on a webhook's delivery."""

    token: int
    webhook: Webhook
    progress: Progress


class Hooks:
    """Typed reads and changes of webhooks; all their keys are in partition 0."""

    def __init__(self, scripts: Scripts, link: RedisLink, keyspace: Keyspace) -> None:
        """Change through `scripts`, read through `link`."""
        self._scripts = scripts
        self._link = link
        self._keyspace = keyspace

    async def all(self) -> dict[str, Webhook]:
        """Return every webhook by its id."""
        found = _pairs(await self._link.read("HGETALL", self._keyspace.webhooks()))
        return {name: _decoded(definition) for name, definition in found.items()}

    async def one(self, webhook_id: str) -> Webhook | None:
        """Return a webhook, if there is one of that id."""
        found = await self._link.read("HGET", self._keyspace.webhooks(), webhook_id)
        return _decoded(cast("bytes", found)) if found else None

    async def progress(self, webhook_id: str) -> Progress:
        """Return how a webhook's delivery goes."""
        state, lease = await asyncio.gather(
            self._link.read("HGETALL", self._keyspace.hookstate(webhook_id)),
            self._link.read("GET", self._keyspace.hooklease(webhook_id)),
        )
        progress = _progress({name: value.decode() for name, value in _pairs(state).items()})
        if not lease:
            return progress
        return structs.replace(progress, replica=cast("bytes", lease).decode().partition("/")[0])

    async def create(
        self, webhook: Webhook, marks: Mapping[int, Mark], limit: int, origin: Origin
    ) -> bool:
        """Store a webhook; false if there are `limit` already."""
        request = CreateWebhookRequest(
            id=webhook.id,
            definition=_encoded(webhook),
            limit=limit,
            places=_places(marks),
            origin=origin,
        )
        return await self._scripts.create_webhook(request)

    async def delete(self, webhook_id: str, origin: Origin) -> bool:
        """Remove a webhook; whether there was one."""
        return await self._scripts.delete_webhook(
            DeleteWebhookRequest(id=webhook_id, origin=origin)
        )

    async def disable(self, claim: Claim, why: str) -> bool:
        """Note why a webhook is delivered no more; false if the claim is outdated."""
        request = DisableWebhookRequest(
            id=claim.webhook.id,
            token=claim.token,
            definition=_encoded(structs.replace(claim.webhook, disabled=why)),
            origin=Origin(reason=why, source="delivery"),
        )
        return await self._scripts.disable_webhook(request)

    async def claim(self, webhook_id: str, owner: str, lease_ms: int) -> Claim | None:
        """Take or renew the lease; `None` if another holds it, or there is no such webhook."""
        claimed = await self._scripts.claim_webhook(
            ClaimWebhookRequest(id=webhook_id, owner=owner, lease_ms=lease_ms)
        )
        if claimed.token == 0 or claimed.definition is None:
            return None
        webhook = _decoded(claimed.definition.encode())
        return Claim(claimed.token, webhook, _progress(claimed.state))

    async def release(self, claim: Claim, owner: str) -> None:
        """Give the lease up."""
        await self._scripts.release_webhook(
            claim.webhook.id, ReleaseWebhookRequest(owner=owner, token=claim.token)
        )

    async def advance(
        self,
        claim: Claim,
        progress: Progress,
        *,
        succeeded: bool,
        error: str | None,
        retry_in_ms: int | None,
    ) -> bool:
        """Write down what was done; `progress.marks` has what changed. False: it is outdated."""
        return await self._scripts.advance_webhook(
            AdvanceWebhookRequest(
                id=claim.webhook.id,
                token=claim.token,
                places=_places(progress.marks),
                delivered=progress.delivered,
                lost=progress.lost,
                attempts=progress.attempts,
                succeeded=succeeded,
                error=error,
                retry_in_ms=retry_in_ms,
            )
        )


def _encoded(webhook: Webhook) -> str:
    return msgspec.json.encode(webhook).decode()


def _decoded(definition: bytes) -> Webhook:
    return msgspec.json.decode(definition, type=Webhook)


def _places(marks: Mapping[int, Mark]) -> dict[str, str]:
    return {str(partition): str(mark) for partition, mark in marks.items()}


def _progress(state: Mapping[str, str]) -> Progress:
    marks = {int(name): Mark.parse(value) for name, value in state.items() if name.isdigit()}
    counters = {name: int(state[name]) for name in _COUNTERS if name in state}
    progress = Progress(marks=marks, last_error=state.get("last_error"))
    return structs.replace(progress, **counters)


def _pairs(answer: object) -> dict[str, bytes]:
    if not isinstance(answer, dict):  # RESP2
        flat = list(cast("list[bytes]", answer))
        answer = dict(zip(flat[::2], flat[1::2], strict=True))
    return {cast("bytes", name).decode(): cast("bytes", value) for name, value in answer.items()}
