"""One attempt under the breaker: `with breaker.guard("id") as attempt:`, or `async with`.

Entering it asks; leaving it says how it went. Nothing of that waits for the service where the view
can tell, and nothing but a question ever does.
"""

import asyncio
import time
from types import TracebackType
from typing import Final, Self

from sekring.client.core import Core
from sekring.client.kinds import kind_of
from sekring.client.record import Course, Record
from sekring.errors import BreakerRefuses, InvalidInput, Open
from sekring.model import Admission, State
from sekring.taxonomy import Kind, Protocol
from sekring.wire import BatchItem

__all__ = ["Attempt"]

#: What is kept of an exception's words; the service keeps no more.
_DETAIL_MAX: Final = 300

_NOTHING, _CONNECTED, _ENDED = "nothing", "connected", "ended"

_monotonic = time.monotonic


class Attempt:
    """An attempt to connect one instance, to be entered once. What the block does says how it went.

    - It ends: the instance is connected. After `connected()`: the connection has ended on purpose.
    - It raises: a failure, of the kind that the exception is taken for.
    - It is cancelled, or the program interrupted: neither.
    """

    # What most attempts never change is the class's: making one takes less than a microsecond.
    _said = _NOTHING
    _waited = False
    _course: Course | None = None
    _admission: Admission | None = None

    def __init__(self, core: Core, instance_id: str, wait: bool = False) -> None:  # noqa: FBT001, FBT002
        """Prepare; with `wait`, entering waits for the backoff that the service recommends."""
        self._core = core
        self._instance_id = instance_id
        self._waits = wait

    @property
    def instance_id(self) -> str:
        """Which instance it is."""
        return self._instance_id

    @property
    def attempt_id(self) -> str | None:
        """The attempt's name; `None` if the service was never heard of."""
        if self._course is not None:
            return self._course.attempt_id
        return None if self._admission is None else self._admission.attempt_id

    @property
    def backoff(self) -> float:
        """How long to wait before connecting, in seconds, as the service recommends it."""
        return 0.0 if self._admission is None or self._waited else self._admission.backoff_ms / 1000

    @property
    def degraded(self) -> bool:
        """Whether the client has decided alone, because the service is away."""
        return self._admission is not None and self._admission.degraded

    # ------------------------------------------------------------------------------ entering

    def __enter__(self) -> Self:
        """Ask.

        Raises:
            Open: the breaker refuses.
            InvalidInput: no instance can have that id.
        """
        # The short way: the view is current and knows of nothing.
        view = self._core.view
        record = view.records.get(self._instance_id)
        if record is not None and record.plain and _monotonic() < view.plain_until:
            self._course = record.course or self._core.reports.begin(record)
            return self
        record = view.record(self._instance_id)
        admission = self._core.admit(record)
        if admission is None:
            self._begin(record, self._core.ask_from_thread(record), asked=True)
        else:
            self._begin(record, admission, asked=False)
        if self._waits and self.backoff:
            try:
                time.sleep(self.backoff)
            except BaseException:
                self.disconnected()
                raise
            self._waited = True
        return self

    async def __aenter__(self) -> Self:
        """Do as `__enter__`; the caller's event loop goes on meanwhile."""
        view = self._core.view
        record = view.records.get(self._instance_id)
        if record is not None and record.plain and _monotonic() < view.plain_until:
            self._course = record.course or self._core.reports.begin(record)
            return self
        record = view.record(self._instance_id)
        admission = self._core.admit(record)
        if admission is None:
            self._begin(record, await self._core.ask_from_loop(record), asked=True)
        else:
            self._begin(record, admission, asked=False)
        if self._waits and self.backoff:
            try:
                await asyncio.sleep(self.backoff)
            except BaseException:
                self.disconnected()
                raise
            self._waited = True
        return self

    def _begin(self, record: Record, admission: Admission, *, asked: bool) -> None:
        if not admission.permitted:
            self._said = _ENDED
            raise _refusal(admission)
        self._admission = admission
        # What the service was asked, it knows.
        if not asked or admission.degraded:
            self._core.reports.add_attempt(record, admission.attempt_id)

    # ------------------------------------------------------------------------------- leaving

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say how it went; what the block raised goes on."""
        course = self._course
        if error is None and course is not None and self._said is _NOTHING:
            course.success_s = _monotonic()
            if not course.taken:
                return
        self._leave(error)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do as `__exit__`; nothing is waited for."""
        self.__exit__(kind, error, trace)

    def _leave(self, error: BaseException | None) -> None:
        if self._said is _ENDED:
            return
        if error is None and self._said is _NOTHING:
            self.connected()
        elif error is None or isinstance(error, BreakerRefuses) or not isinstance(error, Exception):
            self.disconnected()
        else:
            lost = Kind.DISCONNECTED if self._said is _CONNECTED else Kind.UNKNOWN
            words = str(error)
            detail = f"{type(error).__name__}: {words}" if words else type(error).__name__
            self.failed(kind_of(error, lost), detail=detail)

    # ------------------------------------------------------------------------ in the block

    def connected(self) -> None:
        """Say that the connection is up, where the block lasts as long as it does.

        The service credits it once it has lasted for the policy's `stable_after_ms`.
        """
        if self._said is _NOTHING:
            self._said = _CONNECTED
            self._say(BatchItem(instance_id=self._instance_id, outcome="success"))

    def disconnected(self) -> None:
        """Say that the connection, or the attempt, was ended on purpose."""
        if self._said is not _ENDED:
            self._said = _ENDED
            self._say(BatchItem(instance_id=self._instance_id, outcome="disconnected"))

    def failed(
        self,
        kind: Kind | str | None = None,
        *,
        protocol: Protocol | None = None,
        code: int | None = None,
        detail: str | None = None,
        ban_expires_in_ms: int | None = None,
        ban_expire: int | None = None,
    ) -> None:
        """Say that it failed, and how: by its kind, or by the protocol's own disconnect code.

        What the block raises then is not reported once more.

        Raises:
            InvalidInput: there is no such kind, or the fields contradict each other; names one.
        """
        if self._said is _ENDED:
            return
        item = BatchItem(
            instance_id=self._instance_id,
            outcome="failure",
            kind=_known(kind),
            protocol=protocol,
            code=code,
            detail=detail[:_DETAIL_MAX] if detail else None,
            ban_expires_in_ms=ban_expires_in_ms,
            ban_expire=ban_expire,
        )
        self._say(item)
        self._said = _ENDED

    def _say(self, item: BatchItem) -> None:
        self._core.report(item, self.attempt_id)


def _refusal(admission: Admission) -> Open:
    wait_ms = admission.retry_after_ms
    after = "a person must act" if wait_ms is None else f"ask again in {wait_ms / 1000:.1f} s"
    why = ": ".join(filter(None, (admission.cause, admission.reason)))
    if admission.state is State.CLOSED:
        words = "may not connect now"
    else:
        words = f"may not connect: its breaker is {admission.state.value.replace('_', ' ')}"
    return Open(
        f"{admission.instance_id} {words}{why and f' ({why})'}; {after}.",
        instance_id=admission.instance_id,
        state=admission.state,
        cause=admission.cause,
        retry_after_ms=wait_ms,
        degraded=admission.degraded,
    )


def _known(kind: Kind | str | None) -> Kind | None:
    if kind is None:
        return None
    try:
        return Kind(kind)
    except ValueError:
        kinds = ", ".join(kind.value for kind in Kind)
        raise InvalidInput(f"kind is {kind!r}; it takes one of {kinds}.", "kind") from None
