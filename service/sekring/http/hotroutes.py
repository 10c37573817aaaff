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
from sekring.wire import AttemptBody, Batch, BatchAnswer, OutcomeBody

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPReceiveMessage, Receive, Scope, Send

__all__ = ["HotRoutes"]

_HEADERS: Final = ((b"content-type", b"application/json"), *SECURITY_HEADERS)

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
        scope["path_template"] = asked.template
        span = ServerSpan(self._observer.tracing, scope, asked.parent)
        taken: list[HTTPReceiveMessage] = []
        span.enter()
        try:
            with self._deadlines.block():
                body = b"" if asked.empty else await _body(receive, taken)
                answer = self._encode(await self._answer(asked, body, span))
        except TimeoutError:
            await send_timeout(send, self._deadline_s)
            self._end(scope, span, 503, started_s)
        except _UNTOUCHED:
            span.leave()
            await self._app(scope, _again(taken, receive), send)
        except Exception as error:  # noqa: BLE001 - the framework traces, logs and answers it
            span.leave()
            cast("dict[str, Any]", scope)[FAILED] = error
            await self._app(scope, _again(taken, receive), send)
        else:
            headers = [*_HEADERS, (b"content-length", b"%d" % len(answer))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer, "more_body": False})
            self._end(scope, span, 200, started_s)

    def _end(self, scope: "Scope", span: ServerSpan, status: int, started_s: float) -> None:
        self._observer.finish(scope, span, status, started_s, way="short")
        span.leave()
        span.end()

    async def _answer(
        self, asked: Ordinary, body: bytes, span: ServerSpan
    ) -> Admission | Verdict | BatchAnswer:
        runtime = self._runtime
        if asked.route == "attempts":
            attempt = _attempt.decode(body or b"{}")
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


async def _body(receive: "Receive", taken: "list[HTTPReceiveMessage]") -> bytes:
    """Return the whole body; what was received goes into `taken`."""
    size = 0
    while True:
        message = cast("HTTPReceiveMessage", await receive())
        taken.append(message)
        if message["type"] != "http.request":
            raise _NotOrdinaryError
        size += len(message["body"])
        if size > MAX_BODY_BYTES:
            raise _NotOrdinaryError
        if not message["more_body"]:
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
