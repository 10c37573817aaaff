"""What is yet to be reported: gathered, sent in batches, and kept while the service is away.

Those of one instance arrive in their order, each counts once: they have ids, so one whose answer
was lost is said again, with its age at that time.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from http import HTTPStatus
from itertools import count
from typing import Final

import msgspec
from msgspec import Struct, structs

from sekring.client.client import AsyncClient
from sekring.client.decisions import Decisions, attempt_id
from sekring.client.options import Options
from sekring.client.reach import Reach
from sekring.client.record import Course, Record
from sekring.client.view import View
from sekring.errors import InvalidInput, SekringError, ServiceUnavailable
from sekring.wire import BatchItem, BatchResult

__all__ = ["Reports"]

#: Sent at once, at most: less than the service takes.
_AT_ONCE: Final = 400

#: Failures do not wait, but those of one moment are sent together, in seconds.
_TOGETHER_S: Final = 0.005

#: How long to wait until what could not be sent is tried again, in seconds.
_PAUSE_S: Final = (0.1, 1.0)

#: The greatest age that the service takes, in ms: a week. It counts nothing of nearly that age.
_OLDEST_MS: Final = 604_800_000
_log = logging.getLogger("sekring")


class _Entry(Struct, frozen=True):
    """Something to say, and when it happened (CLOCK_MONOTONIC, s)."""

    record: Record
    item: BatchItem
    at_s: float

    def aged(self, now_s: float) -> BatchItem:
        age_ms = min(max(0, round((now_s - self.at_s) * 1000)), _OLDEST_MS)
        return structs.replace(self.item, age_ms=age_ms)


class Reports:
    """Callers of any thread put in; one coroutine of the client's own loop takes out."""

    def __init__(
        self,
        options: Options,
        view: View,
        decisions: Decisions,
        wake: Callable[[Callable[[], object]], None],
        traceparent: Callable[[], str | None],
    ) -> None:
        """Prepare; `wake` has a function called on the client's own loop.

        `traceparent` tells the trace that its caller is in: a report is sent outside of it.
        """
        self._options = options
        self._view = view
        self._decisions = decisions
        self._wake = wake
        self._traceparent = traceparent
        self._new: deque[Course | _Entry] = deque()
        #: What was taken out and is not answered yet, in its order.
        self._taken: deque[_Entry] = deque()
        self._armed = self._hurried = False
        self._urgent = asyncio.Event()
        self._news = asyncio.Event()
        self._sent = asyncio.Event()
        self._ids = count()
        self._prefix = secrets.token_urlsafe(6)
        #: How many were given up: too many were kept, or the service refused them.
        self.dropped = 0
        self._full = False

    @property
    def waiting(self) -> int:
        """How many wait, or are on their way."""
        return len(self._new) + len(self._taken)

    @property
    def behind(self) -> bool:
        """Whether there is more to say than what has just come in."""
        return bool(self._taken) or len(self._new) >= _AT_ONCE

    # ---------------------------------------------------------------------- for the callers

    def begin(self, record: Record) -> Course:
        """Begin an attempt that the view has permitted, or join the one that is begun already."""
        course = Course(
            record, attempt_id(self._view, record), time.monotonic(), self._traceparent()
        )
        record.course = course
        self._put(course, urgent=False)
        return course

    def add_attempt(self, record: Record, name: str | None) -> None:
        """Say that an attempt has begun, just now; not if no epoch is known that it could have."""
        if name is not None:
            item = BatchItem(
                instance_id=record.instance_id,
                outcome="attempt",
                attempt_id=name,
                gateway=self._options.gateway,
                build=self._options.build,
                traceparent=self._traceparent(),
            )
            self._add(record, item, time.monotonic(), urgent=False)

    def named(self, item: BatchItem, attempt_id: str | None) -> BatchItem:
        """Return a report with all that names it."""
        return structs.replace(
            item,
            id=self._new_id(),
            attempt_id=attempt_id,
            gateway=self._options.gateway,
            build=self._options.build,
            traceparent=self._traceparent(),
        )

    def add(self, record: Record, item: BatchItem) -> None:
        """Say how an attempt ended, just now."""
        self._add(record, item, time.monotonic(), urgent=item.outcome != "success")

    def fork(self) -> None:
        """Be empty in a forked process: its parent tells what waits."""
        self._new.clear()
        self._taken.clear()
        self._armed = self._hurried = False
        self._prefix = secrets.token_urlsafe(6)
        self._urgent, self._news, self._sent = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def _add(self, record: Record, item: BatchItem, at_s: float, *, urgent: bool) -> None:
        with self._view.lock:
            record.unsent += 1
            record.course = None  # what comes later is not told before this
        self._put(_Entry(record, item, at_s), urgent=urgent)

    def _put(self, what: Course | _Entry, *, urgent: bool) -> None:
        self._new.append(what)
        if self.waiting > self._options.kept_max:
            self._drop_oldest()
        if urgent:
            # Waking costs as much as all the rest: once is enough until the sender has seen it.
            if not self._hurried:
                self._armed = self._hurried = True
                self._wake(self._hurry)
        elif not self._armed:
            self._armed = True
            self._wake(self._news.set)

    def _hurry(self) -> None:
        self._news.set()
        self._urgent.set()

    def _drop_oldest(self) -> None:
        try:
            oldest = self._new.popleft()
        except IndexError:  # the sender was faster
            return
        if isinstance(oldest, Course):
            oldest.taken = True
        else:
            self._done(oldest.record)
        self.dropped += 1
        if not self._full:
            self._full = True
            _log.error(
                "more than %d reports wait for the service: the oldest are dropped",
                self._options.kept_max,
            )

    def _new_id(self) -> str:
        return f"{self._prefix}-{next(self._ids)}"

    def _done(self, record: Record) -> None:
        with self._view.lock:
            record.unsent -= 1

    # ----------------------------------------------------------------------- for the sender

    async def run(self, client: AsyncClient, reach: Reach) -> None:
        """Send what there is, as soon as the service takes it, until cancelled."""
        pause_s = _PAUSE_S[0]
        while True:
            if not self.behind:
                await self._gather()
            if await self._send_some(client, reach):
                pause_s = _PAUSE_S[0]
            else:
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
                pause_s = min(2 * pause_s, _PAUSE_S[1])

    async def settled(self) -> None:
        """Return when there is nothing left to say."""
        self._hurry()
        while self.waiting:
            self._sent.clear()
            await self._sent.wait()

    async def _gather(self) -> None:
        """Wait for something to say; gather for a moment, a shorter one if it is urgent."""
        while not self.waiting:
            self._armed = self._hurried = False
            self._sent.set()
            self._news.clear()
            self._urgent.clear()
            if not self.waiting:  # what came in between was not armed, and has woken nobody
                await self._news.wait()
        if not self._urgent.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.flush_every):
                    await self._urgent.wait()
        await asyncio.sleep(_TOGETHER_S)
        self._urgent.clear()

    async def _send_some(self, client: AsyncClient, reach: Reach) -> bool:
        """Send a batch; false: the service could not take it, or not all of it, now."""
        self._hurried = False  # before it looks: what comes from now on wakes it again
        while self._new and len(self._taken) < _AT_ONCE:
            try:
                self._taken.extend(self._entries(self._new.popleft()))
            except IndexError:  # it was dropped, to make room
                break
        if not self._taken:
            return True
        now_s = time.monotonic()
        entries = list(self._taken)[: 2 * _AT_ONCE]
        try:
            results = await client.report_many([entry.aged(now_s) for entry in entries])
            if len(results) != len(entries):
                raise ServiceUnavailable("It has not answered to each report.")
        except InvalidInput as error:
            # The batch as a whole is refused: none is at fault by itself, so none can be left out.
            for entry in entries:
                self._taken.popleft()
                self._refuse(entry, str(error))
            return True
        except SekringError as error:
            reach.missed(error)
            return False
        left = self._take_answers(entries, results)
        self._sent.set()
        if left:
            return False
        if not self.waiting:
            self._full = False
        reach.answered()
        return True

    def _take_answers(self, entries: list[_Entry], results: list[BatchResult]) -> list[_Entry]:
        left = []
        for entry, result in zip(entries, results, strict=True):
            self._taken.popleft()
            error = result.error
            if isinstance(error, msgspec.UnsetType):
                self._done(entry.record)
                self._decisions.learn(entry.record, result)
            elif error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                left.append(entry)
            else:
                self._refuse(entry, error.detail)
        self._taken.extendleft(reversed(left))
        return left

    def _refuse(self, entry: _Entry, why: str) -> None:
        self._done(entry.record)
        self.dropped += 1
        _log.error("the breaker service refuses a report on %s: %s", entry.item.instance_id, why)

    def _entries(self, what: "Course | _Entry") -> Iterator[_Entry]:
        if not isinstance(what, Course):
            yield what
            return
        record = what.record
        with self._view.lock:
            what.taken = True
            if record.course is what:
                record.course = None
            success_s = what.success_s
            record.unsent += (what.attempt_id is not None) + (success_s > 0)
        common = BatchItem(
            instance_id=record.instance_id,
            outcome="attempt",
            attempt_id=what.attempt_id,
            gateway=self._options.gateway,
            build=self._options.build,
            traceparent=what.traceparent,
        )
        if what.attempt_id is not None:
            yield _Entry(record, common, what.permitted_s)
        if success_s:
            success = structs.replace(common, outcome="success", id=self._new_id())
            yield _Entry(record, success, success_s)
