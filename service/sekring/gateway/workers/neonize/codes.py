"""The QR codes of one pairing: whatsmeow says what they are, not how long they last."""

import time
from typing import Final

__all__ = ["ShownCodes"]

#: whatsmeow shows its first code longer than the others.
_FIRST_S: Final = 60
_NEXT_S: Final = 20

#: A code's end is not met to the moment.
_EARLY_S: Final = 2.0


class ShownCodes:
    """Counts codes and their time."""

    def __init__(self) -> None:
        """Begin without a code."""
        self._count = 0
        self._until_s = 0.0

    def next_lasts_s(self) -> int:
        """Take note of another code; return how long it lasts."""
        lasts_s = _NEXT_S if self._count else _FIRST_S
        self._count += 1
        self._until_s = time.monotonic() + lasts_s
        return lasts_s

    @property
    def one_went_unscanned(self) -> bool:
        """Whether one was there for as long as it lasts."""
        return self._count > 1 or (
            self._count == 1 and time.monotonic() >= self._until_s - _EARLY_S
        )
