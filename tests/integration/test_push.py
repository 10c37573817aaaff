"""The push channel: what is published arrives, or the listener is told that it may not."""

import asyncio
import contextlib
import itertools
import signal
import time
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path

import pytest
from redis.crc import key_slot

from sekring.errors import StoreUnavailable
from sekring.store.library import Library, Script
from sekring.store.push import PushChannel
from sekring.store.redis import RedisLink
from tests.clusters import Cluster
from tests.sentinels import Sentinels
from tests.servers import RedisServer

CHANNELS = [f"sekring:{{{n:02d}}}:changes" for n in range(8)]


class Recorder:
    """Writes down what a listener is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []
        self.open: set[str] = set()
        self.messages: dict[str, list[bytes]] = {}
        self.proven_s: dict[str, float] = {}

    def opened(self, channel: str) -> None:
        assert channel not in self.open
        self.open.add(channel)
        self.told.append(("opened", channel))

    def message(self, channel: str, payload: bytes) -> None:
        assert channel in self.open
        self.messages.setdefault(channel, []).append(payload)

    def broken(self, channel: str) -> None:
        assert channel in self.open
        self.open.remove(channel)
        self.told.append(("broken", channel))

    def proven(self, channels: Collection[str], sent_s: float) -> None:
        assert self.open.issuperset(channels)
        for channel in channels:
            self.proven_s[channel] = sent_s

    def times(self, what: str, channel: str) -> int:
        return self.told.count((what, channel))


async def until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Let the event loop turn until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def listening(url: str, recorder: Recorder | None = None) -> AsyncIterator[Recorder]:
    """Listen on all channels; begins when they are open."""
    link = RedisLink(url, timeout_ms=500)
    recorder = recorder or Recorder()
    task = asyncio.create_task(PushChannel(link, CHANNELS, recorder, ping_ms=20).run())
    try:
        await until(lambda: recorder.open == set(CHANNELS) or task.done(), "every channel to open")
        yield recorder
    finally:
        # What the recorder objected to comes out here, before what it has led to.
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await link.close()


async def proven_anew(recorder: Recorder, channel: str) -> None:
    """Wait until everything published on `channel` before this call was delivered."""
    now_s = time.monotonic()
    await until(lambda: recorder.proven_s.get(channel, 0) >= now_s, f"{channel} to be proven")


async def test_what_scripts_publish_arrives_in_order(redis_server: RedisServer) -> None:
    async with listening(redis_server.url) as recorder:
        with redis_server.client() as client:
            script = client.register_script("return redis.call('SPUBLISH', KEYS[1], ARGV[1])")
            for n in range(200):
                for channel in CHANNELS:
                    script(keys=[channel], args=[n])
        for channel in CHANNELS:
            await proven_anew(recorder, channel)
            assert recorder.messages[channel] == [b"%d" % n for n in range(200)]


async def test_a_closed_connection_is_told_and_heals(redis_server: RedisServer) -> None:
    async with listening(redis_server.url) as recorder:
        with redis_server.client() as client:
            client.client_kill_filter(_type="pubsub")
            await until(lambda: recorder.times("opened", CHANNELS[0]) == 2, "a second opening")
            assert all(recorder.times("broken", channel) == 1 for channel in CHANNELS)
            client.execute_command("SPUBLISH", CHANNELS[3], "after")
        await until(lambda: recorder.messages.get(CHANNELS[3]) == [b"after"], "the message")


async def test_a_stopped_server_proves_nothing(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        async with listening(server.url) as recorder:
            await proven_anew(recorder, CHANNELS[0])
            server.signal(signal.SIGSTOP)
            await asyncio.sleep(0.05)  # for what it had answered before
            stopped_s = time.monotonic()
            await until(lambda: not recorder.open, "every channel to break")
            assert all(sent_s < stopped_s for sent_s in recorder.proven_s.values())
            server.signal(signal.SIGCONT)
            await until(lambda: recorder.open == set(CHANNELS), "every channel to open again")
            await proven_anew(recorder, CHANNELS[0])


async def test_a_server_that_is_started_again_is_found(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    with server:
        subject = listening(server.url)
        recorder = await subject.__aenter__()
    await until(lambda: not recorder.open, "every channel to break")
    with server:
        await until(lambda: recorder.open == set(CHANNELS), "every channel to open again")
        await subject.__aexit__(None, None, None)


async def test_a_server_that_becomes_a_replica_is_not_listened_to(tmp_path: Path) -> None:
    """What is published is published elsewhere from then on."""
    with RedisServer(tmp_path / "a") as server, RedisServer(tmp_path / "b") as other:
        async with listening(server.url) as recorder:
            with server.client() as client:
                client.replicaof("127.0.0.1", str(other.port))
                await until(lambda: not recorder.open, "every channel to break")
                client.replicaof("NO", "ONE")
            await until(lambda: recorder.open == set(CHANNELS), "every channel to open again")


async def test_a_listener_that_fails_ends_the_channel(redis_server: RedisServer) -> None:
    class Failing(Recorder):
        def opened(self, channel: str) -> None:
            raise ZeroDivisionError(channel)

    link = RedisLink(redis_server.url, timeout_ms=500)
    with pytest.RaisesGroup(ZeroDivisionError):
        await PushChannel(link, CHANNELS, Failing(), ping_ms=20).run()
    await link.close()


# ------------------------------------------------------------ where the nodes change places

PUBLISH = Script("publish", "publish")
LIBRARY = Library(
    "publishing",
    """#!lua name=publishing
redis.register_function('publish', function(KEYS, ARGV)
  return redis.call('SPUBLISH', KEYS[1], ARGV[1])
end)
""",
    {"publish": PUBLISH},
)


class Auditor(Recorder):
    """Checks every proof against what was published, and every message against the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.opened_s: dict[str, float] = {}
        #: Each number with when its publishing began and when it was acknowledged, by channel.
        self.acknowledged: dict[str, list[tuple[int, float, float]]] = {}
        #: The latest number received since the channel was opened.
        self.latest: dict[str, int | None] = {}

    def opened(self, channel: str) -> None:
        super().opened(channel)
        self.opened_s[channel] = time.monotonic()
        self.latest[channel] = None

    def acknowledge(self, channel: str, number: int, begun_s: float) -> None:
        ended_s = time.monotonic()
        self.acknowledged.setdefault(channel, []).append((number, begun_s, ended_s))

    def message(self, channel: str, payload: bytes) -> None:
        super().message(channel, payload)
        number, latest = int(payload), self.latest[channel]
        # One that was not acknowledged is published again under its number; a primary that was
        # stopped may publish old ones when it goes on. But none is left out.
        assert latest is None or number <= latest + 1, f"{latest}, then {number}"
        self.latest[channel] = max(number, latest or 0)

    def proven(self, channels: Collection[str], sent_s: float) -> None:
        super().proven(channels, sent_s)
        for channel in channels:
            due = [
                number
                for number, begun_s, ended_s in self.acknowledged.get(channel, ())
                if self.opened_s[channel] < begun_s and ended_s < sent_s
            ]
            latest = self.latest[channel]
            assert not due or (latest is not None and latest >= due[-1]), f"{channel}: no {due[-1]}"


async def publish(link: RedisLink, auditor: Auditor, channel: str, stop: asyncio.Event) -> None:
    """Publish 1, 2, 3 … on `channel`, each until it is acknowledged."""
    for number in itertools.count(1):
        while not stop.is_set():
            begun_s = time.monotonic()
            with contextlib.suppress(StoreUnavailable):
                await link.start(PUBLISH, [channel], b"%d" % number).answer
                auditor.acknowledge(channel, number, begun_s)
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.005)
        if stop.is_set():
            return


@contextlib.asynccontextmanager
async def audited(url: str) -> AsyncIterator[Auditor]:
    """Publish on every channel and check what arrives; begins when all have got something."""
    auditor, stop = Auditor(), asyncio.Event()
    async with listening(url, recorder=auditor):
        publisher = RedisLink(url, timeout_ms=500)
        publisher.know(LIBRARY)
        tasks = [asyncio.create_task(publish(publisher, auditor, c, stop)) for c in CHANNELS]
        try:
            await until(lambda: len(auditor.messages) == len(CHANNELS), "the first messages")
            yield auditor
        finally:
            stop.set()
            await asyncio.gather(*tasks)
            await publisher.close()


async def mended(auditor: Auditor) -> None:
    """Wait until every channel is open and delivers again."""
    await until(lambda: auditor.open == set(CHANNELS), "every channel to be open", seconds=40)
    before = {channel: len(auditor.messages[channel]) for channel in CHANNELS}
    await until(
        lambda: all(len(auditor.messages[channel]) > before[channel] for channel in CHANNELS),
        "messages on every channel",
    )
    for channel in CHANNELS:
        await proven_anew(auditor, channel)


async def test_a_channel_follows_its_slot(cluster: Cluster) -> None:
    cluster.empty()
    channel = CHANNELS[0]
    async with audited(cluster.url) as auditor:
        source = cluster.primary_of(channel)
        target = next(
            node
            for node in cluster.nodes
            if node is not source and node.ask("ROLE")[0] == b"master"
        )
        slot = key_slot(channel.encode())
        await asyncio.to_thread(cluster.begin_move, slot, source, target)
        # Scripts may run on either side from now on.
        await until(lambda: channel not in auditor.open, "the channel to break")
        await asyncio.to_thread(cluster.end_move, slot, source, target)
        await mended(auditor)
        assert auditor.times("broken", channel) >= 1


async def test_a_slot_that_moves_in_one_go(cluster: Cluster) -> None:
    """Without keys in it a move is over before anybody could have asked."""
    cluster.empty()
    async with audited(cluster.url) as auditor:
        for _ in range(3):
            for channel in CHANNELS[:3]:
                source = cluster.primary_of(channel)
                target = next(
                    node
                    for node in cluster.nodes
                    if node is not source and node.ask("ROLE")[0] == b"master"
                )
                await asyncio.to_thread(cluster.move, key_slot(channel.encode()), target)
        await mended(auditor)


@pytest.mark.parametrize("fault", ["failover", "SIGKILL", "SIGSTOP"])
async def test_a_cluster_that_fails_over(cluster: Cluster, fault: str) -> None:
    async with audited(cluster.url) as auditor:
        primary = cluster.primary_of(CHANNELS[0])
        if fault == "failover":
            await asyncio.to_thread(cluster.fail_over, CHANNELS[0])
        elif fault == "SIGKILL":
            primary.kill()
        else:
            primary.signal(signal.SIGSTOP)
        await until(lambda: CHANNELS[0] not in auditor.open, "the channel to break")
        await mended(auditor)
        await asyncio.to_thread(primary.revive)
        await mended(auditor)


@pytest.mark.parametrize("fault", ["failover", "SIGKILL", "SIGSTOP"])
async def test_sentinels_that_fail_over(sentinels: Sentinels, fault: str) -> None:
    async with audited(sentinels.url) as auditor:
        master = sentinels.master()
        if fault == "failover":
            await asyncio.to_thread(sentinels.fail_over)
        elif fault == "SIGKILL":
            master.kill()
        else:
            master.signal(signal.SIGSTOP)
        await until(lambda: auditor.times("broken", CHANNELS[0]) > 0, "every channel to break")
        await mended(auditor)
        await asyncio.to_thread(master.revive)
        await mended(auditor)


async def test_a_master_that_was_replaced_and_does_not_know_it_proves_nothing(
    sentinels: Sentinels,
) -> None:
    auditor = Auditor()
    async with listening(sentinels.url, recorder=auditor):
        master = await asyncio.to_thread(sentinels.begin_failover)
        with master.client() as client:
            for number in range(1, 101):
                begun_s = time.monotonic()
                client.execute_command("SPUBLISH", CHANNELS[0], number)
                auditor.acknowledge(CHANNELS[0], number, begun_s)
                await asyncio.sleep(0.005)
        await until(lambda: auditor.open == set(CHANNELS), "every channel to be open", seconds=40)
        await proven_anew(auditor, CHANNELS[0])
