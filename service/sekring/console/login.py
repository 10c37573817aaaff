"""`/login` and `/login/end`: a browser trades an API token for a cookie, and gives it back.

The guide has given `/logout` to sessions (`sekring.http.messaging`).
"""

import asyncio
import re
from typing import Any

from litestar import Controller, MediaType, Request, Response, get, post
from litestar.response import Redirect

from sekring.console.forms import TOKEN_FIELD, Forms, is_https, kept_cookie
from sekring.console.views import Views
from sekring.http.auth import SESSION_COOKIE, SESSION_S, Signer, session_caller
from sekring.http.options import DEADLINE_S, NEEDS, PAGE
from sekring.http.runtime import Runtime
from sekring.tokens import token_id_of

__all__ = ["Login", "local_path"]

#: Where a login leads that came from nowhere: there it says who is logged in.
_HERE = "/login"

#: How long a wrong token is thought about, in seconds. A token cannot be guessed; what tries is
#: not to be served at the speed of the network.
_WRONG_TOKEN_PAUSE_S = 1.0

#: A path of this site. Browsers read `//host`, and `\\` as `/`, as another site, and drop tabs and
#: line breaks before they look.
_LOCAL_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]{0,2000}")

_Request = Request[Any, Any, Any]


class Login(Controller):
    """Open to everybody; what it asks for is the token."""

    opt = {NEEDS: None, PAGE: True, DEADLINE_S: 10}
    include_in_schema = False

    @get("/login", media_type=MediaType.HTML)
    async def show(self, request: _Request, runtime: Runtime, views: Views) -> Response[Any]:
        """Show the form, or who is logged in."""
        if runtime.tokens:
            runtime.claimed()
        next_path = local_path(request.query_params.get("next"))
        known = not runtime.tokens or session_caller(request, runtime) is not None
        if known and next_path != _HERE:
            return Redirect(next_path, status_code=303)
        return _page(request, runtime, views, next_path)

    @post("/login", media_type=MediaType.HTML, status_code=200)
    async def log_in(self, request: _Request, runtime: Runtime, views: Views) -> Response[Any]:
        """Set the cookie for a known token, and go on to where the login was asked for."""
        fields = await request.form()
        next_path = local_path(fields.get("next"))
        # Without this, another site could log its visitor in as somebody else.
        if not Forms(request, runtime).accepts("login", fields.get(TOKEN_FIELD)):
            return _page(request, runtime, views, next_path, status=403, problem="login_stale")
        token = str(fields.get("token", "")).strip()
        token_id = token_id_of(token)
        if token_id is None or runtime.tokens.caller_of(token) is None:
            await asyncio.sleep(_WRONG_TOKEN_PAUSE_S)
            return _page(request, runtime, views, next_path, status=401, problem="login_wrong")
        signed = Signer(runtime.secret).sign("session", token_id, SESSION_S)
        cookie = kept_cookie(SESSION_COOKIE, signed, secure=is_https(request), max_age=SESSION_S)
        return Redirect(next_path, status_code=303, cookies=[cookie])

    @post("/login/end", media_type=MediaType.HTML, status_code=200)
    async def log_out(self, request: _Request, runtime: Runtime, views: Views) -> Response[Any]:
        """Take the cookie back."""
        fields = await request.form()
        if not Forms(request, runtime).accepts("logout", fields.get(TOKEN_FIELD)):
            return _page(request, runtime, views, _HERE, status=403, problem="login_stale")
        gone = kept_cookie(SESSION_COOKIE, "", secure=is_https(request), max_age=0)
        return Redirect(_HERE, status_code=303, cookies=[gone])


def local_path(wanted: object, *, otherwise: str = _HERE) -> str:
    """Return the path that a form leads to: `wanted` if it is one of this site."""
    if isinstance(wanted, str) and _LOCAL_PATH.fullmatch(wanted):
        return wanted
    return otherwise


def _page(
    request: _Request,
    runtime: Runtime,
    views: Views,
    next_path: str,
    *,
    status: int = 200,
    problem: str | None = None,
) -> Response[str]:
    return views.page(
        request,
        "login.html",
        status=status,
        has_tokens=bool(runtime.tokens),
        next_path=next_path,
        problem=problem,
    )
