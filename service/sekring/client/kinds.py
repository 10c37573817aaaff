"""What kind of failure an exception is, for who does not say it himself.

Libraries are not imported: their exceptions are told by their names. An exception that says nothing
passes the question on to the one that has caused it.
"""

import errno
import functools
import socket
import ssl
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from sekring.taxonomy import Kind

__all__ = ["kind_of"]

#: Parts of the names of exceptions, as aiohttp, httpx, websockets and python-socks have them.
_BY_NAME: Final = (
    ("proxy", Kind.PROXY),
    ("dns", Kind.DNS),
    ("handshake", Kind.HANDSHAKE),
    ("websocket", Kind.WEBSOCKET),
    ("certificate", Kind.TLS),
    ("timeout", Kind.TIMEOUT),
)

_BY_TYPE: Final = (
    (socket.gaierror, Kind.DNS),
    (ssl.SSLError, Kind.TLS),
    (TimeoutError, Kind.TIMEOUT),
    (ConnectionRefusedError, Kind.REFUSED),
    (ConnectionError, Kind.DISCONNECTED),
    (EOFError, Kind.DISCONNECTED),
)

_BY_ERRNO: Final = MappingProxyType(
    {
        errno.ETIMEDOUT: Kind.TIMEOUT,
        errno.ECONNREFUSED: Kind.REFUSED,
        errno.EHOSTUNREACH: Kind.REFUSED,
        errno.ENETUNREACH: Kind.REFUSED,
        errno.ECONNRESET: Kind.DISCONNECTED,
        errno.EPIPE: Kind.DISCONNECTED,
    }
)

#: Modules whose exceptions are a WebSocket's where nothing closer is known.
_WEBSOCKETS: Final = ("websockets", "websocket", "wsproto")


def kind_of(error: BaseException, otherwise: Kind = Kind.UNKNOWN) -> Kind:
    """Return the kind of a failure that ended in `error`; `otherwise` if it does not tell."""
    for one in _chain(error):
        kind = _by_name(type(one).__mro__) or _by_type(one)
        if kind is not None:
            return kind
    if any(type(one).__module__.partition(".")[0] in _WEBSOCKETS for one in _chain(error)):
        return Kind.WEBSOCKET
    return otherwise


@functools.lru_cache(maxsize=256)
def _by_name(classes: tuple[type, ...]) -> Kind | None:
    for cls in classes:
        name = cls.__name__.lower()
        for part, kind in _BY_NAME:
            if part in name:
                return kind
    return None


def _by_type(error: BaseException) -> Kind | None:
    for cls, kind in _BY_TYPE:
        if isinstance(error, cls):
            return kind
    return _BY_ERRNO.get(error.errno or 0) if isinstance(error, OSError) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that have led to it; of a group, its members."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        waiting.append(one.__cause__ or (None if one.__suppress_context__ else one.__context__))
