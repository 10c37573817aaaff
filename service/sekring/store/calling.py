"""How scripts are run: what the classes with one typed wrapper per script have in common."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, cast

import msgspec
from msgspec import Struct

from sekring.errors import StoreUnavailable
from sekring.store.calls import Call
from sekring.store.contract import Made, Request
from sekring.store.keys import Keyspace
from sekring.store.library import Library, Script
from sekring.store.spans import ScriptSpan
from sekring.telemetry.histogram import Histogram
from sekring.telemetry.spans import Span, current

__all__ = ["Script", "ScriptCalls", "ScriptRunner"]

#: The name under which a reply has transitions; most replies have none and are not searched twice.
_TRANSITIONS = b"transitions"

_UNTRACED = contextlib.nullcontext()

Reply = TypeVar("Reply")
Asked = TypeVar("Asked", bound=Request)
Request_contra = TypeVar("Request_contra", bound=Request, contravariant=True)
Reply_co = TypeVar("Reply_co", covariant=True)


class ArrayReply(Protocol[Request_contra, Reply_co]):
    """A reply that is an array, and how it becomes what the wrapper returns."""

    @property
    def transitions(self) -> Sequence[Made]:
        """The transitions that the call has made."""

    def answer(self, request: Request_contra) -> Reply_co:
        """Return it as the model has it."""


class _Transitions(Struct, frozen=True):
    transitions: tuple[Made, ...] = ()


class ScriptRunner(Protocol):
    """Runs a script, or any read-only command, on Redis (`sekring.store.redis`)."""

    def know(self, library: Library) -> None:
        """Take note of what has all scripts that `run` will be given."""
        ...

    def start(self, script: Script, keys: Sequence[str], request: bytes) -> Call:
        """Send a call of `script`; its `answer` is Redis'."""
        ...


class _Started(Struct):
    """A call on its way, or why it is none."""

    name: str
    began_s: float
    span: ScriptSpan | None
    call: Call | StoreUnavailable


class ScriptCalls:
    """Calls scripts by their names; every call is one atomic step in Redis."""

    def __init__(
        self,
        runner: ScriptRunner,
        keyspace: Keyspace,
        bulk: ScriptRunner | None = None,
        durations: Histogram | None = None,
    ) -> None:
        """Read the scripts' texts; nothing is sent yet.

        `bulk` runs what comes in large numbers (sweeps, listings, totals), so that a gateway's
        permit does not queue behind it. `durations` takes how long each call took.
        """
        self._durations = durations
        self._runner = runner
        self._bulk = bulk or runner
        self._keyspace = keyspace
        library = Library.build()
        self._scripts = library.scripts
        for link in (self._runner, self._bulk):
            link.know(library)
        self._encoder = msgspec.msgpack.Encoder()
        self._told: list[Callable[[Made], None]] = []

    def on_transition(self, callback: Callable[[Made], None]) -> None:
        """Call `callback` with every transition that a call made through here has brought about.

        One whose answer got lost, so that it was made again, is not among them.
        """
        self._told.append(callback)

    async def _run(
        self,
        name: str,
        keys: Sequence[str],
        request: Request,
        reply: type[Reply],
        runner: ScriptRunner | None = None,
    ) -> Reply:
        span = ScriptSpan.begin(name, keys[0], request, current())
        with span or _UNTRACED:
            started = self._start(name, keys, request, runner or self._runner, span)
            raw = await self._answer(started)
            self._tell_of(raw, span)
            answer = msgspec.msgpack.decode(cast("bytes", raw), type=reply)
            if span:
                span.answer = answer
        return answer

    async def _run_array(
        self,
        name: str,
        keys: Sequence[str],
        request: Asked,
        reply: type[ArrayReply[Asked, Reply]],
    ) -> Reply:
        """Do as `_run` with a script whose reply is an array."""
        span = ScriptSpan.begin(name, keys[0], request, current())
        started = self._start(name, keys, request, self._runner, span)
        return await self._array_of(started, request, reply)

    async def _run_arrays(
        self,
        name: str,
        asked: Sequence[tuple[Sequence[str], Asked, Span | None]],
        reply: type[ArrayReply[Asked, Reply]],
    ) -> list[Reply | StoreUnavailable]:
        """Do as `_run_array` for many calls at once, each on behalf of a span, without a task each.

        What became of each is returned in its place.
        """
        begun = []
        for keys, request, parent in asked:
            span = ScriptSpan.begin(name, keys[0], request, parent)
            begun.append((self._start(name, keys, request, self._runner, span), request))
        found: list[Reply | StoreUnavailable] = []
        for started, request in begun:
            try:
                found.append(await self._array_of(started, request, reply))
            except StoreUnavailable as error:
                found.append(error)
        return found

    async def _array_of(
        self, started: _Started, request: Asked, reply: type[ArrayReply[Asked, Reply]]
    ) -> Reply:
        span = started.span
        with span or _UNTRACED:
            raw = await self._answer(started)
            values = msgspec.msgpack.decode(cast("bytes", raw), type=reply)
            self._tell(values.transitions, span)
            answer = values.answer(request)
            if span:
                span.answer = answer
        return answer

    def _tell_of(self, raw: object, span: ScriptSpan | None) -> None:
        """Tell of the transitions in a reply that is a map, if it has any."""
        if isinstance(raw, bytes) and _TRANSITIONS in raw:
            self._tell(msgspec.msgpack.decode(raw, type=_Transitions).transitions, span)

    def _tell(self, transitions: Sequence[Made], span: ScriptSpan | None) -> None:
        for made in transitions:
            if span:
                span.note(made)
            for callback in self._told:
                callback(made)

    async def _flag(
        self,
        name: str,
        keys: Sequence[str],
        request: Request,
        runner: ScriptRunner | None = None,
    ) -> bool:
        span = ScriptSpan.begin(name, keys[0], request, current())
        with span or _UNTRACED:
            started = self._start(name, keys, request, runner or self._runner, span)
            raw = await self._answer(started)
            self._tell_of(raw, span)
            return raw != 0

    def _start(
        self,
        name: str,
        keys: Sequence[str],
        request: Request,
        runner: ScriptRunner,
        span: ScriptSpan | None,
    ) -> _Started:
        began_s = time.perf_counter()
        try:
            call = runner.start(self._scripts[name], keys, self._encoder.encode(request))
        except StoreUnavailable as error:
            return _Started(name, began_s, span, error)
        return _Started(name, began_s, span, call)

    async def _answer(self, started: _Started) -> object:
        span, call = started.span, started.call
        error_type = ""
        try:
            if isinstance(call, StoreUnavailable):
                raise call
            raw = await call.answer
        except StoreUnavailable as error:
            error_type = type(error).__name__
            raise
        finally:
            if span and isinstance(call, Call) and call.lane:
                span.node = call.lane.address
            if self._durations is not None:
                labels = ("redis", "FCALL", started.name, error_type)
                self._durations.record(time.perf_counter() - started.began_s, labels, span)
        return raw
