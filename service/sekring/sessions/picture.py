"""QR codes as pictures."""

import segno

__all__ = ["data_url"]

#: Pixels of a module: codes of WhatsApp (some 240 characters) become about 400 pixels wide, which
#: phones read from a screen at arm's length.
_SCALE = 6

#: White modules around it, as ISO/IEC 18004 asks for: without them phones find no code on dark
#: pages.
_QUIET_ZONE = 4


def data_url(code: str) -> str:
    """Return a PNG of the QR code with that content, as a `data:` URL."""
    # The least correction: a screen is not torn, and larger modules are read more easily.
    picture = segno.make_qr(code, error="l", boost_error=False)
    return picture.png_data_uri(scale=_SCALE, border=_QUIET_ZONE)
