"""An open connection, read as its answers arrive, however they are cut into pieces."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from redis.exceptions import AskError, MovedError, ReadOnlyError, ResponseError

from sekring.store.wire import Push, Wire


class Ends:
    """Both ends of a connection: what one side hears, and what the other says."""

    def __init__(self) -> None:
        self.answers: list[object] = []
        self.broke: list[str] = []
        self.said: asyncio.Queue[bytes] = asyncio.Queue()
        self._other: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        self.wire: Wire
        self._news = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._other.put(writer)
        while data := await reader.read(1000):
            await self.said.put(data)

    async def connect(self, port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        self.wire = Wire(writer, taken=self._take, broke=self._end)
        self.peer = await self._other.get()

    async def say(self, data: bytes) -> None:
        self.peer.write(data)
        await self.peer.drain()

    async def heard(self, count: int) -> list[object]:
        await self._until(lambda: len(self.answers) >= count)
        return self.answers

    async def ended(self) -> str:
        await self._until(lambda: bool(self.broke))
        return self.broke[0]

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await self._news.wait()
                self._news.clear()

    def _take(self, answers: Sequence[object]) -> None:
        self.answers += answers
        self._news.set()

    def _end(self, words: str) -> None:
        self.broke.append(words)
        self._news.set()


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    both = Ends()
    async with await asyncio.start_server(both.serve, "127.0.0.1", 0) as server:
        await both.connect(server.sockets[0].getsockname()[1])
        yield both
        both.wire.close()
        with contextlib.suppress(ConnectionError):
            both.peer.close()


async def test_commands_go_out_as_one_text(ends: Ends) -> None:
    ends.wire.write([("GET", "a"), ("SET", "b", b"\x00\xff", 1)])
    expected = (
        b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*4\r\n$3\r\nSET\r\n$1\r\nb\r\n$2\r\n\x00\xff\r\n$1\r\n1\r\n"
    )
    assert await ends.said.get() == expected


async def test_answers_come_in_their_order_however_they_are_cut(ends: Ends) -> None:
    for piece in (b"+O", b"K\r\n$5\r\nhe", b"llo\r\n:4", b"2\r\n*2\r\n:1\r\n", b"_\r\n"):
        await ends.say(piece)
        await asyncio.sleep(0.01)
    assert await ends.heard(4) == [b"OK", b"hello", 42, [1, None]]


async def test_a_push_is_no_answer(ends: Ends) -> None:
    await ends.say(b"+OK\r\n>3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$1\r\nm\r\n")
    answer, push = await ends.heard(2)
    assert answer == b"OK"
    assert isinstance(push, Push)
    assert push == [b"smessage", b"c", b"m"]


async def test_errors_are_answers_that_say_what_they_are(ends: Ends) -> None:
    await ends.say(
        b"-MOVED 7 10.0.0.1:6379\r\n-ASK 8 [::1]:6380\r\n-READONLY You can't\r\n"
        b"-ERR Function not found\r\n-OOM command not allowed\r\n"
    )
    moved, asked, *others = await ends.heard(5)
    assert isinstance(moved, MovedError)
    assert (moved.slot_id, moved.host, moved.port) == (7, "10.0.0.1", 6379)
    assert type(asked) is AskError
    assert asked.port == 6380
    assert [(type(error), str(error)) for error in others] == [
        (ReadOnlyError, "You can't"),
        (ResponseError, "Function not found"),
        (ResponseError, "OOM command not allowed"),
    ]


async def test_what_is_no_answer_of_redis_ends_the_connection(ends: Ends) -> None:
    await ends.say(b"+OK\r\nHTTP/1.1 400 Bad Request\r\n\r\n")
    assert "no answer of Redis" in await ends.ended()
    # What came before it counts.
    assert ends.answers == [b"OK"]


async def test_the_end_is_told_once(ends: Ends) -> None:
    ends.peer.close()
    assert await ends.ended() == "Connection closed by server"
    ends.wire.write([("PING",)])
    ends.wire.end("again")
    await asyncio.sleep(0.05)
    assert len(ends.broke) == 1


async def test_who_closes_is_not_told(ends: Ends) -> None:
    ends.wire.close()
    await asyncio.sleep(0.05)
    assert ends.broke == []
