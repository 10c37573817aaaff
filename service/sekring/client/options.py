"""What a client is told when it is made."""

import os
import re
from typing import Final, Self

from msgspec import Struct

from sekring.errors import SettingsError
from sekring.takes import SERVICE_URL

__all__ = ["Options"]

_URL: Final = "http://localhost:8000"

_NAME: Final = re.compile(r"[\x21-\x7e]{1,128}")


class Options(Struct, frozen=True, kw_only=True):
    """Where the service is, and how the client goes about it. Times are in seconds."""

    url: str
    #: An API token of the role `gateway`, where the service asks for one.
    token: str | None = None
    #: The gateway's name, for the audit trail; and its library and version, which WhatsApp may
    #: refuse.
    gateway: str | None = None
    build: str | None = None
    #: How old what the view says may be, at most. An older view is not gone by. The stream proves
    #: itself about once a second: below two seconds, the service is asked often.
    staleness: float = 3.0
    #: How long anybody waits for an answer of the service.
    patience: float = 2.0
    #: How long reports are gathered. Failures do not wait.
    flush_every: float = 0.1
    #: Reports that are kept, at most; of more, the oldest goes.
    kept_max: int = 100_000
    #: How long the end waits for what is yet to be reported.
    close_within: float = 5.0

    @classmethod
    def make(cls, url: str | None, token: str | None, **others: object) -> Self:
        """Return the options; what is not given comes from SEKRING_URL and SEKRING_TOKEN.

        Raises:
            SettingsError: one of them takes no such value; names it.
        """
        given = url or os.environ.get("SEKRING_URL") or _URL
        try:
            address = SERVICE_URL.parse(given)
        except ValueError:
            raise SettingsError(
                f"url (or SEKRING_URL) is {given!r}; it takes {SERVICE_URL.words}."
            ) from None
        token = token or os.environ.get("SEKRING_TOKEN") or None
        options = cls(url=address, token=token, **others)  # type: ignore[arg-type]
        options.check()
        return options

    def check(self) -> None:
        """Raise SettingsError where a value makes no sense."""
        for name in ("staleness", "patience", "flush_every", "close_within", "kept_max"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise SettingsError(f"{name} is {value!r}; it takes a number above 0.")
        for name in ("gateway", "build"):
            text = getattr(self, name)
            if text is not None and not _NAME.fullmatch(text):
                raise SettingsError(
                    f"{name} is {text!r}; it takes 1 to 128 printable ASCII characters without"
                    " spaces."
                )
        if self.token is not None and not _NAME.fullmatch(self.token[:128]):
            raise SettingsError("token (or SEKRING_TOKEN) takes printable ASCII without spaces.")
