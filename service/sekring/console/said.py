"""What a form did, as the page that it leads to says it.

A form that is sent without scripts leads on to a page, so that a reload sends nothing twice. What
it did is in that page's address, signed, so that nobody else can make one up.
"""

import base64
import binascii
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec
from litestar import Request
from msgspec import Struct

from sekring.console.language import Words
from sekring.http.auth import Signer
from sekring.http.runtime import Runtime

__all__ = ["Said", "Tone"]

#: How it went: as asked, otherwise than asked, not at all.
Tone = Literal["good", "warn", "bad"]

#: The parameter of the address.
_PARAMETER = "said"

#: How long it is said, in seconds; then the page is as it would be without.
_LIFETIME_S = 600


class Said(Struct, frozen=True, array_like=True):
    """A sentence of `words.toml`, what is filled into it, and when it became true."""

    tone: Tone
    key: str
    values: dict[str, str | int]
    at_ms: int

    def text(self, words: Words) -> str:
        """Return the sentence; numbers as the language writes them."""
        shown = {
            name: words.number(value) if isinstance(value, int) else value
            for name, value in self.values.items()
        }
        return words(self.key, **shown)

    def lead_to(self, address: str, runtime: Runtime) -> str:
        """Return `address`, a page of ours, with this in it."""
        packed = base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")
        signed = Signer(runtime.secret).sign(_PARAMETER, packed, _LIFETIME_S)
        parts = urlsplit(address)
        query = "&".join(filter(None, (parts.query, urlencode({_PARAMETER: signed}))))
        return urlunsplit(parts._replace(query=query))

    @classmethod
    def of(cls, request: Request[Any, Any, Any], runtime: Runtime) -> "Said | None":
        """Return what the request's address says; `None` if nothing, or nothing of ours."""
        signed = request.query_params.get(_PARAMETER)
        if signed is None or runtime.claim is None:
            return None
        packed = Signer(runtime.secret).verify(_PARAMETER, signed)
        if packed is None:
            return None
        try:
            padded = packed + "=" * (-len(packed) % 4)
            return msgspec.msgpack.decode(base64.urlsafe_b64decode(padded), type=cls)
        except (binascii.Error, msgspec.MsgspecError):
            return None
