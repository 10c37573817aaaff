"""The short way of what gateways call all the time: permits and outcomes, past the framework.

It takes a request only where nothing about it is out of the ordinary (`sekring.http.ordinary`).
Everything else goes the framework's way (`sekring.http.attempts`), and so does every error: one
place knows what a bad request is answered. Where both could answer, they answer the same.
"""

import time
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from sekring.errors import InvalidInput
from sekring.http.deadlines import Deadlines
from sekring.http.judging import judge_all
from sekring.http.limits import (
    FAILED,
    MAX_BODY_BYTES,
    SECURITY_HEADERS,
    send_timeout,
)
from sekring.http.ordinary import Ordinary, Recognizer
from sekring.http.runtime import Runtime
from sekring.http.spans import ServerSpan
from sekring.model import Admission, Verdict
from sekring.telemetry.spans import Trace
from sekring.wire import AttemptBody, Batch, BatchAnswer, OutcomeBody

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPReceiveMessage, Receive, Scope, Send

__all__ = ["HotRoutes"]

_HEADERS: Final = ((b"content-type", b"application/json"), *SECURITY_HEADERS)

_Answer = Admission | Verdict | BatchAnswer

_attempt = msgspec.json.Decoder(AttemptBody)
_outcome = msgspec.json.Decoder(OutcomeBody)
_batch = msgspec.json.Decoder(Batch)


class _NotOrdinaryError(Exception):
    """The framework is to answer."""


#: Nothing was changed yet where one of these is raised.
_UNTOUCHED = (
    _NotOrdinaryError,
    InvalidInput,
    msgspec.MsgspecError,
    UnicodeDecodeError,
    RecursionError,
)


class HotRoutes:
    """An ASGI app in front of another one."""

    def __init__(self, app: "ASGIApp", runtime: Runtime) -> None:
        """Answer by `runtime`, and leave to `app` what is not ordinary."""
        self._app = app
        self._runtime = runtime
        self._recognise = Recognizer(runtime).recognise
        self._observer = runtime.observer
        self._deadline_s = runtime.settings.request_timeout_ms / 1000
        self._deadlines = Deadlines(self._deadline_s)
        self._encode = msgspec.json.Encoder().encode

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer, or pass on."""
        asked = self._recognise(scope)
        if asked is None:
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        taken: list[HTTPReceiveMessage] = []
        span: ServerSpan | None = None
        try:
            with self._deadlines.block():
                body = await _body(receive, taken, asked.length) if asked.length != 0 else b""
                attempt = _attempt.decode(body or b"{}") if asked.route == "attempts" else None
                trace = self._observer.tracing.begin(asked.parent)
                answer: _Answer | None = None
                if attempt and not attempt.strong and not trace.kept:
                    # What a storm consists of: nothing can come of it that a span would tell.
                    answer = self._runtime.permits.refusal(asked.instance_id)
                if answer is None:
                    span = _begin(scope, asked, trace, started_s)
                    answer = await self._answer(asked, attempt, body, span)
                sent = self._encode(answer)
        except TimeoutError:
            await send_timeout(send, self._deadline_s)
            span = span or _begin(
                scope, asked, self._observer.tracing.begin(asked.parent), started_s
            )
            self._end(scope, asked, span, 503, started_s)
        except _UNTOUCHED:
            if span:
                span.leave()
            await self._app(scope, _again(taken, receive), send)
        except Exception as error:  # noqa: BLE001 - the framework traces, logs and answers it
            if span:
                span.leave()
            cast("dict[str, Any]", scope)[FAILED] = error
            await self._app(scope, _again(taken, receive), send)
        else:
            headers = [*_HEADERS, (b"content-length", b"%d" % len(sent))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": sent, "more_body": False})
            self._end(scope, asked, span, 200, started_s)

    def _end(
        self,
        scope: "Scope",
        asked: Ordinary,
        span: ServerSpan | None,
        status: int,
        started_s: float,
    ) -> None:
        if span is None:
            self._observer.measure(scope, asked.template, status, started_s, None, way="short")
            return
        self._observer.finish(scope, span, status, started_s, way="short")
        span.leave()
        span.end()

    async def _answer(
        self, asked: Ordinary, attempt: AttemptBody | None, body: bytes, span: ServerSpan
    ) -> _Answer:
        runtime = self._runtime
        if attempt:
            admission = await runtime.permits.permit(
                asked.instance_id,
                asked.origin(attempt.gateway),
                attempt.build,
                strong=attempt.strong,
            )
            span.tell(admission)
            return admission
        if asked.route == "outcomes":
            outcome = _outcome.decode(body)
            origin = asked.origin(outcome.gateway)
            verdict = await runtime.breaker.report(asked.instance_id, outcome, origin)
            span.tell(verdict, outcome.kind)
            return verdict
        return await judge_all(runtime, _batch.decode(body).outcomes, asked.origin)


def _begin(scope: "Scope", asked: Ordinary, trace: Trace, started_s: float) -> ServerSpan:
    """Begin the request's span as of `started_s`, and make it the current one."""
    scope["path_template"] = asked.template
    span = ServerSpan(trace, scope, asked.parent)
    span.start_ns -= int((time.perf_counter() - started_s) * 1e9)
    span.enter()
    return span


async def _body(receive: "Receive", taken: "list[HTTPReceiveMessage]", length: int | None) -> bytes:
    """Return the whole body, of `length` bytes if that is known; what was received goes to `taken`.

    The server tells of a body's end by a message of its own, which takes as long as all the rest of
    a permit: where the length was told, it is not waited for.
    """
    size = 0
    while True:
        message = cast("HTTPReceiveMessage", await receive())
        taken.append(message)
        if message["type"] != "http.request":
            raise _NotOrdinaryError
        size += len(message["body"])
        if size > MAX_BODY_BYTES:
            raise _NotOrdinaryError
        if size == length or not message["more_body"]:
            return message["body"] if len(taken) == 1 else _joined(taken)


def _joined(taken: "list[HTTPReceiveMessage]") -> bytes:
    return b"".join(one["body"] for one in taken if one["type"] == "http.request")


def _again(taken: "list[HTTPReceiveMessage]", receive: "Receive") -> "Receive":
    """Return a `receive` that begins with what was taken from it."""
    left = iter(taken)

    async def received() -> "HTTPReceiveMessage":
        message = next(left, None)
        return cast("HTTPReceiveMessage", await receive()) if message is None else message

    return received
