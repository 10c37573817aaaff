"""What a reset did, as the address of the page that shows it has it.

A browser repeats the request of an address: on reload, on the way back, when it restores a tab.
So the request that resets never stays in the history; it leads to an address with its result, and
that one never resets. The result is signed, so that nobody else can make one up.
"""

import base64
import binascii

import msgspec
from msgspec import Struct

from sekring.http.auth import Signer
from sekring.model import State

__all__ = ["RESULT", "ResetResult"]

#: The parameter of the address.
RESULT = "result"

#: How long the result is shown, in seconds; the page then shows the state alone.
_LIFETIME_S = 86_400


class ResetResult(Struct, frozen=True, array_like=True):
    """What was, and what was cleared."""

    was: State
    at_ms: int
    #: `None` where another request did the reset.
    failures: int | None = None
    retries: int | None = None

    def sign(self, signer: Signer, instance_id: str) -> str:
        """Return the parameter's value for the page of `instance_id`."""
        packed = base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode()
        return signer.sign(f"{RESULT} {instance_id}", packed.rstrip("="), _LIFETIME_S)

    @classmethod
    def verify(cls, signer: Signer, instance_id: str, signed: str) -> "ResetResult | None":
        """Return the result of that instance's reset; `None` if it is forged or too old."""
        packed = signer.verify(f"{RESULT} {instance_id}", signed)
        if packed is None:
            return None
        try:
            padded = packed + "=" * (-len(packed) % 4)
            return msgspec.msgpack.decode(base64.urlsafe_b64decode(padded), type=cls)
        except (binascii.Error, msgspec.MsgspecError):
            # Signed by another version of this service.
            return None
