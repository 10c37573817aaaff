"""The API of the breaker service for threads: `AsyncClient` behind one function."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from sekring.client.background import Background
from sekring.client.client import AsyncClient

__all__ = ["Client"]

P = ParamSpec("P")
T = TypeVar("T")

#: No call has a longer deadline of its own: a long poll may last a minute.
_LONGEST_S = 120.0


class Client:
    """One service; `with Client(url, token) as client: client.call(AsyncClient.permit, "id")`.

    Every method of `AsyncClient` that is a coroutine can be called so, with its own arguments,
    answers and errors.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        """Prepare it; nothing is sent yet."""
        self._client: AsyncClient | None = None
        self._url, self._token = url, token
        self._background = Background()

    def call(
        self,
        method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a method of the client, and wait for it.

        Raises:
            SekringError: as the method says.
        """
        self._background.start(self._serve)

        async def work() -> T:
            self._client = self._client or AsyncClient(self._url, self._token)
            return await method(self._client, *args, **kwargs)

        return self._background.run(work(), _LONGEST_S)

    def close(self) -> None:
        """Close its connections."""
        self._background.stop(_LONGEST_S)

    async def _serve(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            client, self._client = self._client, None
            if client is not None:
                await client.__aexit__(None, None, None)

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()
