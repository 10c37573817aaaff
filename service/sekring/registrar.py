"""Registers attempts that were permitted from the view: off the answer's path, many at a time.

Redis learns that the instance is connecting, and counts the attempt for the backoff. One instance
has at most one attempt waiting here: until it is registered, the view does not answer for it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from msgspec import structs

from sekring.errors import StoreUnavailable
from sekring.store.contract import PermitRequest
from sekring.store.scripts import Scripts
from sekring.telemetry.spans import Span, background, current

__all__ = ["Registrar"]

#: Under way at once, at most: more would hold up the calls that somebody waits for.
_AT_ONCE = 128


class _Waiting(NamedTuple):
    """An attempt, when it was permitted (`time.monotonic()`), and on whose behalf."""

    request: PermitRequest
    at_s: float
    span: Span | None


class Registrar:
    """Sends what waits, as fast as Redis takes it."""

    def __init__(
        self,
        scripts: Scripts,
        *,
        registered: Callable[[str], None],
        failed: Callable[[PermitRequest], object],
    ) -> None:
        """Tell `registered` of each instance; leave what Redis did not take to `failed`."""
        self._scripts = scripts
        self._registered = registered
        self._failed = failed
        self._waiting: dict[str, _Waiting] = {}
        self._sender: asyncio.Task[None] | None = None

    def register(self, request: PermitRequest) -> None:
        """Have the attempt registered soon."""
        self._waiting[request.instance_id] = _Waiting(request, time.monotonic(), current())
        if self._sender is None:
            self._sender = background(self._send_all())

    async def register_now(self, instance_id: str) -> bool:
        """Return when the instance's attempt, if one waits, was registered; tell whether one did.

        Others follow on it.
        """
        waiting = self._waiting.pop(instance_id, None)
        if waiting is None:
            return False
        await self._send([waiting])
        return True

    async def close(self) -> None:
        """Send all that waits."""
        if self._sender:
            await self._sender

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                names = list(islice(self._waiting, _AT_ONCE))
                await self._send([self._waiting.pop(name) for name in names])
        finally:
            self._sender = None

    async def _send(self, waiting: Sequence[_Waiting]) -> None:
        now_s = time.monotonic()
        asked = [
            (structs.replace(one.request, age_ms=round((now_s - one.at_s) * 1000)), one.span)
            for one in waiting
        ]
        try:
            answers = await self._scripts.permit_all(asked)
            for (request, _), answer in zip(asked, answers, strict=True):
                if isinstance(answer, StoreUnavailable):
                    self._failed(request)
        finally:
            for request, _ in asked:
                self._registered(request.instance_id)
