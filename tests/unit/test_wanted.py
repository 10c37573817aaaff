"""Work that ends when nobody wants its result any more."""

import asyncio
from typing import Any

import pytest

from sekring.http.wanted import while_wanted


class Client:
    """Stays until it is told to go."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.waited_for = 0

    async def receive(self) -> Any:
        self.waited_for += 1
        try:
            await self.left.wait()
        finally:
            self.waited_for -= 1
        return {"type": "http.disconnect"}


async def test_what_is_done_is_returned_and_nobody_is_waited_for() -> None:
    client = Client()

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await while_wanted(client.receive, work()) == 7
    assert client.waited_for == 0


async def test_when_the_client_goes_the_work_ends() -> None:
    client, ended = Client(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.ensure_future(while_wanted(client.receive, work()))
    await asyncio.sleep(0)
    client.left.set()
    await waiting
    assert ended.is_set()


async def test_what_goes_wrong_is_said() -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await while_wanted(Client().receive, work())


async def test_who_is_cancelled_takes_the_work_along() -> None:
    client, ended = Client(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.ensure_future(while_wanted(client.receive, work()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
    assert client.waited_for == 0
