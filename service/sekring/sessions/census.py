"""How many sessions are wanted, owned by nobody, and how many gateways live: for the metrics.

A replica learns that from its gateways' claims as well, but not when no gateway lives: that is when
somebody has to be told. So it looks by itself, seldom, at the cost of one script a partition.
"""

import asyncio
import math
import random
import time

import structlog
from msgspec import Struct

from sekring.errors import SekringError
from sekring.sessions.gateways import Gateways
from sekring.sessions.vacancies import Vacancies

__all__ = ["Census", "Counts"]

#: From one look to the next, in seconds, give or take a fifth.
_PAUSE_S = 5.0

#: How old counts may be to be told of, in seconds.
_MAX_AGE_S = 20.0

_log = structlog.get_logger(__name__)


class Counts(Struct, frozen=True):
    """Sums over the whole fleet."""

    #: Sessions that are to be connected.
    wanted: int
    #: Those of them that no living gateway owns.
    unowned: int
    gateways: int


class Census:
    """A background task of each replica."""

    def __init__(self, vacancies: Vacancies, gateways: Gateways) -> None:
        """Prepare; `run` does it."""
        self._vacancies = vacancies
        self._gateways = gateways
        self._live = 0
        self._read_s = -math.inf

    @property
    def counts(self) -> Counts | None:
        """What is known; `None` if that was read too long ago."""
        if time.monotonic() - self._read_s > _MAX_AGE_S:
            return None
        wanted = self._vacancies.sessions
        return Counts(
            wanted=wanted,
            unowned=min(wanted, self._vacancies.unowned),
            gateways=self._live,
        )

    async def run(self) -> None:
        """Count until cancelled; an unreachable Redis is tried again."""
        while True:
            try:
                await self.once()
            except SekringError:
                pass  # what reads or writes for a caller says so
            except Exception:  # noqa: BLE001 - nobody else would see it
                _log.exception("sessions could not be counted")
            await asyncio.sleep(_PAUSE_S * random.uniform(0.8, 1.2))  # noqa: S311

    async def once(self) -> None:
        """Count.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        began_s = time.monotonic()
        self._live = len(await self._gateways.list_all())
        await self._vacancies.look()
        if self._vacancies.complete:
            self._read_s = began_s
