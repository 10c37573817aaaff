"""Long work leaves the event loop to others, and ends when its time is used up."""

import asyncio
import time
from collections.abc import Iterator

from sekring.slices import Slices


def busy(steps: int, taken: list[int]) -> Iterator[None]:
    """Steps of a millisecond of work each."""
    for number in range(steps):
        end = time.perf_counter() + 0.001
        while time.perf_counter() < end:
            pass
        taken.append(number)
        yield


async def test_others_run_in_between() -> None:
    taken: list[int] = []
    seen: list[int] = []

    async def others() -> None:
        while True:
            seen.append(len(taken))
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    assert await Slices(60).do(busy(50, taken)) is True
    task.cancel()

    assert len(taken) == 50
    assert len(set(seen)) >= 10  # they ran at many points of the work, not before and after it


async def test_many_short_pieces_of_work_pause_like_a_long_one() -> None:
    taken: list[int] = []
    seen: set[int] = set()

    async def others() -> None:
        while True:
            seen.add(len(taken))
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    slices = Slices(60)
    for _ in range(50):
        await slices.do(busy(1, taken))
    task.cancel()

    assert len(seen) >= 10


async def test_it_ends_when_its_time_is_used_up() -> None:
    taken: list[int] = []
    slices = Slices(0.02)

    assert await slices.do(busy(1_000, taken)) is False
    assert slices.used_up is True
    assert 0 < len(taken) < 1_000
    done = len(taken)
    assert await slices.do(busy(1_000, taken)) is False
    assert len(taken) == done
