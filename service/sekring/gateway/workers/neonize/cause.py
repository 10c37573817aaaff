"""Why a connection ended, before it is told."""

import re
from typing import Final

from msgspec import Struct

from sekring.gateway.workers.messages import Failed
from sekring.taxonomy import Kind

__all__ = ["DETAIL_CHARACTERS", "Cause"]

#: So much of a detail is kept; the service keeps no more either.
DETAIL_CHARACTERS: Final = 300

#: User and password in a URL: a proxy's, which Go repeats when it cannot read the URL.
_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s\"]*@")


class Cause(Struct, frozen=True, kw_only=True):
    """What a library said: a `kind` that the driver found, or the server's own `code`.

    A code is classified by the service (`sekring.taxonomy`), never here.
    """

    detail: str
    kind: Kind | None = None
    code: int | None = None
    #: As in `Failed`.
    ban_expire: int | None = None

    def failed(self, instance_id: str) -> Failed:
        """Return it as the event that the supervisor gets, its detail bounded."""
        return Failed(
            instance_id=instance_id,
            detail=_bounded(self.detail),
            kind=self.kind,
            protocol=None if self.code is None else "whatsmeow",
            code=self.code,
            ban_expire=self.ban_expire,
        )


def _bounded(text: str) -> str:
    """Shorten a text to its end, where Go puts the cause, and take passwords out."""
    text = _CREDENTIALS.sub("…@", " ".join(text.split()))
    if len(text) <= DETAIL_CHARACTERS:
        return text
    return "…" + text[1 - DETAIL_CHARACTERS :]
