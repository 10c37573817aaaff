"""The use-cases on webhooks: list them with how they fare, create, delete."""

import asyncio
import secrets
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx

from sekring.errors import InvalidInput, NotFound, Refused
from sekring.model import Origin
from sekring.store.hooks import Hooks, Mark, Progress, Webhook
from sekring.store.streams import Page, Streams
from sekring.webhooks.signing import key_of, new_secret
from sekring.wire import Delivery, WebhookBody, WebhookItem

__all__ = ["WEBHOOKS_MAX", "Webhooks"]

#: Webhooks at most: each costs every replica a look at its lease, every second or so.
WEBHOOKS_MAX = 32


class Webhooks:
    """Webhooks are defined in Redis; `sekring.webhooks.delivery` delivers them."""

    def __init__(self, hooks: Hooks, streams: Streams) -> None:
        """Use the store through `hooks` and `streams`."""
        self._hooks = hooks
        self._streams = streams

    async def list_all(self) -> list[WebhookItem]:
        """Return every webhook, the oldest first, and how its delivery goes."""
        webhooks, ends = await asyncio.gather(self._hooks.all(), self._streams.ends())
        found = sorted(webhooks.values(), key=lambda webhook: (webhook.created_ms, webhook.id))
        progress = await asyncio.gather(*(self._hooks.progress(webhook.id) for webhook in found))
        return [_item(*pair, ends) for pair in zip(found, progress, strict=True)]

    async def get(self, webhook_id: str) -> Webhook:
        """Return one.

        Raises:
            NotFound: there is none of that id.
        """
        webhook = await self._hooks.one(webhook_id)
        if webhook is None:
            raise _not_found(webhook_id)
        return webhook

    async def create(self, body: WebhookBody, origin: Origin) -> tuple[WebhookItem, str]:
        """Store a webhook that gets what happens from now on; return it and its secret.

        Raises:
            InvalidInput: the URL or the secret cannot be used.
            Refused: there are as many webhooks as there may be.
        """
        _check_url(body.url)
        if body.secret is not None:
            _check_secret(body.secret)
        ends = await self._streams.ends()
        webhook = Webhook(
            id=f"wh_{secrets.token_hex(6)}",
            url=body.url,
            secret=body.secret or new_secret(),
            states=tuple(body.states),
            instances=tuple(body.instances),
            description=body.description,
            created_ms=ends[0].now_ms,
            created_by=origin.actor,
        )
        marks = {page.partition: Mark(page.last, page.added) for page in ends if page.added}
        if not await self._hooks.create(webhook, marks, WEBHOOKS_MAX, origin):
            raise Refused(
                f"There are {WEBHOOKS_MAX} webhooks, as many as there may be: delete one first.",
                "too_many_webhooks",
            )
        return _item(webhook, Progress(marks=marks), ends), webhook.secret

    async def delete(self, webhook_id: str, origin: Origin) -> None:
        """Remove a webhook: nothing more is sent to it.

        Raises:
            NotFound: there is none of that id.
        """
        if not await self._hooks.delete(webhook_id, origin):
            raise _not_found(webhook_id)


def _item(webhook: Webhook, progress: Progress, ends: Sequence[Page]) -> WebhookItem:
    return WebhookItem(
        id=webhook.id,
        url=webhook.url,
        description=webhook.description,
        states=list(webhook.states),
        instances=list(webhook.instances),
        created_at_ms=webhook.created_ms,
        created_by=webhook.created_by,
        disabled=webhook.disabled or None,
        delivery=Delivery(
            replica=progress.replica,
            waiting=0 if webhook.disabled else sum(_waiting(progress, page) for page in ends),
            delivered=progress.delivered,
            lost=progress.lost,
            attempts=progress.attempts,
            last_success_at_ms=progress.last_success_ms,
            last_error=progress.last_error,
            last_error_at_ms=progress.last_error_ms,
            next_try_at_ms=progress.next_try_ms,
        ),
    )


def _waiting(progress: Progress, page: Page) -> int:
    ordinal = progress.marks.get(page.partition, Mark()).ordinal
    return max(0, page.added - max(ordinal, page.trimmed))


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(httpx.URL(url).host)
    except (ValueError, httpx.InvalidURL):
        parts, usable = urlsplit(""), False
    if not usable:
        raise InvalidInput("url takes an address that begins with http:// or https://.", "url")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            "url must hold no user and no password, for it is listed: the receiver knows the "
            "sender by the signature.",
            "url",
        )


def _check_secret(secret: str) -> None:
    try:
        key_of(secret)
    except ValueError:
        raise InvalidInput(
            "secret takes whsec_ and the base64 of 24 to 64 random bytes; leave it out to have "
            "one made.",
            "secret",
        ) from None


def _not_found(webhook_id: str) -> NotFound:
    return NotFound(f"There is no webhook {webhook_id}; GET /v1/webhooks lists them.")
