"""The page behind `/reset-circuit-breaker/{id}`: shows an instance, and resets it."""

from typing import Any
from urllib.parse import urlencode

from litestar import Request, Response
from litestar.response import Redirect

from sekring.console.forms import TOKEN_FIELD, Forms
from sekring.console.result import RESULT, ResetResult
from sekring.console.views import Views
from sekring.errors import Refused
from sekring.http.auth import Signer, may
from sekring.http.origin import origin_of
from sekring.http.runtime import Runtime
from sekring.model import State
from sekring.tokens import Permission

__all__ = ["ResetPage"]

#: What the audit trail has as the reason.
_PRESSED = "button on the reset page"


class ResetPage:
    """The page of one instance, as one request gets it."""

    def __init__(self, request: Request[Any, Any, Any], instance_id: str) -> None:
        """Show `instance_id`; the guard has found the caller."""
        self._request = request
        self._instance_id = instance_id
        self._runtime: Runtime = request.app.state.runtime
        self._views: Views = request.app.state.views
        self._secret = self._runtime.secret

    async def show(self, *, status: int = 200, notice: str | None = None) -> Response[str]:
        """Show the state, with a button where the caller may reset; changes nothing."""
        found = await self._runtime.breaker.status(self._instance_id)
        snapshot = found.snapshot
        return self._views.page(
            self._request,
            "reset.html",
            status=status,
            notice=notice,
            caller=self._request.auth,
            may_reset=may(self._request.auth, Permission.OPERATE),
            snapshot=snapshot,
            policy=found.policy,
            banned=snapshot.terminal == "banned" or (snapshot.ban_until_ms or 0) > snapshot.now_ms,
            result=self._result(),
            action=self._address(),
        )

    async def reset(self, reason: str) -> Response[str]:
        """Reset, and lead on to the result; a ban in force is shown with 409."""
        # For the page only; whether and what is reset, the script decides.
        before = (await self._runtime.breaker.status(self._instance_id)).snapshot
        try:
            done = await self._runtime.breaker.reset(
                self._instance_id, origin_of(self._request, reason)
            )
        except Refused:
            return await self.show(status=409, notice="banned")
        return self._lead_to(
            ResetResult(done.was, before.now_ms, before.failures, before.retry_attempts)
        )

    async def take_form(self) -> Response[str]:
        """Reset as the page's button asks; a form that is not from this page changes nothing."""
        fields = await self._request.form()
        forms = Forms(self._request, self._runtime)
        if not forms.accepts(self._instance_id, fields.get(TOKEN_FIELD)):
            return await self.show(status=403, notice="stale")
        if fields.get("shown") != State.CLOSED and (result := await self._already_reset()):
            return self._lead_to(result)
        return await self.reset(_PRESSED)

    async def _already_reset(self) -> ResetResult | None:
        """Return what the reset just before did: a double click sends the form twice."""
        now = (await self._runtime.breaker.status(self._instance_id)).snapshot
        if now.state is not State.CLOSED or now.failures:
            return None
        latest = await self._runtime.breaker.history(self._instance_id, 1)
        if not latest or latest[0].action != "reset":
            return None
        return ResetResult(State(latest[0].before), latest[0].at_ms)

    def _result(self) -> ResetResult | None:
        signed = self._request.query_params.get(RESULT)
        if signed is None:
            return None
        return ResetResult.verify(Signer(self._secret), self._instance_id, signed)

    def _lead_to(self, result: ResetResult) -> Redirect:
        signed = result.sign(Signer(self._secret), self._instance_id)
        return Redirect(self._address(**{RESULT: signed}), status_code=303)

    def _address(self, **parameters: str) -> str:
        """Return the page's own address, with the token in it if it has one."""
        token = self._request.query_params.get("access_token")
        query = urlencode({**({"access_token": token} if token else {}), **parameters})
        path: str = self._request.scope["path"]
        return f"{path}?{query}" if query else path
