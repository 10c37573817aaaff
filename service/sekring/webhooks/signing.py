"""Signs what webhooks deliver, as Standard Webhooks (standardwebhooks.com) has it."""

import base64
import hashlib
import hmac
import secrets
from typing import Final

__all__ = ["headers_of", "key_of", "new_secret"]

_PREFIX: Final = "whsec_"

#: Bytes of a key, as the convention has them.
_KEY_MIN: Final = 24
_KEY_MAX: Final = 64


def new_secret() -> str:
    """Make a secret, `whsec_` and base64, from the system's random source."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """Return the key in a secret.

    Raises:
        ValueError: it is not `whsec_` and the base64 of 24 to 64 bytes.
    """
    prefix, encoded = secret[: len(_PREFIX)], secret[len(_PREFIX) :]
    try:
        key = base64.b64decode(encoded.encode("ascii"), validate=True)
    except ValueError:
        key = b""
    if prefix != _PREFIX or not _KEY_MIN <= len(key) <= _KEY_MAX:
        # Without the cause, which may quote the secret.
        raise ValueError("no secret") from None
    return key


def headers_of(secret: str, event_id: str, now_s: int, body: bytes) -> dict[str, str]:
    """Return the headers by which a receiver knows who sent `body`, and tells repeats apart.

    `now_s` is the Unix time of this attempt: a receiver refuses old ones, which others may replay.
    """
    signed = f"{event_id}.{now_s}.".encode() + body
    mac = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }
