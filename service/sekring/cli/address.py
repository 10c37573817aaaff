"""Where the service is and with which token: from `--url`, SEKRING_URL and SEKRING_TOKEN."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from sekring.errors import SettingsError

__all__ = ["DEFAULT_URL", "Address", "address"]

DEFAULT_URL: Final = "http://localhost:8000"


class Address(Struct, frozen=True):
    """A service; the URL has no slash at its end."""

    url: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Address({self.url!r})"


def address(option: str | None, environ: Mapping[str, str]) -> Address:
    """Return where to send requests: the option goes before the variable.

    Raises:
        SettingsError: the URL or the token cannot be one; the token is not shown.
    """
    source = "--url" if option else "SEKRING_URL"
    url = _url(source, option or environ.get("SEKRING_URL") or DEFAULT_URL)
    token = environ.get("SEKRING_TOKEN") or None
    if token and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise SettingsError(
            "SEKRING_TOKEN holds a space, a line break or another character that no token has."
        )
    return Address(url, token)


def _url(source: str, text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable, parts = False, urlsplit("")
    if "@" in parts.netloc or "@" in text.partition("//")[2].partition("/")[0]:
        raise SettingsError(
            f"{source}: a URL with a user or a password is not taken; the token is SEKRING_TOKEN."
        )
    if not usable or parts.query or parts.fragment or not text.isprintable() or " " in text:
        hint = ""
        if "://" not in text and re.fullmatch(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?", text):
            hint = f" Did you mean http://{text}?"
        raise SettingsError(f"{source}: got {text!r}, takes http://host:port or https://….{hint}")
    return text.rstrip("/")
