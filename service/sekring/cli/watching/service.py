"""What the screen asks the service for, without ever holding the screen up."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec
from msgspec import Struct

from sekring.cli.address import Address
from sekring.cli.api import PAGE_MAX, RESETS_S, path_of
from sekring.cli.diagnosis import media_type_of, what_answered, what_failed
from sekring.cli.failures import Unreachable
from sekring.cli.transport import CONNECT_S, headers_of, read, refusal
from sekring.client.sse import ServerSent, read_events
from sekring.guide import Health, HealthData
from sekring.model import Snapshot, State
from sekring.trust import trust
from sekring.wire import (
    CallerAnswer,
    ForceAnswer,
    ForceBody,
    InstanceDetail,
    InstancePage,
    ResetAnswer,
    ResetBody,
    ResetsAnswer,
    ResetsBody,
    TransitionList,
)

__all__ = ["Service"]

#: How long to wait for an answer, in seconds: somebody looks at the screen meanwhile.
_ANSWER_S = 5.0

#: Without a word for so long a stream of events is dead, in seconds. The service says every 15 s
#: that it lives, unless it is told otherwise.
_SILENCE_S = 60.0

T = TypeVar("T")


class Service:
    """One service; each method may raise `ServiceRefused` or `Unreachable`."""

    def __init__(self, address: Address, answer_s: float | None = None) -> None:
        """Prepare it, nothing is sent yet; `answer_s` goes before each request's own deadline."""
        self.url = address.url
        self._answer_s = answer_s
        self._client = httpx.AsyncClient(headers=headers_of(address), verify=trust(address.url))

    async def __aenter__(self) -> Self:
        """Use it."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def caller(self) -> CallerAnswer:
        """Return whose token is sent, and what it may do."""
        return await self._send("GET", "/v1/caller", CallerAnswer)

    async def health(self) -> HealthData:
        """Return the fleet's figures."""
        return (await self._send("GET", "/health", Health)).data

    async def page(
        self, state: State | None, prefix: str, *, cursor: str | None = None, limit: int = PAGE_MAX
    ) -> InstancePage:
        """Return one page of the instances in a state whose ids begin with `prefix`."""
        # Of all instances, first those that somebody may look for.
        order = "open_first" if state is None else None
        wanted = {"state": state, "prefix": prefix, "order": order, "cursor": cursor}
        query = {name: str(value) for name, value in wanted.items() if value}
        path = "/v1/instances"
        return await self._send("GET", path, InstancePage, query={**query, "limit": limit})

    async def instance(self, instance_id: str) -> Snapshot:
        """Return one instance."""
        return await self._send("GET", path_of(instance_id), Snapshot)

    async def detail(self, instance_id: str) -> InstanceDetail:
        """Return everything about one instance."""
        return await self._send("GET", path_of(instance_id, "detail"), InstanceDetail)

    async def history(self, instance_id: str, limit: int) -> TransitionList:
        """Return an instance's latest transitions."""
        path = path_of(instance_id, "history")
        return await self._send("GET", path, TransitionList, query={"limit": limit})

    async def reset(self, instance_id: str, body: ResetBody) -> ResetAnswer:
        """Reset one instance."""
        return await self._send("POST", path_of(instance_id, "reset"), ResetAnswer, body=body)

    async def reset_many(self, ids: Sequence[str], reason: str | None) -> ResetsAnswer:
        """Reset these, 1,000 at most; banned ones are left alone."""
        body = ResetsBody(instances=list(ids), reason=reason)
        return await self._send("POST", "/v1/resets", ResetsAnswer, body=body, answer_s=RESETS_S)

    async def trip(self, instance_id: str, body: ForceBody) -> ForceAnswer:
        """Force one instance open."""
        return await self._send("POST", path_of(instance_id, "trip"), ForceAnswer, body=body)

    @contextlib.asynccontextmanager
    async def events(self, last_id: str | None) -> AsyncIterator[AsyncGenerator[ServerSent, None]]:
        """Open the stream of events, behind the one with `last_id`."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        timeout = httpx.Timeout(_SILENCE_S, connect=CONNECT_S)
        url = f"{self.url}/v1/events"
        try:
            async with self._client.stream("GET", url, headers=headers, timeout=timeout) as stream:
                if not stream.is_success:
                    await stream.aread()
                    raise refusal(self.url, stream)
                if media_type_of(stream) != "text/event-stream":
                    raise Unreachable(what_answered(self.url, stream))
                async with contextlib.aclosing(read_events(stream.aiter_bytes())) as events:
                    yield events
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._failed(error, _SILENCE_S) from error

    async def _send(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        body: Struct | None = None,
        query: Mapping[str, str | int] | None = None,
        answer_s: float = _ANSWER_S,
    ) -> T:
        answer_s = self._answer_s or answer_s
        try:
            response = await self._client.request(
                method,
                self.url + path,
                content=None if body is None else msgspec.json.encode(body),
                headers=None if body is None else {"Content-Type": "application/json"},
                params=query,
                timeout=httpx.Timeout(answer_s, connect=min(CONNECT_S, answer_s)),
            )
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise self._failed(error, answer_s) from error
        return read(self.url, response, answer).value

    def _failed(self, error: Exception, answer_s: float) -> Unreachable:
        connect_s = min(CONNECT_S, answer_s)
        return Unreachable(what_failed(self.url, error, connect_s=connect_s, answer_s=answer_s))
