"""`Sekring`: the breaker service as a gateway uses it."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, overload

from sekring.client.attempt import Attempt
from sekring.client.core import Core
from sekring.client.decorating import guarding
from sekring.client.options import Options

__all__ = ["Sekring"]

P = ParamSpec("P")
T = TypeVar("T")


class Sekring:
    """One breaker service; for any thread, and any event loop or none.

    ::

        breaker = Sekring("http://localhost:8000")
        with breaker.guard("6281234567890"):
            connect()

    It has a thread of its own from the first use on: that keeps a view of the fleet, by which it
    answers in memory, at most `staleness` seconds old, and sends what is to be reported. Where the
    view cannot tell, the service is asked, for `patience` seconds at most. While that is away, the
    client decides by what it knows and by the policy; `degraded` says so, and what is reported
    waits. A forked process begins anew. At the end, `close` (or `with`, or the interpreter's exit)
    waits `close_within` seconds for what is yet to be reported.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        **options: Any,  # noqa: ANN401 - the fields of `Options`, which checks them
    ) -> None:
        """Prepare; nothing is sent yet. What is not given comes from SEKRING_URL and SEKRING_TOKEN.

        The other options are the fields of `sekring.client.Options`.

        Raises:
            SettingsError: an option takes no such value; names it.
        """
        self.options = Options.make(url, token, **options)
        self._core = Core(self.options)

    # ---------------------------------------------------------------------------- attempts

    def guard(self, instance_id: str, *, wait: bool = False) -> Attempt:
        """Return an attempt to be entered by `with` or `async with`.

        With `wait`, entering waits for the backoff that the service recommends.
        """
        return Attempt(self._core, instance_id, wait)

    @overload
    def guarded(self, function: Callable[P, T], /) -> Callable[P, T]: ...
    @overload
    def guarded(
        self, /, *, by: str | None = None, wait: bool = False
    ) -> Callable[[Callable[P, T]], Callable[P, T]]: ...
    def guarded(
        self, function: Callable[..., Any] | None = None, /, *, by: str | None = None,
        wait: bool = False,
    ) -> Callable[..., Any]:  # fmt: skip
        """Make each call of a function, plain or a coroutine function, an attempt.

        `by` is the parameter that names the instance; the first one if it is not given.
        """

        def guard(instance_id: str) -> Attempt:
            return self.guard(instance_id, wait=wait)

        if function is not None:
            return guarding(function, guard, by)
        return lambda wrapped: guarding(wrapped, guard, by)

    def permitted(self, instance_id: str) -> bool:
        """Tell whether the instance might connect now, without an attempt; from memory mostly.

        Waits for the service where the view cannot tell; in a coroutine, use `permitted_async`.
        """
        if (known := self._permitted(instance_id)) is not None:
            return known
        return self._core.look_from_thread(self._core.view.record(instance_id))

    async def permitted_async(self, instance_id: str) -> bool:
        """Tell the same without holding up the caller's event loop."""
        if (known := self._permitted(instance_id)) is not None:
            return known
        return await self._core.look_from_loop(self._core.view.record(instance_id))

    def _permitted(self, instance_id: str) -> bool | None:
        core = self._core
        record = core.view.records.get(instance_id)
        if record is not None and record.plain and time.monotonic() < core.view.plain_until:
            return True
        core.start()
        return core.decisions.permitted(core.view.record(instance_id), alone=core.reach.away)

    # ------------------------------------------------------------------------ how it stands

    @property
    def degraded(self) -> bool:
        """Whether the service is away, so that the client decides alone."""
        return self._core.reach.away

    @property
    def current(self) -> bool:
        """Whether the view is young enough to be gone by."""
        return self._core.view.is_current()

    @property
    def waiting(self) -> int:
        """How many reports are kept for the service, or on their way."""
        return self._core.reports.waiting

    @property
    def dropped(self) -> int:
        """How many reports were given up: too many were kept, or the service refused them."""
        return self._core.reports.dropped

    def ready(self, within: float = 10.0) -> None:
        """Return when the view is current; not needed before a guard, which asks until then.

        Raises:
            ServiceUnavailable: it was not within so many seconds.
            NotAuthenticated, NotAllowed: the service refuses the token.
        """
        self._core.start()
        self._core.background.run(self._core.ready(), within)

    async def ready_async(self, within: float = 10.0) -> None:
        """Do the same without holding up the caller's event loop."""
        self._core.start()
        await self._core.background.run_async(self._core.ready(), within)

    def flush(self, within: float = 10.0) -> None:
        """Return when the service has taken everything that was reported.

        Raises:
            ServiceUnavailable: it has not within so many seconds; it goes on being tried.
        """
        if self._core.background.is_running:
            self._core.background.run(self._core.reports.settled(), within)

    async def flush_async(self, within: float = 10.0) -> None:
        """Do the same without holding up the caller's event loop."""
        if self._core.background.is_running:
            await self._core.background.run_async(self._core.reports.settled(), within)

    # --------------------------------------------------------------------------- the end

    def close(self) -> None:
        """Report what is yet to be reported, for `close_within` seconds at most, and end."""
        self._core.shut()

    async def aclose(self) -> None:
        """Do the same without holding up the caller's event loop."""
        await self._core.shut_async()

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

    async def __aenter__(self) -> Self:
        """Use it."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.aclose()
