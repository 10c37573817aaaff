"""What pages are kept live by: however many look, the fleet is read once for all of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from sekring.console.pulse import Beat, Pulse
from sekring.feed import Feed
from sekring.store.contract import TripRequest
from sekring.store.keys import Keyspace
from sekring.store.scripts import Scripts
from sekring.store.streams import Streams

VIEWERS = 100


@pytest.fixture
def feed(scripts: Scripts, keyspace: Keyspace) -> Feed:
    return Feed(Streams(scripts, keyspace))


@pytest.fixture
async def pulse(feed: Feed) -> AsyncIterator[Pulse]:
    pulse = Pulse(feed)
    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(pulse.run())]
    yield pulse
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_a_hundred_viewers_have_everything_made_once_a_beat(pulse: Pulse) -> None:
    made: list[Beat] = []

    async def look(beats: int) -> list[int]:
        seen = []

        async def make(beat: Beat) -> int:
            made.append(beat)
            await asyncio.sleep(0)
            return len(made)

        async with contextlib.aclosing(pulse.beats()) as coming:
            async for beat in coming:
                seen.append(await beat.share("page", partial(make, beat)))
                if len(seen) == beats:
                    return seen
        raise AssertionError

    seen = await asyncio.gather(*(look(2) for _ in range(VIEWERS)))
    assert seen == [[1, 2]] * VIEWERS
    assert len(set(made)) == len(made) == 2


async def test_what_differs_is_made_for_each(pulse: Pulse) -> None:
    made: list[str] = []

    async def make(key: str) -> str:
        made.append(key)
        return key.upper()

    async with contextlib.aclosing(pulse.beats()) as coming:
        beat = await anext(coming)
        got = [await beat.share(key, partial(make, key)) for key in "abab"]
    assert got == ["A", "B", "A", "B"]
    assert made == ["a", "b"]


async def test_one_who_goes_away_takes_nothing_from_the_others(pulse: Pulse) -> None:
    async with contextlib.aclosing(pulse.beats()) as coming:
        beat = await anext(coming)
        slow = asyncio.Event()

        async def make() -> str:
            await slow.wait()
            return "made"

        first = asyncio.create_task(beat.share("page", make))
        second = asyncio.create_task(beat.share("page", make))
        await asyncio.sleep(0)
        first.cancel()
        slow.set()
        assert await second == "made"


async def test_one_who_is_slow_does_not_miss_the_latest(pulse: Pulse) -> None:
    async with (
        contextlib.aclosing(pulse.beats()) as slow,
        contextlib.aclosing(pulse.beats()) as other,
    ):
        first, same = await asyncio.gather(anext(slow), anext(other))
        assert first is same
        latest = [await anext(other) for _ in range(2)][-1]
        # It was told at a time when it did not wait.
        taken = asyncio.create_task(anext(slow))
        await asyncio.sleep(0)
        assert taken.done()
        assert taken.result() is latest


async def test_a_transition_is_a_beat(
    pulse: Pulse, feed: Feed, scripts: Scripts, keyspace: Keyspace
) -> None:
    async with contextlib.aclosing(pulse.beats()) as coming:
        await anext(coming)
        await until(lambda: feed.cursor() is not None)
        pulse._due.clear()
        await scripts.trip(TripRequest(instance_id="628"))
        feed.wake(keyspace.partition_of("628"))
        async with asyncio.timeout(10):
            await pulse._due.wait()
            await anext(coming)


async def test_nobody_who_looks_costs_nothing(pulse: Pulse, feed: Feed) -> None:
    async with contextlib.aclosing(pulse.beats()) as coming:
        await anext(coming)
        assert pulse.viewers == 1
        assert feed.listeners == 1
    assert pulse.viewers == 0
    await until(lambda: feed.listeners == 0)
    # And the next one is served as the first was.
    async with contextlib.aclosing(pulse.beats()) as coming, asyncio.timeout(10):
        await anext(coming)


async def test_a_replica_that_stops_ends_it_for_all(pulse: Pulse, feed: Feed) -> None:
    async with contextlib.aclosing(pulse.beats()) as coming:
        await anext(coming)
        feed.close()
        assert [beat async for beat in coming] == []
    assert pulse.ended.is_set()
    async with contextlib.aclosing(pulse.beats()) as late:
        assert [beat async for beat in late] == []
