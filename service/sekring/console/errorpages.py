"""Errors for people: where a browser would show a page, it shows the error as one."""

from typing import Any
from urllib.parse import urlencode

from litestar import Request, Response
from litestar.handlers.base import BaseRouteHandler
from litestar.plugins.htmx import HTMXDetails, HTMXHeaders
from litestar.response import Redirect

from sekring.console.login import local_path
from sekring.console.views import Views
from sekring.errors import NotAuthenticated
from sekring.http.browser import accepts_html
from sekring.http.options import GUIDE, PAGE, option_of
from sekring.http.problems import answer, problem_of_request

__all__ = ["answer_reader"]


def answer_reader(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer a request that ended in `error`, in the form that its sender reads.

    A browser that has to log in is sent to do so, and comes back afterwards. A script of a page
    gets a sentence to put into it.
    """
    plain = answer(request, error)
    htmx = HTMXDetails(request)
    if not (htmx or accepts_html(request)) or not _is_page(request):
        return plain
    if htmx:
        return _answer_script(request, error, htmx, dict(plain.headers))
    path: str = request.scope["path"]
    if isinstance(error, NotAuthenticated):
        return Redirect(_login(_address(request)), status_code=303)
    problem = problem_of_request(request, error)
    views: Views = request.app.state.views
    return views.page(
        request,
        "error.html",
        status=problem.status,
        headers=dict(plain.headers),
        problem=problem,
        path=path,
    )


def _answer_script(
    request: Request[Any, Any, Any], error: Exception, htmx: HTMXDetails, headers: dict[str, str]
) -> Response[Any]:
    views: Views = request.app.state.views
    problem = problem_of_request(request, error)
    if isinstance(error, NotAuthenticated):
        place = {HTMXHeaders.REDIRECT.value: _login(htmx.current_url_abs_path)}
    else:
        # A form keeps what was typed into it.
        of_form = request.method == "POST" and htmx.target == "dialog"
        target = "#dialog [data-problem]" if of_form else "#said"
        place = {HTMXHeaders.RE_TARGET.value: target, HTMXHeaders.RE_SWAP.value: "innerHTML"}
    return views.page(
        request,
        "parts/problem.html",
        status=problem.status,
        headers={**headers, **place},
        problem=problem,
    )


def _address(request: Request[Any, Any, Any]) -> str:
    """Return where to come back to: on the guide's routes without the query, which has a token."""
    path: str = request.scope["path"]
    query = b"" if option_of(request.scope, GUIDE) else request.scope["query_string"]
    return f"{path}?{query.decode('ascii', 'replace')}" if query else path


def _login(back: object) -> str:
    return f"/login?{urlencode({'next': local_path(back, otherwise='/')})}"


def _is_page(request: Request[Any, Any, Any]) -> bool:
    """Tell whether a page belongs here: on a route with one, and where there is no route."""
    handler: BaseRouteHandler | None = request.scope.get("route_handler")
    return True if handler is None else bool(handler.opt.get(PAGE))
