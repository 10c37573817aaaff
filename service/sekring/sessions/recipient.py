"""To whom a message goes: a phone number or a JID, as people and waziper's clients write them."""

import re

from sekring.errors import InvalidInput

__all__ = ["recipient"]

#: What people put between the digits of a number.
_SEPARATORS = re.compile(r"[\s().-]")
_NUMBER = re.compile(r"[1-9][0-9]{6,14}")
_JID = re.compile(
    r"[0-9A-Za-z][0-9A-Za-z._:-]{0,63}@(s\.whatsapp\.net|g\.us|lid|newsletter|broadcast)"
)


def recipient(text: str, field: str) -> str:
    """Return a number's digits, or a JID.

    Raises:
        InvalidInput: it is neither; names `field`.
    """
    if "@" in text:
        # Web clients call users so.
        jid = re.sub(r"@c\.us$", "@s.whatsapp.net", text.strip())
        if _JID.fullmatch(jid):
            return jid
    else:
        digits = _SEPARATORS.sub("", text).removeprefix("+")
        if _NUMBER.fullmatch(digits):
            return digits
    raise InvalidInput(
        f"{field} takes an international phone number (digits, no leading zeros) or a JID such as "
        "6281234567890@s.whatsapp.net or 120363012345678901@g.us.",
        field,
    )
