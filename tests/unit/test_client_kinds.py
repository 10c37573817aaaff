"""What kind of failure an exception is taken for."""

import asyncio
import errno
import socket
import ssl

import httpx
import pytest

from sekring.client.kinds import kind_of
from sekring.taxonomy import Kind


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


class ProxyConnectionError(OSError):
    """As python-socks names it."""


class WSServerHandshakeError(Exception):
    """As aiohttp names it."""


class ConnectionClosedError(Exception):
    """As websockets names it."""

    __module__ = "websockets.exceptions"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), Kind.TIMEOUT),
        (OSError(errno.ETIMEDOUT, "timed out"), Kind.TIMEOUT),
        (httpx.ConnectTimeout("slow"), Kind.TIMEOUT),
        (socket.gaierror(-2, "unknown name"), Kind.DNS),
        (caused(httpx.ConnectError("no"), socket.gaierror(-2, "unknown name")), Kind.DNS),
        (ConnectionRefusedError(), Kind.REFUSED),
        (OSError(errno.EHOSTUNREACH, "no route"), Kind.REFUSED),
        (ssl.SSLCertVerificationError(1, "expired"), Kind.TLS),
        (caused(OSError("connect failed"), ssl.SSLError(1, "handshake")), Kind.TLS),
        (httpx.ProxyError("407"), Kind.PROXY),
        (ProxyConnectionError("no"), Kind.PROXY),
        (WSServerHandshakeError("403"), Kind.HANDSHAKE),
        (ConnectionClosedError("1006"), Kind.WEBSOCKET),
        (ConnectionResetError(), Kind.DISCONNECTED),
        (asyncio.IncompleteReadError(b"", 5), Kind.DISCONNECTED),
        (ExceptionGroup("both", [ValueError(), ConnectionRefusedError()]), Kind.REFUSED),
        (caused(RuntimeError("connect"), TimeoutError()), Kind.TIMEOUT),
        (ValueError("anything"), Kind.UNKNOWN),
    ],
)
def test_common_exceptions_are_known(error: BaseException, kind: Kind) -> None:
    assert kind_of(error) is kind


def test_what_says_nothing_is_what_the_caller_takes_it_for() -> None:
    assert kind_of(ValueError(), Kind.DISCONNECTED) is Kind.DISCONNECTED


def test_exceptions_that_cause_each_other_come_to_an_end() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one

    assert kind_of(one) is Kind.UNKNOWN


def test_a_cause_that_is_hidden_says_nothing() -> None:
    error = ValueError()
    error.__context__ = TimeoutError()
    assert kind_of(error) is Kind.TIMEOUT

    error.__suppress_context__ = True  # `from None`
    assert kind_of(error) is Kind.UNKNOWN
