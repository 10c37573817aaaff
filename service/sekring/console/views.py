"""Pages made from the templates, in the reader's language."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jinja2
from litestar import Request, Response

from sekring import __version__
from sekring.console.assets import AssetBook
from sekring.console.forms import Forms
from sekring.console.language import Words, preferred_language, read_words
from sekring.console.said import Said
from sekring.http.auth import session_caller
from sekring.http.runtime import Runtime

__all__ = ["NAVIGATION", "Views", "instance_page"]

#: The console's pages, as its header links them: a page's own word, and its address.
NAVIGATION: tuple[tuple[str, str], ...] = (("fleet", "/"), ("policy", "/policy"))

_PAGE_HEADERS = MappingProxyType(
    {
        # With `no-referrer`, browsers would send our own forms with `Origin: null`, which cannot be
        # told from another site's.
        "referrer-policy": "same-origin",
        "x-robots-tag": "noindex",
    }
)

#: For pages with scripts: files of ours, that talk to us. Nothing in a page is ever run as one.
_SCRIPTED_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def instance_page(instance_id: str) -> str:
    """Return the address of an instance's page."""
    return f"/instances/{instance_id}"


class Views:
    """Made once a process by the composition root."""

    def __init__(self, assets: AssetBook) -> None:
        """Read the words; pages load their files from `assets`.

        Templates are compiled when they are first used: all of them would take a fifth of the time
        in which a replica starts.
        """
        self._words = read_words()
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("sekring.console"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "assets": assets.addresses,
            "instance_page": instance_page,
            "navigation": NAVIGATION,
            "version": __version__,
        }

    def words(self, request: Request[Any, Any, Any]) -> Words:
        """Return the words in the language that the request's sender prefers."""
        return self._words[preferred_language(request.headers.get("accept-language", ""))]

    def page(
        self,
        request: Request[Any, Any, Any],
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        scripted: bool = False,
        **context: object,
    ) -> Response[str]:
        """Return `template` as an answer to `request`; `forms` in it makes the forms' tokens.

        Only a `scripted` one may run our scripts. It also shows what the form that led here did.
        """
        runtime: Runtime = request.app.state.runtime
        words = self.words(request)
        forms = Forms(request, runtime) if runtime.claim else None
        if scripted:
            context["said"] = Said.of(request, runtime)
        body = self.render(
            template,
            words,
            forms=forms,
            session=session_caller(request, runtime) if runtime.tokens else None,
            **context,
        )
        policy = {"content-security-policy": _SCRIPTED_POLICY} if scripted else {}
        return Response(
            body,
            status_code=status,
            media_type="text/html",
            headers={
                **_PAGE_HEADERS,
                **policy,
                "content-language": words.language,
                **(headers or {}),
            },
            cookies=[forms.cookie] if forms and forms.cookie else None,
        )

    def render(self, template: str, words: Words, **context: object) -> str:
        """Return `template` in these words: a page's source, or a part of one."""
        return self._environment.get_template(template).render(words=words, **context)
