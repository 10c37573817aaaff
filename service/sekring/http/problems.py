"""The one map from errors to HTTP: `application/problem+json`, or the guide's own form.

Errors of the guide's routes keep what its clients read: ``{"status": "error", "message": …}``.
"""

import math
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, get_args

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    InternalServerException,
    ValidationException,
)

from sekring.errors import (
    BreakerRefuses,
    GatewayFailed,
    InvalidInput,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Refused,
    SealBroken,
    SekringError,
    ServiceStopping,
    StoreUnavailable,
    TimedOut,
)
from sekring.guide import GuideError
from sekring.http.options import GUIDE, option_of
from sekring.http.parameters import Order
from sekring.http.spans import ServerSpan
from sekring.model import State
from sekring.taxonomy import Kind, Protocol
from sekring.telemetry.spans import current
from sekring.wire import Outcome, Phase, Problem

__all__ = ["answer", "problem_of", "problem_of_request"]

_STATUS: tuple[tuple[type[SekringError], HTTPStatus, str], ...] = (
    (InvalidInput, HTTPStatus.BAD_REQUEST, "invalid_input"),
    (NotAuthenticated, HTTPStatus.UNAUTHORIZED, "not_authenticated"),
    (NotAllowed, HTTPStatus.FORBIDDEN, "not_allowed"),
    (NotFound, HTTPStatus.NOT_FOUND, "not_found"),
    (Refused, HTTPStatus.CONFLICT, "refused"),
    (GatewayFailed, HTTPStatus.BAD_GATEWAY, "gateway_failed"),
    (BreakerRefuses, HTTPStatus.SERVICE_UNAVAILABLE, "breaker_refuses"),
    (SealBroken, HTTPStatus.SERVICE_UNAVAILABLE, "seal_broken"),
    (ServiceStopping, HTTPStatus.SERVICE_UNAVAILABLE, "stopping"),
    (TimedOut, HTTPStatus.GATEWAY_TIMEOUT, "timed_out"),
    (StoreUnavailable, HTTPStatus.SERVICE_UNAVAILABLE, "store_unavailable"),
)

_ID_WORDS = "takes 1 to 128 of A-Z a-z 0-9 . _ : @ -"

_NAME_WORDS = "takes 1 to 128 printable ASCII characters without spaces"

#: What a field with a pattern takes, where that is no instance's id.
_PATTERN_WORDS = MappingProxyType(
    {
        **dict.fromkeys(("attempt_id", "build", "device", "gateway", "id"), _NAME_WORDS),
        "errand_id": "takes 24 hex digits, as the errand itself has them",
        "prefix": "takes at most 128 of A-Z a-z 0-9 . _ : @ -",
        "phone": "takes an international number: 7 to 15 digits, no + and no leading zeros",
        "url": "takes printable ASCII without spaces",
        "webhook_id": "takes wh_ and 12 hex digits, as GET /v1/webhooks lists them",
    }
)

#: What a field with a fixed set of values takes.
_CHOICES: Mapping[str, Iterable[str]] = MappingProxyType(
    {
        "kind": Kind,
        "order": get_args(Order),
        "outcome": get_args(Outcome),
        "phase": Phase,
        "protocol": get_args(Protocol),
        "state": State,
        "states": State,
    }
)

#: Parameters that a handler has to call otherwise than the client.
_PARAMETERS = MappingProxyType({"in_state": "state", "instances": "instance_id", "states": "state"})

#: How the guide's paths begin: errors keep the guide's form where no route was found, too.
_GUIDE_PATHS = re.compile(
    r"/(health|circuit-breaker-status|reset-circuit-breaker|get_qrcode|instance|logout|send_message)"
    r"(/|$)"
)

_MISSING_PARAMETER = re.compile(r"Missing required query parameter '(\w+)'")
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`")
_MISSING_FIELD = re.compile(r"Object missing required field `(.*)`")

#: How the guide's clients know a refusal of the breaker.
_UNABLE = "Unable to create session: "

_INTERNAL = Problem(
    type="internal_error",
    title=HTTPStatus.INTERNAL_SERVER_ERROR.phrase,
    status=int(HTTPStatus.INTERNAL_SERVER_ERROR),
    detail="An error of the service itself; it is in its log.",
)

_log = structlog.get_logger(__name__)


def problem_of(error: Exception) -> Problem:
    """Return what a client is told about `error`."""
    if isinstance(error, SekringError):
        return _problem_of_ours(error)
    if isinstance(error, HTTPException):
        return _problem_of_http(error)
    if isinstance(error, msgspec.ValidationError):
        return _invalid(*_split_path(str(error)))
    if isinstance(error, msgspec.DecodeError | UnicodeDecodeError):
        return _invalid("The body is not valid JSON in UTF-8.", None)
    return _INTERNAL


def _problem_of_ours(error: SekringError) -> Problem:
    for kind, status, word in _STATUS:
        if isinstance(error, kind):
            field, cause = getattr(error, "field", None), getattr(error, "cause", None)
            return _problem(word, status, str(error), field=field, cause=cause)
    return _INTERNAL


def _problem_of_http(error: HTTPException) -> Problem:
    if isinstance(error, ValidationException):
        return _validation_problem(error)
    if isinstance(error, InternalServerException) and "disconnected" in error.detail:
        # Litestar's word for a client that went away; nobody reads this, and nothing is at fault.
        return _invalid("The connection was closed before the body was complete.", None)
    status = HTTPStatus(error.status_code)
    return _problem(status.name.lower(), status, _http_words(error, status))


def problem_of_request(request: Request[Any, Any, Any], error: Exception) -> Problem:
    """Return what a client is told about `error`; for an unknown path, what is wrong with it."""
    problem = problem_of(error)
    if problem.status == HTTPStatus.NOT_FOUND and b"%2f" in _raw_path(request):
        # A slash in an id makes another path of it.
        return _invalid(f"instance_id {_ID_WORDS}.", "instance_id")
    return problem


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer a request that ended in `error`: Litestar's handler for every exception."""
    problem = problem_of_request(request, error)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("unexpected error", path=request.scope["path"], exc_info=error)
    headers = {}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    refused = error if isinstance(error, BreakerRefuses) else None
    span = current()
    if isinstance(span, ServerSpan):
        span.refused = refused is not None
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not refused:
            span.fail(type(error).__name__)
    retry_after_s = _seconds(refused.retry_after_ms) if refused else None
    if refused:
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    if isinstance(error, HTTPException) and error.headers:
        headers |= error.headers
    if _is_guides(request):
        return Response(
            GuideError(
                message=f"{_UNABLE}{problem.detail}" if refused else problem.detail,
                field=problem.field,
                circuit_breaker=True if refused else None,
                retry_after=retry_after_s,
            ),
            status_code=problem.status,
            headers=headers,
        )
    return Response(
        problem,
        status_code=problem.status,
        headers=headers,
        media_type="application/problem+json",
    )


def _problem(
    word: str,
    status: HTTPStatus,
    detail: str,
    *,
    field: str | None = None,
    cause: str | None = None,
) -> Problem:
    return Problem(
        type=word,
        title=status.phrase,
        status=int(status),
        detail=detail,
        field=field,
        cause=cause,
    )


def _invalid(detail: str, field: str | None) -> Problem:
    return _problem("invalid_input", HTTPStatus.BAD_REQUEST, detail, field=field)


def _validation_problem(error: ValidationException) -> Problem:
    extra = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    message = str(extra.get("message") or error.detail)
    if message == "'data'":
        return _invalid("The body is missing: send a JSON object.", None)
    if match := _MISSING_PARAMETER.match(message):
        return _invalid(f"{match[1]} is missing: it goes in the query.", match[1])
    key = extra.get("key", "")
    return _invalid(*_split_path(f"{message} - at `$.{_PARAMETERS.get(key, key)}`"))


def _split_path(message: str) -> tuple[str, str | None]:
    """Turn msgspec's ``Expected `int`, got `str` - at `$.a[0].b``` into a sentence and `a[0].b`."""
    what, _, path = message.partition(" - at `")
    # `[...]` stands for a key that msgspec does not name.
    path = path.rstrip("`").removeprefix("$").removeprefix(".").removesuffix("[...]")
    field: str | None = path or None
    if match := _UNKNOWN_FIELD.match(what):
        field = f"{field}.{match[1]}" if field else match[1]
        return f"{field} is not a field of this request.", field
    if match := _MISSING_FIELD.match(what):
        field = f"{field}.{match[1]}" if field else match[1]
        return f"{field} is missing.", field
    if "matching regex" in what:
        words = _PATTERN_WORDS.get(_name_of(field), _ID_WORDS)
        return f"{field or 'instance_id'} {words}.", field or "instance_id"
    if what.startswith("Invalid enum value") and field:
        choices = ", ".join(_CHOICES.get(_name_of(field), ()))
        got = what.removeprefix("Invalid enum value ")
        return f"{field}: {got} is not one of {choices}.", field
    what = what.strip().rstrip(".")
    return (f"{field}: {what}." if field else f"{what}."), field


def _name_of(path: str | None) -> str:
    """Return a field's own name: of `a[0].b`, `b`; of `a[0]`, `a`."""
    return (path or "").rpartition(".")[2].partition("[")[0]


def _http_words(error: HTTPException, status: HTTPStatus) -> str:
    if status is HTTPStatus.NOT_FOUND:
        return "There is nothing at this path; /schema describes what there is."
    if status is HTTPStatus.METHOD_NOT_ALLOWED and error.detail == status.phrase:
        allowed = set((error.headers or {}).get("allow", "").split(", "))
        return f"This path takes {', '.join(sorted(allowed - {'OPTIONS'}))}."
    if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return "The body is larger than 1 MiB: split it."
    return error.detail or status.phrase


def _is_guides(request: Request[Any, Any, Any]) -> bool:
    if request.scope.get("route_handler") is None:
        return _GUIDE_PATHS.match(request.scope["path"]) is not None
    return bool(option_of(request.scope, GUIDE))


def _seconds(milliseconds: int | None) -> int | None:
    """Round up to whole seconds: whoever comes then does not come too early."""
    return None if milliseconds is None else max(1, math.ceil(milliseconds / 1000))


def _raw_path(request: Request[Any, Any, Any]) -> bytes:
    return bytes(request.scope.get("raw_path") or b"").lower()
