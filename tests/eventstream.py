"""A client of `/v1/events`: reads Server-Sent Events as a browser does."""

import contextlib
import json
import threading
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import httpx

from tests.servers import wait_until

__all__ = ["EventReader", "ServerSent"]


class Reachable(Protocol):
    """A replica, or what stands before several."""

    @property
    def url(self) -> str:
        """Where it is."""


class ServerSent(NamedTuple):
    """One event."""

    id: str
    event: str
    data: Any


class EventReader:
    """Reads a stream in a thread; `with EventReader(service) as reader: …`."""

    def __init__(
        self,
        service: Reachable,
        last_id: str | None = None,
        *,
        token: str | None = None,
        **query: str | list[str],
    ) -> None:
        """Prepare to read, resumed at `last_id`, with the filters in `query`."""
        self.service = service
        self.events: list[ServerSent] = []
        self.comments: list[str] = []
        self.retry_ms: int | None = None
        #: What the client would resume with.
        self.last_id = last_id
        self.headers: httpx.Headers | None = None
        self.ended = threading.Event()
        self._query = query
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=service.url, headers=headers, timeout=60)
        self._thread = threading.Thread(target=self._read)
        self._response: httpx.Response | None = None

    @property
    def transitions(self) -> list[dict[str, Any]]:
        """The data of all transitions so far."""
        return [event.data for event in self.events if event.event == "transition"]

    @property
    def gaps(self) -> list[dict[str, Any]]:
        """The data of all gaps so far."""
        return [event.data for event in self.events if event.event == "gap"]

    def wait_for(self, count: int, seconds: float = 20) -> list[dict[str, Any]]:
        """Wait until there are so many transitions; return them."""
        wait_until(lambda: len(self.transitions) >= count, f"{count} transitions", seconds)
        return self.transitions

    def wait_begun(self) -> None:
        """Wait until the stream is there, and it is known from where it would be resumed."""
        wait_until(
            lambda: (self.headers and self.last_id) or self.ended.is_set(), "the stream to begin"
        )

    def __enter__(self) -> Self:
        """Connect, and wait until it has begun."""
        self._thread.start()
        self.wait_begun()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Go away."""
        self.cut()

    def cut(self) -> None:
        """Break the connection; nothing more is read."""
        response = self._response
        if response is not None and not self.ended.is_set():
            with contextlib.suppress(OSError):
                network = response.extensions["network_stream"]
                network.get_extra_info("socket").shutdown(2)
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._client.close()

    def _read(self) -> None:
        headers = {} if self.last_id is None else {"Last-Event-ID": self.last_id}
        try:
            with self._client.stream(
                "GET", "/v1/events", params=self._query, headers=headers
            ) as response:
                self._response = response
                self.headers = response.headers
                response.raise_for_status()
                self._take(response)
        except httpx.TransportError:
            pass  # cut, by one side or the other
        finally:
            self.ended.set()

    def _take(self, response: httpx.Response) -> None:
        """As the HTML standard says, 9.2.6."""
        fields: dict[str, str] = {}
        for line in response.iter_lines():
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if line == "":
                self.last_id = fields.get("id", self.last_id)
                if "data" in fields:
                    event = fields.get("event", "message")
                    self.events.append(
                        ServerSent(self.last_id or "", event, json.loads(fields["data"]))
                    )
                fields = {}
            elif name == "":
                self.comments.append(value)
            elif name == "retry":
                self.retry_ms = int(value)
            else:
                fields[name] = value
