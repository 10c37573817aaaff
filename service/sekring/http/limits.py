"""What every request goes through: a span, a deadline, security headers, a clock, a log line."""

import asyncio
import time
from typing import TYPE_CHECKING, cast

import msgspec
from litestar.middleware import ASGIMiddleware

from sekring.errors import InvalidInput
from sekring.http.observer import Observer
from sekring.http.options import DEADLINE_S, NO_DEADLINE, option_of
from sekring.http.spans import begin
from sekring.wire import Problem

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

__all__ = [
    "FAILED",
    "MAX_BODY_BYTES",
    "SECURITY_HEADERS",
    "Limits",
    "add_security_headers",
    "send_timeout",
]

MAX_BODY_BYTES = 1024 * 1024

#: Key in a request's scope: the error in which it has ended already (`sekring.http.hotroutes`).
FAILED = "sekring.failed"

#: No page of ours loads anything from elsewhere, or may be framed.
_CONTENT_SECURITY_POLICY = (
    b"default-src 'none'; style-src 'self'; img-src 'self' data:; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS = (
    (b"content-security-policy", _CONTENT_SECURITY_POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


async def add_security_headers(message: "Message", _: "Scope") -> None:
    """Add what the answer has not set itself: Litestar's hook on everything that is sent."""
    if message["type"] == "http.response.start":
        present = {name for name, _ in message["headers"]}
        added = [pair for pair in SECURITY_HEADERS if pair[0] not in present]
        message["headers"] = [*message["headers"], *added]


class Limits(ASGIMiddleware):
    """Ends a request at its deadline with 503, traces each and logs it."""

    def __init__(self, deadline_ms: int, observer: Observer) -> None:
        """Let a request take `deadline_ms`, its body's arrival included."""
        self._deadline_s = deadline_ms / 1000
        self._observer = observer

    async def handle(
        self, scope: "Scope", receive: "Receive", send: "Send", next_app: "ASGIApp"
    ) -> None:
        """Pass the request on."""
        started_s = time.perf_counter()
        status = 0

        async def send_noting_status(message: "Message") -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        if b"//" in (scope.get("raw_path") or b"").partition(b"?")[0].lstrip(b"/"):
            # It was routed as if the empty part were not there: an empty id is no other route.
            raise InvalidInput(
                "The path has an empty part: an instance_id is missing.", "instance_id"
            )
        deadline_s = option_of(scope, DEADLINE_S) or self._deadline_s
        with begin(self._observer.tracing, scope) as span:
            try:
                failed = cast("Exception | None", scope.get(FAILED))
                if failed is not None:
                    raise failed
                async with asyncio.timeout(None if deadline_s == NO_DEADLINE else deadline_s):
                    await next_app(scope, receive, send_noting_status)
            except TimeoutError:
                if status == 0:
                    await send_timeout(send_noting_status, deadline_s)
            finally:
                self._observer.finish(scope, span, status, started_s)


async def send_timeout(send: "Send", deadline_s: float) -> None:
    """Answer a request that was not finished within `deadline_s`."""
    problem = Problem(
        type="timeout",
        title="Service Unavailable",
        status=503,
        detail=f"The request was not finished within {deadline_s:g} s; try again.",
    )
    headers = [(b"content-type", b"application/problem+json"), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send(
        {"type": "http.response.body", "body": msgspec.json.encode(problem), "more_body": False}
    )
