"""The guide's address that resets: by POST for programs, and opened in a browser."""

import re
from typing import Any

from litestar import Controller, HttpMethod, MediaType, Request, Response, get, post, route
from litestar.exceptions import MethodNotAllowedException
from litestar.openapi.datastructures import ResponseSpec

from sekring.console.resetpage import ResetPage
from sekring.console.result import RESULT
from sekring.guide import GuideError, ResetDone
from sekring.http.auth import may
from sekring.http.browser import accepts_html, is_form_of_a_page, user_chose_the_address
from sekring.http.examples import GUIDE_RESET, documented
from sekring.http.options import GUIDE, NEEDS, PAGE
from sekring.http.origin import origin_of
from sekring.http.parameters import PathId
from sekring.http.runtime import Runtime
from sekring.model import INSTANCE_ID_PATTERN, State
from sekring.tokens import Permission

__all__ = ["Reset", "reset_words"]

_PATH = "/reset-circuit-breaker/{instance_id:str}"

#: What the audit trail has as the reason.
_OPENED = "address opened in a browser"

_PAGE_ERRORS = (400, 401, 403, 405, 409, 503)
_PAGE_ANSWERS = documented(ResetDone, GUIDE_RESET, *_PAGE_ERRORS, error=GuideError) | {
    200: ResponseSpec(str, description="The page.", media_type=MediaType.HTML)
}

_Request = Request[Any, Any, Any]


async def take_form(request: _Request) -> Response[str] | None:
    """Answer a POST that is the form of our page: a hook before the answer to programs.

    A wrong id passes; the route itself refuses it.
    """
    instance_id = request.path_params["instance_id"]
    if not is_form_of_a_page(request) or not re.match(INSTANCE_ID_PATTERN, instance_id):
        return None
    return await ResetPage(request, instance_id).take_form()


class Reset(Controller):
    """One controller, since all of one path must be in one."""

    tags = ["guide"]
    opt = {GUIDE: True, PAGE: True, NEEDS: Permission.READ}

    @post(
        _PATH,
        operation_id="resetCircuitBreaker",
        summary="Reset one instance's breaker",
        status_code=200,
        opt={NEEDS: Permission.OPERATE},
        before_request=take_form,
        responses=documented(ResetDone, GUIDE_RESET, 400, 401, 403, 409, 503, error=GuideError),
    )
    async def reset(self, request: _Request, runtime: Runtime, instance_id: PathId) -> ResetDone:
        """Close the breaker at once and clear failures and retries."""
        done = await runtime.breaker.reset(instance_id, origin_of(request))
        return ResetDone(
            status="success",
            message=reset_words(instance_id, done.was, known=done.known),
            instance_id=instance_id,
            was=done.was,
            state=done.state,
        )

    @get(
        _PATH,
        operation_id="resetCircuitBreakerPage",
        summary="The page to reset it in a browser",
        media_type=MediaType.HTML,
        responses=_PAGE_ANSWERS,
    )
    async def page(self, request: _Request, instance_id: PathId) -> Response[str]:
        """Reset if the user himself opened the address in a browser; else show the state.

        Links, previews, prefetches and pages of other sites change nothing. A program is answered
        405: it resets by POST.
        """
        _refuse_programs(request)
        page = ResetPage(request, instance_id)
        if (
            user_chose_the_address(request)
            and RESULT not in request.query_params
            and may(request.auth, Permission.OPERATE)
        ):
            return await page.reset(_OPENED)
        return await page.show()

    @route(_PATH, http_method=HttpMethod.HEAD, media_type=MediaType.HTML, include_in_schema=False)
    async def head(self, request: _Request, instance_id: PathId) -> Response[str]:
        """Answer as `page` does, without the page; never resets."""
        _refuse_programs(request)
        return await ResetPage(request, instance_id).show()


def reset_words(instance_id: str, was: State, *, known: bool) -> str:
    """Say in a sentence what a reset did."""
    if not known:
        return f"Nothing is known of {instance_id}: its circuit breaker is closed."
    if was is State.CLOSED:
        return f"Circuit breaker for {instance_id} was closed; failures and retries are cleared."
    return f"Circuit breaker for {instance_id} has been reset; it was {was}."


def _refuse_programs(request: _Request) -> None:
    if not accepts_html(request):
        path = request.scope["path"]
        raise MethodNotAllowedException(
            f"GET changes nothing here and shows a page to browsers only; send POST {path} "
            f"instead, for example: curl -X POST {str(request.base_url).rstrip('/')}{path}",
            headers={"Allow": "POST"},
        )
