"""One HTTP request and what became of it: a decoded answer, or an error of Sekring's tree."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct

from sekring.client.tracing import Tracing
from sekring.errors import (
    InvalidInput,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Refused,
    SekringError,
    ServiceUnavailable,
)
from sekring.trust import trust
from sekring.wire import Problem

__all__ = ["Route", "Transport"]

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


class Route(Struct, frozen=True):
    """Where a request goes: `/v1/instances/s/outcomes`, by `/v1/instances/{instance_id}/outcomes`.

    Traces and metrics go by the template, of which there are few.
    """

    template: str
    path: str

    @classmethod
    def of(cls, template: str, query: str = "", **names: str) -> Self:
        """Fill in the names of a template, each as one step of the path."""
        path = template.format_map({key: _step(name) for key, name in names.items()})
        return cls(template, path + query)


class Transport:
    """Sends requests to one service over a few connections that are kept."""

    def __init__(
        self, url: str, token: str | None, *, connections: int, agent: str, tracing: Tracing
    ) -> None:
        """Prepare it; nothing is sent yet."""
        headers = {"Accept": "application/json", "User-Agent": agent}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._url = url.rstrip("/")
        self._tracing = tracing
        self._http = httpx.AsyncClient(
            headers=headers,
            verify=trust(url),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            # For each part of a request; the deadline below is for the whole.
            timeout=_PART_S,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(
        self,
        method: str,
        route: Route,
        answer: type[T],
        body: Struct | None,
        *,
        within_s: float,
    ) -> T:
        """Send a request and decode the answer; nothing takes longer than `within_s`.

        Raises:
            ServiceUnavailable: there was no answer in time, or none that the service gives.
            SekringError: what the service refused, as it named it.
        """
        url = self._url + route.path
        with self._tracing.call(method, route.template, url) as call:
            response = await self._answer(method, url, body, call.headers, within_s)
            call.answered(response.status_code)
        if not response.is_success:
            raise _error_of(self._url, response)
        try:
            return msgspec.json.decode(response.content, type=answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ServiceUnavailable(_strange(self._url, response)) from error

    @contextlib.asynccontextmanager
    async def stream(
        self, route: Route, headers: Mapping[str, str], *, within_s: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a stream of Server-Sent Events; hand out its bytes as they come.

        Raises:
            ServiceUnavailable: there was no answer in time, or the stream broke.
            SekringError: what the service refused, as it named it.
        """
        asked = {"Accept": "text/event-stream", **self._tracing.headers(), **headers}
        request = self._http.build_request("GET", self._url + route.path, headers=asked)
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
        self,
        method: str,
        url: str,
        body: Struct | None,
        traced: Mapping[str, str],
        within_s: float,
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        headers = dict(traced)
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(within_s):
                return await self._http.request(method, url, content=content, headers=headers)
        except TimeoutError as error:
            raise ServiceUnavailable(
                f"The service at {self._url} did not answer within {within_s:g} s."
            ) from error
        except Exception as error:
            words = str(error) or type(error).__name__
            raise ServiceUnavailable(
                f"The service at {self._url} cannot be reached: {words}"
            ) from error


def _step(name: str) -> str:
    # `.` and `..` are fine names, and other steps unless they are quoted.
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")


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
