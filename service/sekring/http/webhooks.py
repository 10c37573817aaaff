"""`/v1/webhooks`: transitions, sent to where an operator wants them."""

import secrets
import time
from typing import Annotated, Any

from litestar import Controller, Request, delete, get, post
from litestar.params import Body, Parameter
from msgspec import structs

from sekring.http.bodies import JsonBody
from sekring.http.examples import (
    WEBHOOK,
    WEBHOOK_CREATED,
    WEBHOOK_TESTED,
    WEBHOOKS,
    documented,
)
from sekring.http.options import DEADLINE_S, NEEDS
from sekring.http.origin import origin_of
from sekring.http.runtime import Runtime
from sekring.model import PATTERN_END, Transition
from sekring.tokens import Permission
from sekring.webhooks.post import body_of
from sekring.wire import WebhookBody, WebhookCreated, WebhookList, WebhookTested

__all__ = ["WebhookRoutes"]

#: More than the longest deadline that an attempt may have, in seconds.
_TEST_DEADLINE_S = 65

HookId = Annotated[
    str,
    Parameter(pattern=rf"^wh_[0-9a-f]{{12}}{PATTERN_END}", description="Id of a webhook."),
]


class WebhookRoutes(Controller):
    """Only for operators: an address may hold what a receiver takes for a password."""

    path = "/v1/webhooks"
    tags = ["webhooks"]
    opt = {NEEDS: Permission.OPERATE}

    @get(
        operation_id="listWebhooks",
        summary="All webhooks, and how their delivery goes",
        responses=documented(WebhookList, WEBHOOKS, 401, 403, 503),
    )
    async def list_them(self, runtime: Runtime) -> WebhookList:
        """Return each with its delivery state; secrets are never shown."""
        return WebhookList(await runtime.webhooks.list_all())

    @post(
        operation_id="createWebhook",
        summary="Have transitions sent from now on",
        status_code=200,
        responses=documented(WebhookCreated, WEBHOOK_CREATED, 400, 401, 403, 409, 503),
        dto=JsonBody[WebhookBody],
        return_dto=None,
    )
    async def create(
        self,
        request: Request[Any, Any, Any],
        runtime: Runtime,
        data: Annotated[WebhookBody, Body(examples=WEBHOOK)],
    ) -> WebhookCreated:
        """Keep the secret of the answer: it is shown this once, and verifies signatures.

        Each transition is POSTed as `{"type": "transition", "timestamp": …, "data": {…}}`, signed
        as Standard Webhooks has it, until the receiver answers 200 to 299: at least once, so a
        receiver passes over a `webhook-id` that it knows; in order for one instance. What fails is
        sent again, after 1 s at first and 5 minutes at last, until Redis no longer holds it. An
        answer of 410 ends the delivery for good.
        """
        webhook, secret = await runtime.webhooks.create(data, origin_of(request))
        return WebhookCreated(**structs.asdict(webhook), secret=secret)

    @delete(
        "/{webhook_id:str}",
        operation_id="deleteWebhook",
        summary="Have nothing more sent",
        status_code=200,
        responses=documented(WebhookList, WEBHOOKS, 400, 401, 403, 404, 503),
    )
    async def remove(
        self, request: Request[Any, Any, Any], runtime: Runtime, webhook_id: HookId
    ) -> WebhookList:
        """Delete it; answers those that are left."""
        await runtime.webhooks.delete(webhook_id, origin_of(request))
        return WebhookList(await runtime.webhooks.list_all())

    @post(
        "/{webhook_id:str}/test",
        operation_id="testWebhook",
        summary="Send a test event now",
        status_code=200,
        opt={DEADLINE_S: _TEST_DEADLINE_S},
        responses=documented(WebhookTested, WEBHOOK_TESTED, 400, 401, 403, 404, 503),
    )
    async def test(
        self, request: Request[Any, Any, Any], runtime: Runtime, webhook_id: HookId
    ) -> WebhookTested:
        """Send an event of the type `test`, once, and answer what came back."""
        webhook = await runtime.webhooks.get(webhook_id)
        event_id = f"test-{secrets.token_urlsafe(9)}"
        event = Transition(
            id=event_id,
            instance_id="*",
            at_ms=int(time.time() * 1000),
            action="test",
            actor=origin_of(request).actor,
        )
        began = time.monotonic()
        reply = await runtime.poster.send(webhook, event_id, body_of("test", event))
        return WebhookTested(
            delivered=reply.error is None,
            status=reply.status,
            error=reply.error,
            body=reply.body,
            took_ms=round((time.monotonic() - began) * 1000),
            event_id=event_id,
        )
