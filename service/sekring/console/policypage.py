"""A policy's page, as one request gets it: shown, previewed, changed, taken back."""

from collections.abc import Mapping
from typing import Any

from litestar import Response
from litestar.plugins.htmx import ClientRedirect, HTMXRequest
from litestar.response import Redirect

from sekring.console.actions import said_now
from sekring.console.dialog import Dialog
from sekring.console.forms import TOKEN_FIELD, Forms
from sekring.console.policyfields import rows_of
from sekring.console.policyform import PolicyForm, basis_of, read_patch, typed_fields
from sekring.console.policyscope import Found, Scope
from sekring.console.said import Tone
from sekring.console.views import Views
from sekring.errors import Refused
from sekring.http.auth import may
from sekring.http.origin import origin_of
from sekring.http.runtime import Runtime
from sekring.http.wanted import while_wanted
from sekring.policy import PolicyPatch
from sekring.tokens import Permission
from sekring.wire import PreviewAnswer

__all__ = ["PolicyPage"]

#: What the audit trail has as the reason.
_REASON = "console"

#: The field that names the state of the policy that a form changes.
_BASIS = "basis"


class PolicyPage:
    """The page of one policy. The form is sent as a whole: what is empty in it is not set."""

    def __init__(self, request: HTMXRequest, scope: Scope) -> None:
        """Show the policy of `scope`; the guard has found the caller."""
        self._request = request
        self._scope = scope
        self._runtime: Runtime = request.app.state.runtime
        self._views: Views = request.app.state.views
        self._words = self._views.words(request)

    async def show(self) -> Response[str]:
        """Show what is set: as a form to who may change it."""
        return self._page(await self._scope.read(self._runtime))

    async def preview(self) -> Response[str]:
        """Show what the last hour would have been like; changes nothing."""
        sent = await self._sent()
        found = await self._scope.read(self._runtime)
        typed = typed_fields(sent)
        patch, errors = read_patch(typed, found.fleet_patch, self._words)
        preview = None
        if not errors:
            # Whoever goes on typing asks anew, and does not wait for this one.
            preview = await while_wanted(
                self._request.receive, self._scope.preview(self._runtime, patch)
            )
        if not self._request.htmx:
            status = 400 if errors else 200
            return self._page(found, typed, errors, preview=preview, status=status, sent=sent)
        form = self._form(found, typed, errors)
        return self._views.page(
            self._request, "parts/preview.html", preview=preview, form=form, scope=self._scope
        )

    async def save(self) -> Response[Any]:
        """Set what was typed, unless somebody else has changed the policy since it was shown."""
        sent = await self._sent()
        found = await self._scope.read(self._runtime)
        typed = typed_fields(sent)
        if not Forms(self._request, self._runtime).accepts(
            self._scope.purpose, sent.get(TOKEN_FIELD)
        ):
            return self._page(found, typed, notice="form_stale", status=403, sent=sent)
        patch, errors = read_patch(typed, found.fleet_patch, self._words)
        if errors:
            return self._page(found, typed, errors, notice="policy_wrong", status=400, sent=sent)
        if patch == found.current.patch:
            # Sent twice, or nothing was changed.
            return self._lead_on("warn", "said_policy_same")
        if sent.get(_BASIS) == basis_of(found.current) and await self._replace(found, patch):
            return self._lead_on("good", "said_policy_saved")
        found = await self._scope.read(self._runtime)
        return self._page(found, typed, notice="policy_meanwhile", status=409)

    async def ask_drop(self) -> Response[Any]:
        """Show what taking everything back would do."""
        found = await self._scope.read(self._runtime)
        return self._show_drop(found)

    async def drop(self) -> Response[Any]:
        """Take back everything that is set, unless somebody else has changed it meanwhile."""
        dialog = self._drop_dialog()
        fields = await dialog.fields()
        found = await self._scope.read(self._runtime)
        if not dialog.accepts(fields):
            return self._show_drop(found, "form_stale", status=403)
        if found.current.patch == PolicyPatch():
            return self._lead_on("warn", "said_policy_same")
        if fields.get(_BASIS) == basis_of(found.current) and await self._replace(
            found, PolicyPatch()
        ):
            return self._lead_on("good", "said_policy_dropped")
        found = await self._scope.read(self._runtime)
        return self._show_drop(found, "policy_meanwhile_drop", status=409)

    # ------------------------------------------------------------------------------ pieces

    async def _sent(self) -> dict[str, str]:
        sent = await self._request.form()
        return {name: value for name, value in sent.items() if isinstance(value, str)}

    async def _replace(self, found: Found, patch: PolicyPatch) -> bool:
        origin = origin_of(self._request, _REASON)
        try:
            await self._scope.replace(self._runtime, patch, found.current.version, origin)
        except Refused:
            return False
        return True

    def _form(
        self,
        found: Found,
        typed: Mapping[str, str] | None = None,
        errors: Mapping[str, str] | None = None,
    ) -> PolicyForm:
        return PolicyForm.of(
            found.current,
            found.beneath,
            self._words,
            for_instance=self._scope.instance_id is not None,
            typed=typed,
            errors=errors,
        )

    def _page(
        self,
        found: Found,
        typed: Mapping[str, str] | None = None,
        errors: Mapping[str, str] | None = None,
        *,
        notice: str = "",
        preview: PreviewAnswer | None = None,
        status: int = 200,
        sent: Mapping[str, str] | None = None,
    ) -> Response[str]:
        """Show the page; a form that was `sent` keeps what it is a change of."""
        form = self._form(found, typed, errors)
        return self._views.page(
            self._request,
            "policy.html",
            status=status,
            scripted=True,
            here=self._scope.here,
            scope=self._scope,
            form=form,
            basis=(sent or {}).get(_BASIS, form.basis),
            meanwhile=notice == "policy_meanwhile",
            is_set=found.current.patch != PolicyPatch(),
            policy_groups=rows_of(
                found.current.policy,
                found.current.sources,
                for_instance=self._scope.instance_id is not None,
            ),
            notice=notice,
            preview=preview,
            may_operate=may(self._request.auth, Permission.OPERATE),
        )

    def _drop_dialog(self) -> Dialog:
        return Dialog(
            self._request, template="forms/drop.html", purpose=f"drop {self._scope.purpose}"
        )

    def _show_drop(self, found: Found, problem: str = "", *, status: int = 200) -> Response[Any]:
        return self._drop_dialog().show(
            status=status,
            problem=self._words(problem) if problem else "",
            scope=self._scope,
            set_names=[
                entry.name
                for section in self._form(found).sections
                for entry in section.entries
                if entry.text
            ],
            basis=basis_of(found.current),
        )

    def _lead_on(self, tone: Tone, key: str) -> Response[Any]:
        said = said_now(tone, key)
        address = said.lead_to(self._scope.address, self._runtime)
        if self._request.htmx:
            return ClientRedirect(redirect_to=address)
        return Redirect(address, status_code=303)
