"""Server-Sent Events are read as the standard has them, however the bytes are cut."""

from collections.abc import AsyncIterator

import pytest

from sekring.client.sse import ServerSent, read_events

STREAM = (
    b"retry: 2000\n: a comment\n\nid: 1\n\nevent: transition\ndata: {}\nid: 2\n\n"
    b"data:one\r\ndata: two\r\n\r\nid: nul\0\ndata: x\n\nevent: cut off\ndata: y\n"
)

EVENTS = [
    ServerSent("message", b"", None),
    ServerSent("message", b"", "1"),
    ServerSent("transition", b"{}", "2"),
    ServerSent("message", b"one\ntwo", "2"),
    ServerSent("message", b"x", "2"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_events_are_the_same_however_they_come(size: int) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(STREAM), size):
            yield STREAM[start : start + size]

    assert [event async for event in read_events(chunks())] == EVENTS
