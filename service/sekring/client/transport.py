"""One HTTP request and what became of it: a decoded answer, or an error of Sekring's tree."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import TypeVar

import httpx
import msgspec
from msgspec import Struct

from sekring.errors import (
    InvalidInput,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Refused,
    SekringError,
    ServiceUnavailable,
)
from sekring.wire import Problem

__all__ = ["Transport"]

_PROBLEM = "application/problem+json"

#: What an error of the service is here. Other refusals are mistakes of the caller as well.
_PLAIN: Mapping[int, type[SekringError]] = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: NotAuthenticated,
        HTTPStatus.FORBIDDEN: NotAllowed,
        HTTPStatus.NOT_FOUND: NotFound,
    }
)

#: What one part of a request may take at most, in seconds: longer than any deadline.
_PART_S = 600.0

T = TypeVar("T")


class Transport:
    """Sends requests to one service over a few connections that are kept."""

    def __init__(self, url: str, token: str | None, *, connections: int, agent: str) -> None:
        """Prepare it; nothing is sent yet."""
        headers = {"Accept": "application/json", "User-Agent": agent}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            headers=headers,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            # For each part of a request; the deadline below is for the whole.
            timeout=_PART_S,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(
        self, method: str, path: str, answer: type[T], body: Struct | None, *, within_s: float
    ) -> T:
        """Send a request and decode the answer; nothing takes longer than `within_s`.

        Raises:
            ServiceUnavailable: there was no answer in time, or none that the service gives.
            SekringError: what the service refused, as it named it.
        """
        response = await self._answer(method, path, body, within_s)
        if not response.is_success:
            raise _error_of(self._url, response)
        try:
            return msgspec.json.decode(response.content, type=answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ServiceUnavailable(_strange(self._url, response)) from error

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, headers: Mapping[str, str], *, within_s: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a stream of Server-Sent Events; hand out its bytes as they come.

        Raises:
            ServiceUnavailable: there was no answer in time, or the stream broke.
            SekringError: what the service refused, as it named it.
        """
        asked = {"Accept": "text/event-stream", **headers}
        request = self._http.build_request("GET", self._url + path, headers=asked)
        response: httpx.Response | None = None
        try:
            async with asyncio.timeout(within_s):
                response = await self._http.send(request, stream=True)
                if not response.is_success:
                    await response.aread()
                    raise _error_of(self._url, response)
            yield response.aiter_raw()
        except TimeoutError as error:
            raise ServiceUnavailable(f"The stream from {self._url} fell silent.") from error
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            words = str(error) or type(error).__name__
            raise ServiceUnavailable(f"The stream from {self._url} ended: {words}") from error
        finally:
            if response is not None:
                await response.aclose()

    async def _answer(
        self, method: str, path: str, body: Struct | None, within_s: float
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with asyncio.timeout(within_s):
                return await self._http.request(
                    method, self._url + path, content=content, headers=headers
                )
        except TimeoutError as error:
            raise ServiceUnavailable(
                f"The service at {self._url} did not answer within {within_s:g} s."
            ) from error
        except Exception as error:
            words = str(error) or type(error).__name__
            raise ServiceUnavailable(
                f"The service at {self._url} cannot be reached: {words}"
            ) from error


def _error_of(url: str, response: httpx.Response) -> SekringError:
    status = response.status_code
    problem = _problem_in(response)
    if problem is None:
        return ServiceUnavailable(_strange(url, response))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServiceUnavailable(f"The service at {url} cannot answer now: {problem.detail}")
    if status == HTTPStatus.CONFLICT:
        return Refused(problem.detail, problem.cause or problem.type)
    if (kind := _PLAIN.get(status)) is not None:
        return kind(problem.detail)
    return InvalidInput(problem.detail, problem.field)


def _problem_in(response: httpx.Response) -> Problem | None:
    if response.headers.get("Content-Type", "").partition(";")[0].strip() != _PROBLEM:
        return None
    try:
        return msgspec.json.decode(response.content, type=Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _strange(url: str, response: httpx.Response) -> str:
    return (
        f"What answered at {url} with status {response.status_code} is not the breaker service, or"
        " a load balancer without one behind it."
    )
