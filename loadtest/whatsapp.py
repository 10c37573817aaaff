"""WhatsApp as the storm has it: gone for a while, and then taking so many logins a second."""

import random
from dataclasses import dataclass

__all__ = ["WhatsApp"]


@dataclass(frozen=True)
class Answer:
    """How an attempt ends, and after how long."""

    connected: bool
    after_ms: int
    #: Of a failure, in the words of the taxonomy.
    kind: str = ""


class WhatsApp:
    """Down from 0 on until `outage_ms`. Then it takes `logins_per_s` and refuses what is more.

    - While it is down an attempt fails after 1 to 5 s: some dials are refused, most time out.
    - A login that is taken is complete after 0.5 to 2 s.
    - One that is too much is refused after 0.2 to 1 s with a stream error 503.
    """

    def __init__(self, outage_ms: int, logins_per_s: int, chance: random.Random) -> None:
        """Start with room for a second's logins."""
        self.outage_ms = outage_ms
        self.logins_per_s = logins_per_s
        self._chance = chance
        self._room = float(logins_per_s)
        self._asked_ms = outage_ms

    def connect(self, at_ms: int) -> Answer:
        """Take an attempt that is made at `at_ms`; attempts come in the order of time."""
        if at_ms < self.outage_ms:
            return Answer(connected=False, after_ms=self._between(1_000, 5_000), kind="timeout")
        passed_s = max(0, at_ms - self._asked_ms) / 1000
        self._asked_ms = max(at_ms, self._asked_ms)
        self._room = min(self.logins_per_s, self._room + passed_s * self.logins_per_s)
        if self._room < 1:
            return Answer(connected=False, after_ms=self._between(200, 1_000), kind="upstream")
        self._room -= 1
        return Answer(connected=True, after_ms=self._between(500, 2_000))

    def _between(self, least_ms: int, most_ms: int) -> int:
        return self._chance.randint(least_ms, most_ms)
