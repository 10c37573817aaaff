"""The parts of a client, wired: its view, its reports, its thread."""

import asyncio
import atexit
import contextlib
import logging
import os
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Final

from sekring import __version__
from sekring.client.background import Background
from sekring.client.client import AsyncClient
from sekring.client.decisions import Decisions
from sekring.client.follower import Follower
from sekring.client.options import Options
from sekring.client.reach import Reach
from sekring.client.record import Record
from sekring.client.reports import Reports
from sekring.client.tracing import tracing
from sekring.client.view import View
from sekring.errors import NotAllowed, NotAuthenticated, SekringError, ServiceUnavailable
from sekring.model import REFUSING, Admission
from sekring.wire import AttemptBody, BatchItem

__all__ = ["Core"]

#: Until a part that has failed, which is a fault of ours, begins again, in seconds.
_AGAIN_S: Final = 1.0

#: How much longer than the service's answer takes anybody waits for the client's own thread.
_GRACE_S: Final = 0.5

_log = logging.getLogger("sekring")


class Core:
    """One service, seen from one process. Coroutines here run in the client's own thread."""

    def __init__(self, options: Options) -> None:
        """Wire; nothing is sent, and no thread runs yet."""
        self.options = options
        self.view = View(options.staleness)
        self.background = Background()
        self.follower = Follower(options, self.view)
        self.decisions = Decisions(self.view, self._want_policy)
        self.reports = Reports(
            options, self.view, self.decisions, self._wake, tracing(__version__).traceparent
        )
        self.reach = Reach(self.view, options.url, lambda: self.reports.behind)
        self.closed = False
        self._client: AsyncClient | None = None
        self._body = AttemptBody(gateway=options.gateway, build=options.build)
        forked, ended = weakref.WeakMethod(self._fork), weakref.WeakMethod(self.shut)
        os.register_at_fork(after_in_child=lambda: (method := forked()) and method())
        # What waits in a thread would die with the process.
        atexit.register(lambda: (method := ended()) and method())

    def start(self) -> None:
        """Have the thread run."""
        if self.closed:
            raise ServiceUnavailable("The client is closed.")
        if not self.background.is_running:
            self.background.start(self._run)

    # --------------------------------------------------------------------------- questions

    def admit(self, record: Record) -> Admission | None:
        """Decide if that can be done here; `None` means `ask`."""
        self.start()
        self._check_denied()
        return self.decisions.admit(record, alone=self.reach.away)

    def report(self, item: BatchItem, attempt_id: str | None) -> None:
        """Take how an attempt ended; the service is told soon.

        Raises:
            InvalidInput: its fields contradict each other; names one.
        """
        record = self.view.record(item.instance_id)
        named = self.reports.named(item, attempt_id)
        self.decisions.report(record, named)
        self.reports.add(record, named)

    def ask_from_thread(self, record: Record) -> Admission:
        """Have the service asked, and wait for it."""
        try:
            return self.background.run(self.ask(record), self._patience_s)
        except ServiceUnavailable as error:  # not even our own thread has answered
            return self._alone(record, error)

    async def ask_from_loop(self, record: Record) -> Admission:
        """Have the service asked, and wait for it in another event loop."""
        try:
            return await self.background.run_async(self.ask(record), self._patience_s)
        except ServiceUnavailable as error:
            return self._alone(record, error)

    async def ask(self, record: Record) -> Admission:
        """Ask the service whether the instance may connect now; decide alone if it is away."""
        try:
            async with asyncio.timeout(self.options.patience):
                if record.unsent:
                    await self.reports.settled()  # it is to know what was before
                admission = await self._there().permit(record.instance_id, self._body)
        except (TimeoutError, ServiceUnavailable, NotAuthenticated, NotAllowed) as error:
            return self._alone(record, error)
        self.decisions.learn_answer(record, admission)
        return admission

    def look_from_thread(self, record: Record) -> bool:
        """Have the service asked without an attempt, and wait for it."""
        try:
            return self.background.run(self.look(record), self._patience_s)
        except ServiceUnavailable:
            return bool(self.decisions.permitted(record, alone=True))

    async def look_from_loop(self, record: Record) -> bool:
        """Have the service asked without an attempt, and wait for it in another event loop."""
        try:
            return await self.background.run_async(self.look(record), self._patience_s)
        except ServiceUnavailable:
            return bool(self.decisions.permitted(record, alone=True))

    async def look(self, record: Record) -> bool:
        """Ask the service the same without an attempt."""
        try:
            async with asyncio.timeout(self.options.patience):
                snapshot = await self._there().instance(record.instance_id)
        except (TimeoutError, ServiceUnavailable, NotAuthenticated, NotAllowed) as error:
            self.reach.missed(error)
            return bool(self.decisions.permitted(record, alone=True))
        return snapshot.state not in REFUSING

    async def ready(self) -> None:
        """Return when the view is current.

        Raises:
            NotAuthenticated, NotAllowed: the service refuses the token.
        """
        while not self.view.is_current():
            self._check_denied()
            await asyncio.sleep(0.01)

    def _alone(self, record: Record, error: Exception) -> Admission:
        self.reach.missed(error)
        self._check_denied()
        admission = self.decisions.admit(record, alone=True)
        assert admission is not None  # noqa: S101 - alone, it always decides
        return admission

    @property
    def _patience_s(self) -> float:
        return self.options.patience + _GRACE_S

    # ------------------------------------------------------------------------ the thread

    def shut(self) -> None:
        """Say what is yet to be said, for `close_within` seconds at most, and end."""
        self._end()
        if self.background.is_running:
            with contextlib.suppress(SekringError):
                self.background.run(self._finish(), self.options.close_within + _GRACE_S)
            self.background.stop(self.options.patience)

    async def shut_async(self) -> None:
        """Do the same for a caller in another event loop."""
        self._end()
        if self.background.is_running:
            with contextlib.suppress(SekringError):
                await self.background.run_async(
                    self._finish(), self.options.close_within + _GRACE_S
                )
            self.background.stop(self.options.patience)

    def _end(self) -> None:
        self.closed = True
        self.view.set_paced("closed", paced=True)  # no short way any more

    async def _finish(self) -> None:
        began_s = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.options.close_within):
                await self.reports.settled()
        if waiting := self.reports.waiting:
            waited_s = time.monotonic() - began_s
            _log.error(
                "closed before the service took all: %d reports are lost after %.1f s",
                waiting,
                waited_s,
            )

    async def _run(self) -> None:
        async with AsyncClient(self.options.url, self.options.token) as client:
            self._client = client
            try:
                await asyncio.gather(
                    self._keep(lambda: self.follower.run(client, self.reach)),
                    self._keep(lambda: self.reports.run(client, self.reach)),
                )
            finally:
                self._client = None

    @staticmethod
    async def _keep(part: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await part()
            except Exception:  # noqa: BLE001 - it would end unseen
                _log.exception("a part of the client has failed, and begins again")
            await asyncio.sleep(_AGAIN_S)

    def _there(self) -> AsyncClient:
        if self._client is None:
            raise ServiceUnavailable("The client is closed.")
        return self._client

    def _check_denied(self) -> None:
        """Raise what the service says to a token with which nothing was ever done."""
        if self.reach.denied and not self.view.epoch:
            raise self.reach.denied

    def _wake(self, callback: Callable[[], object]) -> None:
        self.background.call_soon(callback)

    def _want_policy(self, record: Record) -> None:
        self.background.call_soon(lambda: self.follower.want_policy(record))

    def _fork(self) -> None:
        """Begin anew in a forked process; what its parent has to report, its parent reports."""
        self.background.forget()
        self.view.fork()
        self.reports.fork()
        self.follower.fork()
        self.reach.away = False
        self.view.set_alone(alone=False)
        self._client = None
