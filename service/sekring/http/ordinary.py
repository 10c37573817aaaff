"""Which requests are ordinary: what gateways call all the time, in the form that clients send.

A request that is not recognised here is no worse; the framework answers it.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from msgspec import Struct

from sekring.http.auth import is_answered_host, may
from sekring.http.origin import make_origin
from sekring.http.runtime import Runtime
from sekring.model import INSTANCE_ID_PATTERN, Origin
from sekring.telemetry.propagation import Remote, parse_traceparent
from sekring.tokens import ANYONE, Caller, Permission

__all__ = ["Ordinary", "Recognizer"]

_INSTANCES: Final = "/v1/instances/"
_BEARER: Final = b"Bearer "

#: With one of these a request is not ordinary: a browser's, or a body in another form.
_UNUSUAL: Final = frozenset({b"origin", b"sec-fetch-site", b"cookie", b"content-encoding"})

#: Credentials, or hosts, whose meaning is remembered at most; beyond, they are looked up each time.
_REMEMBERED: Final = 1_000

_is_instance_id = re.compile(INSTANCE_ID_PATTERN).match

Route = Literal["attempts", "outcomes", "batch"]


class Ordinary(Struct, frozen=True):
    """A request that was recognised, before its body was read."""

    route: Route
    #: Empty for a batch.
    instance_id: str
    caller: Caller
    #: Bytes of the body, if it says so: then its end is not to be waited for.
    length: int | None
    #: Address of the client.
    source: str
    #: The caller's span.
    parent: Remote | None

    @property
    def template(self) -> str:
        """The path with names of what varies in it, as the framework knows the route."""
        return _TEMPLATES[self.route]

    def origin(self, gateway: str | None) -> Origin:
        """Return where a change comes from, given the gateway that the body names."""
        return make_origin(gateway or self.caller.name, self.source)


class Recognizer:
    """Recognises requests whose callers may report."""

    def __init__(self, runtime: Runtime) -> None:
        """Know callers by the tokens of `runtime`."""
        self._runtime = runtime
        #: By the header that says who calls. Its values are secrets: the dictionary's hashes are
        #: keyed by the process, so that its timing tells nothing about them.
        self._callers: dict[bytes, Caller] = {}

    def recognise(self, scope: Mapping[str, Any]) -> Ordinary | None:
        """Return what the request asks for; `None` where it is not ordinary."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"]:
            return None
        target = _target(scope["path"])
        if target is None:
            return None
        headers = dict(scope["headers"])
        if not _UNUSUAL.isdisjoint(headers) or len(headers) != len(scope["headers"]):
            return None
        caller = self._caller(headers)
        if caller is None:
            return None
        route, instance_id = target
        client = scope["client"]
        return Ordinary(
            route,
            instance_id,
            caller,
            _length(headers.get(b"content-length")),
            client[0] if client else "",
            _parent(headers),
        )

    def _caller(self, headers: Mapping[bytes, bytes]) -> Caller | None:
        tokens = self._runtime.tokens
        key = headers.get(b"authorization" if tokens else b"host", b"")
        if known := self._callers.get(key):
            return known
        text = key.decode("latin-1")
        if not tokens:
            caller = ANYONE if is_answered_host(text, self._runtime) else None
        elif key.startswith(_BEARER):
            caller = tokens.caller_of(text[len(_BEARER) :])
        else:
            caller = None
        if caller is None or not may(caller, Permission.REPORT):
            return None
        if len(self._callers) < _REMEMBERED:
            self._callers[key] = caller
        return caller


_TEMPLATES: Final[Mapping[Route, str]] = MappingProxyType(
    {
        "attempts": "/v1/instances/{instance_id}/attempts",
        "outcomes": "/v1/instances/{instance_id}/outcomes",
        "batch": "/v1/outcomes",
    }
)

_VERBS: Final[Mapping[str, Route]] = MappingProxyType(
    {"attempts": "attempts", "outcomes": "outcomes"}
)


def _length(header: bytes | None) -> int | None:
    # The server has seen that it is a number.
    return None if header is None else int(header)


def _parent(headers: Mapping[bytes, bytes]) -> Remote | None:
    header = headers.get(b"traceparent")
    if header is None:
        return None
    state = headers.get(b"tracestate", b"")
    return parse_traceparent(header.decode("latin-1"), state.decode("latin-1"))


def _target(path: str) -> tuple[Route, str] | None:
    if path == "/v1/outcomes":
        return "batch", ""
    if not path.startswith(_INSTANCES):
        return None
    instance_id, _, verb = path[len(_INSTANCES) :].partition("/")
    route = _VERBS.get(verb)
    if route is None or not _is_instance_id(instance_id):
        return None
    return route, instance_id
