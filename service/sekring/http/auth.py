"""Who sends a request, and whether they may: a guard in front of every route.

A program sends its token as ``Authorization: Bearer …`` (on the guide's routes also as
`access_token`); a browser has a signed cookie from the login page. Where no token is configured
only this machine can reach the service, and everybody is an operator.
"""

import hashlib
import hmac
import time
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from sekring.binding import is_loopback
from sekring.errors import NotAllowed, NotAuthenticated
from sekring.http.options import GUIDE, NEEDS
from sekring.http.runtime import Runtime
from sekring.tokens import ANYONE, Caller, Permission

__all__ = [
    "SESSION_COOKIE",
    "SESSION_S",
    "Signer",
    "authorize",
    "is_answered_host",
    "may",
    "session_caller",
]

SESSION_COOKIE = "sekring_session"

#: How long a login lasts, in seconds.
SESSION_S = 43_200

_Connection = ASGIConnection[Any, Any, Any, Any]


class Signer:
    """Signs what a browser keeps for us; every replica of a keyspace has the same secret."""

    def __init__(self, secret: str) -> None:
        """Derive the key from the keyspace's secret."""
        self._key = hashlib.sha256(b"sekring cookies:" + secret.encode()).digest()

    def sign(self, purpose: str, value: str, lifetime_s: int) -> str:
        """Return `value` with its expiry and a signature."""
        payload = f"{value}.{int(time.time()) + lifetime_s}"
        return f"{payload}.{self._mac(purpose, payload)}"

    def verify(self, purpose: str, signed: str) -> str | None:
        """Return the value that was signed for `purpose`, unless it is forged or has expired."""
        payload, _, mac = signed.rpartition(".")
        value, _, expires = payload.rpartition(".")
        if not hmac.compare_digest(self._mac(purpose, payload).encode(), mac.encode()):
            return None
        return value if int(expires) > time.time() else None

    def _mac(self, purpose: str, payload: str) -> str:
        message = f"{purpose}\n{payload}".encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


async def authorize(connection: _Connection, handler: BaseRouteHandler) -> None:
    """Litestar's guard: find the caller, or refuse.

    Nothing here waits, but Litestar would run a plain function in a thread, at a request's cost.

    Raises:
        NotAuthenticated: no token, or an unknown one.
        NotAllowed: the role does not suffice, or a web page of another site sends the request.
        StoreUnavailable: Redis was not reached yet since the start.
    """
    needs: Permission | None = handler.opt.get(NEEDS, Permission.OPERATE)
    if needs is None:
        return
    _refuse_other_sites(connection)
    runtime: Runtime = connection.app.state.runtime
    if needs is not Permission.REPORT:  # that goes on without Redis
        runtime.claimed()
    caller = _caller(connection, handler, runtime)
    if not may(caller, needs):
        raise NotAllowed(
            f"The token '{caller.name}' has the role {caller.role}, which may not "
            f"{needs}: use one with the role that the route asks for."
        )
    connection.scope["auth"] = caller


def may(caller: Caller, permission: Permission) -> bool:
    """Tell whether the caller's role includes the permission."""
    return permission in caller.role.permissions


def _caller(connection: _Connection, handler: BaseRouteHandler, runtime: Runtime) -> Caller:
    if not runtime.tokens:
        _refuse_other_hosts(connection, runtime)
        return ANYONE
    token = connection.headers.get("authorization", "")
    scheme, _, credentials = token.partition(" ")
    if scheme.lower() == "bearer":
        token = credentials.strip()
    elif handler.opt.get(GUIDE):
        token = connection.query_params.get("access_token", "")
    else:
        token = ""
    if token:
        if caller := runtime.tokens.caller_of(token):
            return caller
        raise NotAuthenticated("The token is not known to this service.")
    if caller := session_caller(connection, runtime):
        return caller
    raise NotAuthenticated("A token is missing: send it as 'Authorization: Bearer …'.")


def session_caller(connection: _Connection, runtime: Runtime) -> Caller | None:
    """Return whom the browser's cookie stands for; `None` if for nobody."""
    cookie = connection.cookies.get(SESSION_COOKIE)
    if not cookie or runtime.claim is None:
        return None
    # The token's id, so that a login ends with its token.
    token_id = Signer(runtime.claim.secret).verify("session", cookie)
    return runtime.tokens.caller_with_id(token_id) if token_id is not None else None


def _refuse_other_sites(connection: _Connection) -> None:
    """Refuse changes that a page of another site asks this browser to make."""
    if connection.scope.get("method") in {"GET", "HEAD", "OPTIONS"}:
        return
    origin = connection.headers.get("origin")
    host = connection.headers.get("host", "")
    foreign = origin is not None and urlsplit(origin).netloc != host
    if foreign or connection.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
        raise NotAllowed("The request comes from a page of another site.")


def _refuse_other_hosts(connection: _Connection, runtime: Runtime) -> None:
    host = connection.headers.get("host", "")
    if not is_answered_host(host, runtime):
        raise NotAllowed(
            f"No token is configured, so only localhost is answered, not '{_hostname(host)}': "
            "configure tokens (`sekring token new`)."
        )


def is_answered_host(host: str, runtime: Runtime) -> bool:
    """Tell whether requests for that `Host` are answered where no token is configured.

    Some site's DNS may have pointed another name at this machine.
    """
    return runtime.settings.insecure or is_loopback(_hostname(host))


def _hostname(host: str) -> str:
    return urlsplit(f"//{host}").hostname or ""
