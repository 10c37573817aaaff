"""A form as one request gets it: alone on a page, or as a dialog over the page that asked for it.

Without scripts its link leads to a page with the form, and the form leads on to a page that says
what it did. With them the same addresses answer with the form alone, and with the sentence alone.
"""

from typing import Any

from litestar import Response
from litestar.plugins.htmx import HTMXHeaders, HTMXRequest
from litestar.response import Redirect

from sekring.console.forms import TOKEN_FIELD, Forms
from sekring.console.login import local_path
from sekring.console.said import Said
from sekring.console.views import Views
from sekring.http.runtime import Runtime

__all__ = ["Dialog", "Fields"]

#: What a form sends.
Fields = dict[str, str]


class Dialog:
    """Shows one form, checks what it sends, and says what that did."""

    def __init__(self, request: HTMXRequest, *, template: str, purpose: str) -> None:
        """Show `template`; the token of its form is for `purpose` alone."""
        self._request = request
        self._template = template
        self._purpose = purpose
        self._runtime: Runtime = request.app.state.runtime
        self._views: Views = request.app.state.views

    async def fields(self) -> Fields:
        """Return what was sent, as text without spaces around it."""
        sent = await self._request.form()
        return {name: value.strip() for name, value in sent.items() if isinstance(value, str)}

    def accepts(self, fields: Fields) -> bool:
        """Tell whether the form that was sent is one that this browser was shown."""
        return Forms(self._request, self._runtime).accepts(self._purpose, fields.get(TOKEN_FIELD))

    def show(self, *, status: int = 200, problem: str = "", **context: Any) -> Response[Any]:  # noqa: ANN401
        """Show the form; `problem` says, in its reader's words, why it comes again."""
        alone = not self._request.htmx
        return self._views.page(
            self._request,
            "form.html" if alone else self._template,
            status=status,
            scripted=alone,
            here="",
            alone=alone,
            form=self._template,
            purpose=self._purpose,
            problem=problem,
            back=self._back(self._request.query_params),
            **context,
        )

    def done(self, said: Said, fields: Fields) -> Response[Any]:
        """Say what the form did: on the page behind the dialog, or on the one it leads to."""
        if not self._request.htmx:
            return Redirect(said.lead_to(self._back(fields), self._runtime), status_code=303)
        place = {HTMXHeaders.RE_TARGET.value: "#said", HTMXHeaders.RE_SWAP.value: "innerHTML"}
        return self._views.page(self._request, "parts/said.html", headers=place, said=said)

    def words(self, key: str, **values: object) -> str:
        """Return words in the reader's language."""
        return self._views.words(self._request)(key, **values)

    def _back(self, parameters: Any) -> str:  # noqa: ANN401 - a query or a form
        return local_path(parameters.get("back"), otherwise="/")
