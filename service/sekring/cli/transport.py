"""One HTTP request and what became of it: an answer of Sekring's, its refusal, or neither."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType, TracebackType
from typing import Generic, Self, TypeVar

import httpx
import msgspec
from msgspec import Struct

from sekring import __version__
from sekring.cli.address import Address
from sekring.cli.diagnosis import media_type_of, what_answered, what_failed
from sekring.cli.failures import ServiceRefused, Unreachable
from sekring.trust import trust

__all__ = ["CONNECT_S", "Answer", "Transport", "headers_of", "read", "refusal"]

#: How long to wait for a connection, and for an answer, in seconds.
CONNECT_S = 5.0
_ANSWER_S = 15.0

#: What to do about an error of this status, where the service's own sentence cannot know.
_HINTS: Mapping[int, str] = MappingProxyType(
    {HTTPStatus.UNAUTHORIZED: "Put a token of this service into SEKRING_TOKEN."}
)

T = TypeVar("T")


class Answer(Struct, Generic[T], frozen=True):
    """What the service answered, decoded and as it came."""

    value: T
    body: bytes


class _Problem(Struct):
    """An error: `detail` in a problem document, `message` on the guide's routes."""

    title: str = ""
    detail: str = ""
    message: str = ""


class Transport:
    """Sends requests to one service over one connection."""

    def __init__(self, address: Address, answer_s: float | None = None) -> None:
        """Prepare it, nothing is sent yet; `answer_s` goes before each request's own deadline."""
        self.url = address.url
        self._answer_s = answer_s
        self._client = httpx.Client(headers=headers_of(address), verify=trust(address.url))

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._client.close()

    def send(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        body: Struct | Mapping[str, object] | None = None,
        query: Mapping[str, str | int] | None = None,
        answer_s: float = _ANSWER_S,
    ) -> Answer[T]:
        """Send a request and decode the answer.

        Raises:
            ServiceRefused: the service answered with an error.
            Unreachable: there was no answer, or none that Sekring gives.
        """
        answer_s = self._answer_s or answer_s
        connect_s = min(CONNECT_S, answer_s)
        timeout = httpx.Timeout(answer_s, connect=connect_s)
        content = None if body is None else msgspec.json.encode(body)
        headers = None if body is None else {"Content-Type": "application/json"}
        try:
            response = self._client.request(
                method,
                self.url + path,
                content=content,
                headers=headers,
                params=query,
                timeout=timeout,
            )
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            words = what_failed(self.url, error, connect_s=connect_s, answer_s=answer_s)
            raise Unreachable(words) from error
        return read(self.url, response, answer)


def headers_of(address: Address) -> dict[str, str]:
    """Return what every request says of this command and its user."""
    headers = {"Accept": "application/json", "User-Agent": f"sekring-cli/{__version__}"}
    if address.token:
        headers["Authorization"] = f"Bearer {address.token}"
    return headers


def read(url: str, response: httpx.Response, answer: type[T]) -> Answer[T]:
    """Decode what the service at `url` answered.

    Raises:
        ServiceRefused: it is an error of the service's.
        Unreachable: it is none that Sekring gives.
    """
    if response.is_success:
        try:
            return Answer(msgspec.json.decode(response.content, type=answer), response.content)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unreachable(what_answered(url, response)) from error
    raise refusal(url, response)


def refusal(url: str, response: httpx.Response) -> ServiceRefused | Unreachable:
    """Return what an answer that is no success says."""
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Unreachable(what_answered(url, response))
    is_problem = media_type_of(response) == "application/problem+json"
    words = (problem.detail or problem.title) if is_problem else problem.message
    if not words:
        return Unreachable(what_answered(url, response))
    hint = _HINTS.get(response.status_code, "")
    return ServiceRefused(
        f"{words} {hint}".strip(), status=response.status_code, body=response.content
    )
