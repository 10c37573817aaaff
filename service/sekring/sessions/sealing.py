"""Sealing: what only the service may read (QR codes, messages) is encrypted while Redis keeps it.

AES-256-GCM under `SEKRING_SEAL_KEY`. What it is for, and for which instance, is authenticated with
it, so that nothing sealed for one place opens in another. Without a key it is stored readable.
"""

import base64
import binascii
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sekring.errors import SealBroken

__all__ = ["Seal"]

_PLAIN = "plain:"
_SEALED = "sealed:"

#: As AES-GCM has it: chosen by chance, for each text anew.
_NONCE_BYTES = 12

#: Hex digits that tell one key from another; nothing can be told of a key by them.
_KEY_ID_DIGITS = 8


class Seal:
    """Seals and opens texts; all replicas of a keyspace have the same key, or none."""

    def __init__(self, key: str | None) -> None:
        """Use `key`, 32 bytes in URL-safe base64; `None` seals nothing."""
        self._cipher: AESGCM | None = None
        self._key_id = ""
        if key is not None:
            raw = base64.urlsafe_b64decode(key)
            self._cipher = AESGCM(raw)
            digest = hashlib.sha256(b"sekring seal key id:" + raw).hexdigest()
            self._key_id = digest[:_KEY_ID_DIGITS]

    def seal(self, text: str, purpose: str) -> str:
        """Return `text` as it is to be stored."""
        if self._cipher is None:
            return _PLAIN + text
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), purpose.encode())
        return f"{_SEALED}{self._key_id}:{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, stored: str, purpose: str) -> str:
        """Return what was sealed for that `purpose`; what another stored unsealed, too.

        Raises:
            SealBroken: it was sealed with another key, for another purpose, or changed since.
        """
        if stored.startswith(_PLAIN):
            return stored.removeprefix(_PLAIN)
        key_id, _, packed = stored.removeprefix(_SEALED).partition(":")
        if self._cipher is None:
            raise SealBroken(
                "It is sealed, and this replica has no key: set SEKRING_SEAL_KEY as on the others."
            )
        if key_id != self._key_id:
            raise SealBroken(
                "It is sealed with another key than this replica has: set SEKRING_SEAL_KEY to the "
                "same value on all."
            )
        try:
            raw = base64.urlsafe_b64decode(packed)
            nonce, sealed = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
            return self._cipher.decrypt(nonce, sealed, purpose.encode()).decode()
        except (InvalidTag, ValueError, binascii.Error):
            raise SealBroken("What is stored was changed, or belongs to another place.") from None
