"""Redis' clock, as a replica knows it without asking each time."""

import math
import time

__all__ = ["RemoteClock"]

#: After how long a less exact sample is taken in place of a better one, in seconds: clocks drift.
_FRESH_S = 10.0


class RemoteClock:
    """Follows the clock of one Redis by the times in its answers.

    An answer's time lies between the question and the answer by this process's monotonic clock:
    half the round trip is the error. Of several answers the most exact is taken (as NTP does,
    RFC 5905, section 10), unless they contradict each other: then that clock was set.
    """

    __slots__ = ("_error_ms", "_offset_ms", "_sampled_s")

    def __init__(self) -> None:
        """Begin without a sample: then this machine's own clock has to do."""
        self._offset_ms = time.time() * 1000 - time.monotonic() * 1000
        self._error_ms = math.inf
        self._sampled_s = -math.inf

    @property
    def error_ms(self) -> float:
        """How far it may be off; infinite before the first sample."""
        return self._error_ms

    def now_ms(self) -> int:
        """Return the time there, in ms since 1970."""
        return round(time.monotonic() * 1000 + self._offset_ms)

    def sample(self, there_ms: int, sent_s: float, came_s: float) -> None:
        """Take an answer's time; it was asked for at `sent_s` and came at `came_s` (monotonic)."""
        offset_ms = there_ms - (sent_s + came_s) * 500
        # Times there are whole milliseconds.
        error_ms = (came_s - sent_s) * 500 + 1
        was_set = abs(offset_ms - self._offset_ms) > error_ms + self._error_ms
        if error_ms <= self._error_ms or was_set or came_s - self._sampled_s > _FRESH_S:
            self._offset_ms, self._error_ms, self._sampled_s = offset_ms, error_ms, came_s
