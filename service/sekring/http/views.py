"""Pages made from the templates, in the reader's language, and the files that they load.

Everything comes from this service, and no page needs a script.
"""

import hashlib
import importlib.resources
from types import MappingProxyType
from typing import Any

import jinja2
from litestar import Controller, Request, Response, get
from litestar.exceptions import NotFoundException
from msgspec import Struct

from sekring import __version__
from sekring.http.auth import session_caller
from sekring.http.forms import Forms
from sekring.http.language import preferred_language, read_words
from sekring.http.options import NEEDS
from sekring.http.runtime import Runtime

__all__ = ["Asset", "Assets", "Views"]

_MEDIA_TYPES = MappingProxyType({"css": "text/css", "svg": "image/svg+xml"})

_PAGE_HEADERS = MappingProxyType(
    {
        # With `no-referrer`, browsers would send our own forms with `Origin: null`, which cannot be
        # told from another site's.
        "referrer-policy": "same-origin",
        "x-robots-tag": "noindex",
    }
)


class Asset(Struct, frozen=True):
    """A file that pages load. Its name holds its hash, so that browsers may keep it for ever."""

    name: str
    content: bytes
    media_type: str


class Views:
    """Made once a process by the composition root."""

    def __init__(self) -> None:
        """Read the templates, the words and the files that they name.

        Raises:
            jinja2.TemplateError: one of them cannot be parsed.
        """
        self._words = read_words()
        self.assets = {asset.name: asset for asset in _read_assets()}
        named = {_plain_name(name): f"/assets/{name}" for name in self.assets}
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("sekring.http"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {"assets": named, "version": __version__}
        for template in self._environment.list_templates():
            self._environment.get_template(template)

    def page(
        self,
        request: Request[Any, Any, Any],
        template: str,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        **context: object,
    ) -> Response[str]:
        """Return `template` as an answer to `request`; `forms` in it makes the forms' tokens."""
        runtime: Runtime = request.app.state.runtime
        words = self._words[preferred_language(request.headers.get("accept-language", ""))]
        forms = Forms(request, runtime) if runtime.claim else None
        body = self._environment.get_template(template).render(
            words=words,
            forms=forms,
            session=session_caller(request, runtime) if runtime.tokens else None,
            **context,
        )
        return Response(
            body,
            status_code=status,
            media_type="text/html",
            headers={**_PAGE_HEADERS, "content-language": words.language, **(headers or {})},
            cookies=[forms.cookie] if forms and forms.cookie else None,
        )


class Assets(Controller):
    """What the pages load."""

    path = "/assets"
    opt = {NEEDS: None}
    include_in_schema = False

    @get("/{name:str}")
    async def asset(self, views: Views, name: str) -> Response[bytes]:
        """Return a file."""
        found = views.assets.get(name)
        if found is None:
            raise NotFoundException
        return Response(
            found.content,
            media_type=found.media_type,
            headers={"cache-control": "public, max-age=31536000, immutable"},
        )


def _read_assets() -> list[Asset]:
    assets = []
    for file in importlib.resources.files("sekring.http").joinpath("assets").iterdir():
        stem, _, suffix = file.name.rpartition(".")
        if suffix in _MEDIA_TYPES:
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:12]
            assets.append(Asset(f"{stem}.{digest}.{suffix}", content, _MEDIA_TYPES[suffix]))
    return assets


def _plain_name(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return f"{stem.rpartition('.')[0]}.{suffix}"
