"""A fleet of instances in Redis, made by the real scripts: most are connected, some fail."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sekring.store.contract import PermitRequest, ReportRequest
from sekring.store.scripts import Scripts
from sekring.taxonomy import Effect, Kind

__all__ = ["Population"]

#: Calls under way at once: a few pipelines' worth.
_AT_ONCE = 2_000

_THRESHOLD = 15


@dataclass(frozen=True)
class Population:
    """`known` instances: the first `tripped` are open, the others of `failing` have failed.

    Of the rest, every tenth is connecting, and all others are connected.
    """

    known: int
    failing: int
    tripped: int

    @property
    def instances(self) -> list[str]:
        return [f"62{number:09}" for number in range(self.known)]

    @property
    def open_instances(self) -> set[str]:
        return set(self.instances[: self.tripped])

    def failures_of(self, number: int) -> int:
        """How many failures of the instance count: 1 to 14 if it has failed, 15 if it is open."""
        if number < self.tripped:
            return _THRESHOLD
        return 1 + number % (_THRESHOLD - 1) if number < self.failing else 0

    @property
    def failures(self) -> int:
        return sum(self.failures_of(number) for number in range(self.failing))

    @property
    def connecting(self) -> int:
        return sum(number % 10 == 0 for number in range(self.failing, self.known))

    @property
    def connected(self) -> int:
        return self.known - self.failing - self.connecting

    async def settle_in(self, scripts: Scripts) -> None:
        """Enter all of them."""
        calls = self._calls(scripts)
        while some := list(islice(calls, _AT_ONCE)):
            await asyncio.gather(*some)

    def _calls(self, scripts: Scripts) -> Iterator[Coroutine[Any, Any, object]]:
        for number, name in enumerate(self.instances):
            for serial in range(self.failures_of(number)):
                yield scripts.report(_failure(name, serial))
            if number >= self.failing and number % 10 == 0:
                yield scripts.permit(PermitRequest(instance_id=name))
            elif number >= self.failing:
                yield scripts.report(ReportRequest(instance_id=name, id="up", outcome="success"))


def _failure(name: str, serial: int) -> ReportRequest:
    return ReportRequest(
        instance_id=name,
        id=f"{name}-{serial}",
        outcome="failure",
        effect=Effect.COUNT,
        kind=Kind.WEBSOCKET,
    )
