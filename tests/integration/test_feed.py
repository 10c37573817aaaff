"""The feed inside one replica: pushed, polled, and honest about what it has missed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sekring.cursor import Cursor, Place
from sekring.feed import Feed, Gap
from sekring.model import Filter
from sekring.store.keys import Keyspace
from sekring.store.scripts import Scripts
from sekring.store.streams import Event, Page, Streams
from sekring.subscription import _CATCH_UP_PAGE, Message, Subscription
from tests.servers import RedisServer
from tests.transitions import append_transitions

PATIENCE_S = 20


@pytest.fixture
async def feed(
    scripts: Scripts, keyspace: Keyspace, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Feed]:
    """One that looks nowhere by itself for the length of a test."""
    monkeypatch.setattr("sekring.feed._POLL_S", 600)
    feed = Feed(Streams(scripts, keyspace))
    running = asyncio.create_task(feed.run())
    yield feed
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def taken(subscription: Subscription) -> Message:
    message = await subscription.next(PATIENCE_S)
    assert message, "nothing came"
    return message


def instance_of(message: Message) -> str:
    assert isinstance(message.content, Event)
    return message.content.transition.instance_id


async def test_what_it_is_told_of_comes_without_waiting_for_a_poll(
    feed: Feed, redis_server: RedisServer, keyspace: Keyspace
) -> None:
    subscription = Subscription(feed, Filter(), None)
    async with subscription.open():
        assert (await taken(subscription)).content is None
        for name in ("a", "b", "a"):
            with redis_server.client() as client:
                append_transitions(client, [name])
            feed.wake(keyspace.partition_of(name))
            assert instance_of(await taken(subscription)) == name
    assert feed.listeners == 0


async def test_much_in_one_partition_comes_whole_and_in_order(
    feed: Feed, redis_server: RedisServer, keyspace: Keyspace
) -> None:
    subscription = Subscription(feed, Filter(), None)
    async with subscription.open():
        await taken(subscription)
        with redis_server.client() as client:
            ids = append_transitions(client, ["a"] * 1_200)
        feed.wake(keyspace.partition_of("a"))
        found = [(await taken(subscription)).content for _ in ids]
    assert [event.transition.id for event in found if isinstance(event, Event)] == ids


async def test_what_it_has_missed_itself_is_a_gap_of_known_size(
    feed: Feed, redis_server: RedisServer, keyspace: Keyspace
) -> None:
    partition = keyspace.partition_of("a")
    subscription = Subscription(feed, Filter(), None)
    async with subscription.open():
        await taken(subscription)
        with redis_server.client() as client:
            append_transitions(client, ["a"])
            feed.wake(partition)
            await taken(subscription)
            append_transitions(client, ["a"] * 20)
            client.xtrim(keyspace.events(partition), maxlen=5, approximate=False)
        feed.wake(partition)
        gap = (await taken(subscription)).content
        assert isinstance(gap, Gap)
        assert (gap.partition, gap.lost) == (partition, 15)
        assert [instance_of(await taken(subscription)) for _ in range(5)] == ["a"] * 5


async def test_one_that_does_not_take_is_ended_and_the_others_go_on(
    feed: Feed, redis_server: RedisServer, keyspace: Keyspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sekring.subscription._WAITING_MAX", 50)
    slow, quick = Subscription(feed, Filter(), None), Subscription(feed, Filter(), None)
    async with slow.open(), quick.open():
        for subscription in (slow, quick):
            await taken(subscription)
        place = slow.cursor()
        for _ in range(10):
            with redis_server.client() as client:
                append_transitions(client, ["a"] * 10)
            feed.wake(keyspace.partition_of("a"))
            for _ in range(10):
                await taken(quick)
        await asyncio.wait_for(slow.ended.wait(), PATIENCE_S)
        assert not quick.ended.is_set()

    assert place
    resumed = Subscription(feed, Filter(), Cursor.decode(place, keyspace.partitions))
    async with resumed.open():
        assert [instance_of(await taken(resumed)) for _ in range(100)] == ["a"] * 100


class Between(Streams):
    """Has something done right after a partition was read for somebody who catches up."""

    def __init__(self, scripts: Scripts, keyspace: Keyspace) -> None:
        super().__init__(scripts, keyspace)
        self.then: Callable[[], Awaitable[None]] | None = None

    async def page(self, partition: int, after: Place, limit: int) -> Page:
        page = await super().page(partition, after, limit)
        if limit == _CATCH_UP_PAGE and self.then:  # the feed itself reads smaller ones
            then, self.then = self.then, None
            await then()
        return page


async def test_what_happens_while_somebody_catches_up_is_not_missed(
    feed: Feed, redis_server: RedisServer, scripts: Scripts, keyspace: Keyspace
) -> None:
    """It is news already when he has read that partition, and before he hears news himself."""
    feed.streams = streams = Between(scripts, keyspace)
    other = Subscription(feed, Filter(), None)
    async with other.open():
        await taken(other)

        async def happen() -> None:
            with redis_server.client() as client:
                append_transitions(client, ["a"])
            feed.wake(keyspace.partition_of("a"))
            assert instance_of(await taken(other)) == "a"

        place = other.cursor()
        assert place
        streams.then = happen
        wanted = Filter(instances=frozenset({"a"}))
        resumed = Subscription(feed, wanted, Cursor.decode(place, keyspace.partitions))
        async with resumed.open():
            assert instance_of(await taken(resumed)) == "a"


@pytest.mark.parametrize("resumed", [False, True], ids=["from now on", "resumed"])
async def test_much_of_just_before_does_not_overwhelm_who_begins(
    feed: Feed,
    redis_server: RedisServer,
    keyspace: Keyspace,
    monkeypatch: pytest.MonkeyPatch,
    resumed: bool,  # noqa: FBT001 - parametrised
) -> None:
    """The reader itself goes some seconds back when it begins, in case clocks differ."""
    monkeypatch.setattr("sekring.subscription._WAITING_MAX", 50)
    with redis_server.client() as client:
        before = append_transitions(client, [f"i{number}" for number in range(500)])
    subscription = Subscription(feed, Filter(), Cursor(1) if resumed else None)
    async with subscription.open():
        if resumed:
            found = [(await taken(subscription)).content for _ in before]
            ids = {event.transition.id for event in found if isinstance(event, Event)}
            assert ids == set(before)
        assert (await taken(subscription)).content is None
        with redis_server.client() as client:
            append_transitions(client, ["new"])
        feed.wake(keyspace.partition_of("new"))
        assert instance_of(await taken(subscription)) == "new"
        assert not subscription.ended.is_set()


async def test_who_watches_learns_where_there_is_news(
    feed: Feed, redis_server: RedisServer, keyspace: Keyspace
) -> None:
    with feed.watching() as watch:
        await asyncio.wait_for(watch.bell.wait(), PATIENCE_S)  # it has begun
        assert watch.news == set(keyspace.all_partitions())
        watch.news.clear()
        watch.bell.clear()
        with redis_server.client() as client:
            append_transitions(client, ["a"])
        feed.wake(keyspace.partition_of("a"))
        await asyncio.wait_for(watch.bell.wait(), PATIENCE_S)

        assert watch.news == {keyspace.partition_of("a")}


async def test_nobody_is_let_in_once_it_closes(feed: Feed) -> None:
    early = Subscription(feed, Filter(), None)
    async with early.open():
        await taken(early)
        feed.close()
        assert early.ended.is_set()
        assert await early.next(PATIENCE_S) is None

    late = Subscription(feed, Filter(), None)
    async with late.open():
        await asyncio.wait_for(late.ended.wait(), PATIENCE_S)
