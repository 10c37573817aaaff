"""Sends one event to a webhook's receiver, and says what came back."""

import asyncio
import time
from datetime import UTC, datetime
from http import HTTPStatus

import httpx
import msgspec
from msgspec import Struct

from sekring import __version__
from sekring.model import Transition
from sekring.store.hooks import Webhook
from sekring.webhooks.signing import headers_of

__all__ = ["Poster", "Reply", "body_of"]

#: How much of an answer's body is read, in bytes.
_ANSWER_MAX = 1_024


class Reply(Struct, frozen=True):
    """What came back."""

    #: `None` where no answer came.
    status: int | None = None
    #: What was the matter, in words; `None` if nothing was.
    error: str | None = None
    #: The beginning of the answer's body.
    body: str = ""

    @property
    def gone(self) -> bool:
        """Whether the receiver wants nothing more, ever."""
        return self.status == HTTPStatus.GONE


class _Body(Struct):
    type: str
    timestamp: str
    data: Transition


def body_of(kind: str, transition: Transition) -> bytes:
    """Return the JSON that is sent: a type, the time of the event, the transition."""
    at = datetime.fromtimestamp(transition.at_ms / 1000, UTC)
    return msgspec.json.encode(_Body(kind, at.isoformat(timespec="milliseconds"), transition))


class Poster:
    """One client for all webhooks of this replica."""

    def __init__(self, timeout_ms: int) -> None:
        """Let an attempt take `timeout_ms` in all; nothing is opened yet."""
        self._timeout_s = timeout_ms / 1000
        self._client: httpx.AsyncClient | None = None

    async def send(self, webhook: Webhook, event_id: str, body: bytes) -> Reply:
        """Send `body`, signed; never raises on what a receiver does."""
        headers = {
            "content-type": "application/json",
            "user-agent": f"sekring/{__version__}",
            **headers_of(webhook.secret, event_id, int(time.time()), body),
        }
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(webhook.url, body, headers)
        except TimeoutError:
            return Reply(error=f"no answer within {self._timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return Reply(error=f"no answer: {str(error) or type(error).__name__}")

    async def close(self) -> None:
        """Close every connection."""
        if self._client:
            await self._client.aclose()
            self._client = None

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> Reply:
        if self._client is None:
            # Here, for it reads the certificates of the world, which most replicas never need.
            self._client = httpx.AsyncClient(
                timeout=self._timeout_s,
                follow_redirects=False,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            )
        async with self._client.stream("POST", url, content=body, headers=headers) as response:
            answer = b""
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) >= _ANSWER_MAX:
                    break
            status = response.status_code
            return Reply(
                status=status,
                error=None if response.is_success else _words(status),
                body=answer[:_ANSWER_MAX].decode(errors="replace"),
            )


def _words(status: int) -> str:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"answered {status}: redirects are not followed"
    return f"answered {status}"
