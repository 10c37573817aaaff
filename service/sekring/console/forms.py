"""Tokens that tie a form to the browser that it was shown to, and to what it is for.

A page of another site cannot read our pages and so cannot send such a token. It is bound to the
login, or to a random cookie of the browser where there is no login.
"""

import hashlib
import hmac
import secrets
from typing import Any

from litestar import Request
from litestar.datastructures import Cookie

from sekring.http.auth import SESSION_COOKIE, SESSION_S, Signer, session_caller
from sekring.http.runtime import Runtime

__all__ = ["BROWSER_COOKIE", "TOKEN_FIELD", "Forms", "is_https", "kept_cookie"]

#: A random name that a browser gets with the first form.
BROWSER_COOKIE = "sekring_browser"

#: The hidden field of a form.
TOKEN_FIELD = "csrf"  # noqa: S105 - a field's name

#: How long a form may stay open, in seconds: as long as a login.
_LIFETIME_S = SESSION_S


class Forms:
    """The forms of one request: makes their tokens and checks the one that was sent."""

    def __init__(self, request: Request[Any, Any, Any], runtime: Runtime) -> None:
        """Find out what binds the forms of this browser.

        Raises:
            StoreUnavailable: Redis was not reached yet since the start.
        """
        self._signer = Signer(runtime.secret)
        self._secure = is_https(request)
        #: The cookie that the answer must set for its forms to be accepted; `None` if it is there.
        self.cookie: Cookie | None = None
        if runtime.tokens and session_caller(request, runtime):
            self._binding = f"session {request.cookies[SESSION_COOKIE]}"
        else:
            name = request.cookies.get(BROWSER_COOKIE)
            if not name:
                name = secrets.token_urlsafe(24)
                self.cookie = kept_cookie(BROWSER_COOKIE, name, secure=self._secure)
            self._binding = f"browser {name}"

    def token(self, purpose: str) -> str:
        """Return the token of a form that does `purpose`."""
        return self._signer.sign("form", self._value(purpose), _LIFETIME_S)

    def accepts(self, purpose: str, token: object) -> bool:
        """Tell whether `token` was made for `purpose` and this browser, and has not expired."""
        value = self._signer.verify("form", token) if isinstance(token, str) else None
        return value is not None and hmac.compare_digest(value, self._value(purpose))

    def _value(self, purpose: str) -> str:
        return hashlib.sha256(f"{purpose}\n{self._binding}".encode()).hexdigest()


def kept_cookie(key: str, value: str, *, secure: bool, max_age: int | None = None) -> Cookie:
    """Return a cookie that no script reads and that no other site's page makes a browser send."""
    return Cookie(
        key=key,
        value=value,
        max_age=max_age,
        path="/",
        httponly=True,
        samesite="strict",
        secure=secure,
    )


def is_https(request: Request[Any, Any, Any]) -> bool:
    """Tell whether the browser's own connection is encrypted, here or at a proxy in front."""
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    return (forwarded or request.scope["scheme"]) == "https"
