"""Device JIDs: `6281234567890:7@s.whatsapp.net`, as the device store writes them."""

import re
from typing import Final

from msgspec import Struct

from sekring.errors import DriverError

__all__ = ["Jid"]

_JID: Final = re.compile(
    r"(?P<user>[^.:@\s]+)(?:\.(?P<agent>\d{1,3}))?(?::(?P<device>\d{1,5}))?@(?P<server>[\w.]+)"
)
_PHONE: Final = re.compile(r"\+?([1-9]\d{6,14})")


class Jid(Struct, frozen=True):
    """A JID in its parts."""

    user: str
    server: str = "s.whatsapp.net"
    device: int = 0
    agent: int = 0

    @classmethod
    def parse(cls, text: str) -> "Jid":
        """Read a JID.

        Raises:
            DriverError: it is none.
        """
        found = _JID.fullmatch(text)
        if not found:
            raise DriverError(f"{text!r} is no JID; one looks like 6281234567890:7@s.whatsapp.net.")
        device, agent = int(found["device"] or 0), int(found["agent"] or 0)
        return cls(found["user"], found["server"], device, agent)

    @classmethod
    def recipient(cls, text: str) -> "Jid":
        """Read whom a message goes to: a JID, or an international phone number.

        Raises:
            DriverError: it is neither.
        """
        if phone := _PHONE.fullmatch(text):
            return cls(phone[1])
        return cls.parse(text)

    def __str__(self) -> str:
        """Return it as whatsmeow writes it."""
        agent = f".{self.agent}" if self.agent else ""
        device = f":{self.device}" if self.device or self.agent else ""
        return f"{self.user}{agent}{device}@{self.server}"
