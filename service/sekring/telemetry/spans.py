"""Spans: what was done, when, and on whose behalf.

They are lean: slots that are filled while the work goes on. Nothing is described, and no attribute
is made, before a span is exported, which most never are.

All spans of one request in this process belong to one `Trace`. Where it is not sampled they are
remembered, so that a transition or an error can still have all of them exported, with the times at
which things really happened. Work that outlives its request (an attempt registered later, a report
replayed) does the same with what its spans belong to.
"""

import asyncio
import contextlib
import contextvars
import random
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextvars import ContextVar, Token
from typing import Any, Final, Literal, Protocol, Self, TypeVar

from msgspec import Struct

from sekring.telemetry.propagation import write_traceparent

__all__ = [
    "Attribute",
    "Event",
    "Kind",
    "Link",
    "Roots",
    "Span",
    "Trace",
    "background",
    "child",
    "current",
    "under",
    "untraced",
]

T = TypeVar("T")

Attribute = str | int | float | bool
Kind = Literal["internal", "server", "client"]

#: Spans of an unsampled trace that are remembered at most: a large batch makes a thousand, and a
#: stream of events goes on for days.
_REMEMBERED_MAX: Final = 128


#: Begins background work by its name: `Tracing.routine`, or `untraced`.
Roots = Callable[[str], contextlib.AbstractContextManager[object]]


class Link(Struct, frozen=True):
    """A span of another trace that has to do with this one."""

    trace_id: int
    span_id: int


class Event(Struct, frozen=True):
    """Something that happened during a span."""

    name: str
    #: Nanoseconds since 1970.
    at_ns: int
    attributes: Mapping[str, Attribute]


class Sink(Protocol):
    """Takes spans that have ended, and are to be exported."""

    def __call__(self, span: "Span") -> None:
        """Take `span`; must not block."""
        ...


class Trace:
    """What one request, or one piece of background work, does in this process.

    Its first span remembers those that have ended, and is held by whoever may still add to the
    trace. The trace itself holds no span: a circle of them would be left to the garbage collector,
    at five times the cost of tracing.
    """

    __slots__ = ("_first", "_routine", "_sink", "id", "kept", "state")

    def __init__(
        self,
        trace_id: int,
        state: str,
        sink: Sink | None,
        *,
        sampled: bool,
        routine: bool = False,
    ) -> None:
        """Begin; without a `sink` no span but the first is made, and none is exported.

        What is `routine` comes again and again, and is not exported for an error: while Redis is
        away there would be one in each.
        """
        self.id = trace_id
        self._routine = routine
        #: `tracestate`, passed on as it came.
        self.state = state
        #: Whether its spans are exported: it was sampled, or had a transition or an error.
        self.kept = sampled and sink is not None
        self._sink = sink
        self._first: weakref.ref[Span] | None = None

    @property
    def hex_id(self) -> str:
        """The id as headers and logs have it: 32 hex digits."""
        return f"{self.id:032x}"

    @property
    def recording(self) -> bool:
        """Whether spans are wanted at all."""
        return self._sink is not None

    def keep(self) -> None:
        """Have all spans exported, those included that have ended before."""
        if self.kept or self._sink is None:
            return
        self.kept = True
        first = self._first() if self._first else None
        if first is None:
            return
        ended, first.remembered = first.remembered, None
        for span in ended or ():
            self._sink(span)
        if first.end_ns:
            self._sink(first)

    def failed(self) -> None:
        """Take note that one of its spans has an error."""
        if not self._routine:
            self.keep()

    def begun(self, span: "Span") -> None:
        """Take a span that begins; the first is the one that remembers."""
        if self._first is None:
            self._first = weakref.ref(span)

    def ended(self, span: "Span") -> None:
        """Take a span that has ended."""
        if self._sink is None:
            return
        if self.kept:
            self._sink(span)
            return
        first = self._first() if self._first else None
        if first is None or first is span:
            return
        if first.remembered is None:
            first.remembered = [span]
        elif len(first.remembered) < _REMEMBERED_MAX:
            first.remembered.append(span)


class Span:
    """One operation: made when it begins, `end` ends it.

    Subclasses say more of theirs by `describe`, which is called for those that are exported.
    """

    __slots__ = (
        "__weakref__", "_token", "attributes", "end_ns", "error", "events", "id", "links", "name",
        "parent_id", "remembered", "remote", "start_ns", "trace",
    )  # fmt: skip

    kind: Kind = "internal"

    def __init__(
        self, name: str, trace: Trace, parent_id: int | None = None, *, remote: bool = False
    ) -> None:
        """Begin; `remote` tells whether the parent is in another process."""
        self.name = name
        self.trace = trace
        self.id = random.getrandbits(64) or 1
        self.parent_id = parent_id
        self.remote = remote
        self.start_ns = time.time_ns()
        self.end_ns = 0
        #: What went wrong (`error.type`): the name of an error, never its text.
        self.error: str | None = None
        self.attributes: dict[str, Attribute] | None = None
        self.events: list[Event] | None = None
        self.links: list[Link] | None = None
        #: Spans of its trace that have ended, where it is the first of it.
        self.remembered: list[Span] | None = None
        self._token: Token[Span | None] | None = None
        trace.begun(self)

    @property
    def hex_id(self) -> str:
        """The id as headers and logs have it: 16 hex digits."""
        return f"{self.id:016x}"

    @property
    def traceparent(self) -> str:
        """The header that makes another process's span a child of this one."""
        return write_traceparent(self.trace.id, self.id, sampled=self.trace.kept)

    def describe(self) -> tuple[str, dict[str, Attribute]]:
        """Return the span's name and attributes."""
        return self.name, self.attributes or {}

    def set(self, **attributes: Attribute | None) -> None:
        """Add attributes of Sekring's own: `kind` becomes `sekring.kind`; `None` is left out."""
        mine = self.attributes = self.attributes or {}
        for name, value in attributes.items():
            if value is not None:
                mine[f"sekring.{name}"] = value

    def happened(self, name: str, attributes: Mapping[str, Attribute]) -> None:
        """Add an event."""
        self.events = self.events or []
        self.events.append(Event(name, time.time_ns(), attributes))

    def link(self, trace_id: int, span_id: int) -> None:
        """Add a link."""
        self.links = self.links or []
        self.links.append(Link(trace_id, span_id))

    def fail(self, error: str) -> None:
        """Take note of an error, and have the whole trace exported."""
        self.error = error
        self.trace.failed()

    def end(self) -> None:
        """End; nothing is added afterwards."""
        self.end_ns = time.time_ns()
        self.trace.ended(self)

    def enter(self) -> None:
        """Make it the current one."""
        self._token = _CURRENT.set(self)

    def leave(self) -> None:
        """Make the one before the current one again; without `end` nothing is told of this one."""
        token, self._token = self._token, None  # it holds the span before
        if token is not None:
            _CURRENT.reset(token)

    # A span is its own context manager: the one of `contextlib` costs a microsecond more.

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.leave()
        if isinstance(error, Exception) and self.error is None:
            self.fail(type(error).__name__)
        self.end()


_CURRENT: Final[ContextVar[Span | None]] = ContextVar("sekring_span", default=None)


def current() -> Span | None:
    """Return the span on whose behalf the caller runs."""
    return _CURRENT.get()


@contextlib.contextmanager
def under(span: Span | None) -> Iterator[None]:
    """Run on behalf of `span`, which somebody else has ended or will end; `None`: of nobody."""
    token = _CURRENT.set(span)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def child(name: str) -> Span | None:
    """Begin a span below the current one; `None` where there is none, or nothing is recorded."""
    parent = _CURRENT.get()
    if parent is None or not parent.trace.recording:
        return None
    return Span(name, parent.trace, parent.id)


def background(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Have work done on behalf of nobody, though it is a request that begins it: it serves many."""
    context = contextvars.copy_context()
    context.run(_CURRENT.set, None)
    return asyncio.create_task(work, context=context)


def untraced(_: str) -> contextlib.AbstractContextManager[None]:
    """Begin background work that nobody traces."""
    return contextlib.nullcontext()
