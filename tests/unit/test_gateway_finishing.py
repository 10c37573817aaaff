"""Work that a cancellation does not cut short."""

import asyncio

import pytest

from sekring.gateway.finishing import finish


async def test_the_result_is_returned() -> None:
    assert await finish(asyncio.sleep(0, "done")) == "done"


async def test_an_error_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await finish(fail())


async def test_it_is_done_to_its_end_though_cancelled_again_and_again() -> None:
    done = []
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        for _ in range(5):
            await asyncio.sleep(0.01)
        done.append(1)

    task = asyncio.create_task(finish(work()))
    await begun.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.005)

    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [1]


async def test_a_cancellation_is_raised_although_the_work_is_done_in_no_time() -> None:
    async def work() -> None:
        pass

    async def cancel_myself() -> None:
        task = asyncio.current_task()
        assert task
        task.cancel()
        await finish(work())

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(cancel_myself())


async def test_an_error_after_a_cancellation_is_its_cause() -> None:
    async def fail() -> None:
        await asyncio.sleep(0.02)
        raise ValueError

    task = asyncio.create_task(finish(fail()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert isinstance(caught.value.__cause__, ValueError)
