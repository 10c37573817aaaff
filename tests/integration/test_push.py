"""The push channel: what is published arrives, or the listener is told that it may not."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path

import pytest

from sekring.store.push import PushChannel
from sekring.store.redis import RedisLink
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
async def listening(
    url: str, channels: Sequence[str] = CHANNELS
) -> AsyncIterator[tuple[Recorder, RedisLink]]:
    """Listen on `channels`; begins when all are open."""
    link = RedisLink(url, timeout_ms=500, pool_size=2)
    recorder = Recorder()
    task = asyncio.create_task(PushChannel(link, channels, recorder, ping_ms=20).run())
    try:
        await until(lambda: recorder.open == set(channels) or task.done(), "every channel to open")
        yield recorder, link
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await link.close()


async def proven_anew(recorder: Recorder, channel: str) -> None:
    """Wait until everything published on `channel` before this call was delivered."""
    now_s = time.monotonic()
    await until(lambda: recorder.proven_s.get(channel, 0) >= now_s, f"{channel} to be proven")


async def test_what_scripts_publish_arrives_in_order(redis_server: RedisServer) -> None:
    async with listening(redis_server.url) as (recorder, _):
        with redis_server.client() as client:
            script = client.register_script("return redis.call('SPUBLISH', KEYS[1], ARGV[1])")
            for n in range(200):
                for channel in CHANNELS:
                    script(keys=[channel], args=[n])
        for channel in CHANNELS:
            await proven_anew(recorder, channel)
            assert recorder.messages[channel] == [b"%d" % n for n in range(200)]


async def test_a_closed_connection_is_told_and_heals(redis_server: RedisServer) -> None:
    async with listening(redis_server.url) as (recorder, _):
        with redis_server.client() as client:
            client.client_kill_filter(_type="pubsub")
            await until(lambda: recorder.times("opened", CHANNELS[0]) == 2, "a second opening")
            assert all(recorder.times("broken", channel) == 1 for channel in CHANNELS)
            client.execute_command("SPUBLISH", CHANNELS[3], "after")
        await until(lambda: recorder.messages.get(CHANNELS[3]) == [b"after"], "the message")


async def test_a_stopped_server_proves_nothing(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        async with listening(server.url) as (recorder, _):
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
        recorder, _ = await subject.__aenter__()
    await until(lambda: not recorder.open, "every channel to break")
    with server:
        await until(lambda: recorder.open == set(CHANNELS), "every channel to open again")
        await subject.__aexit__(None, None, None)


async def test_a_server_that_becomes_a_replica_is_not_listened_to(tmp_path: Path) -> None:
    """What is published is published elsewhere from then on."""
    with RedisServer(tmp_path / "a") as server, RedisServer(tmp_path / "b") as other:
        async with listening(server.url) as (recorder, _):
            with server.client() as client:
                client.replicaof("127.0.0.1", str(other.port))
                await until(lambda: not recorder.open, "every channel to break")
                client.replicaof("NO", "ONE")
            await until(lambda: recorder.open == set(CHANNELS), "every channel to open again")


async def test_a_listener_that_fails_ends_the_channel(redis_server: RedisServer) -> None:
    class Failing(Recorder):
        def opened(self, channel: str) -> None:
            raise ZeroDivisionError(channel)

    link = RedisLink(redis_server.url, timeout_ms=500, pool_size=2)
    with pytest.RaisesGroup(ZeroDivisionError):
        await PushChannel(link, CHANNELS, Failing(), ping_ms=20).run()
    await link.close()
