"""Server processes that tell each other their metrics, here within one process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from sekring.telemetry.families import Family
from sekring.telemetry.meters import Meters
from sekring.telemetry.siblings import Siblings


def counted(value: int) -> list[Family]:
    meters = Meters()
    meters.counter("sekring.permits", "Permits.", ["source"])["view",] += value
    meters.histogram("sekring.waits", "Waits.", ["result"], bounds=[1]).record(0.5, ("shown",))
    return meters.gather()


@contextlib.asynccontextmanager
async def process(folder: Path | None, value: int) -> AsyncIterator[Siblings]:
    siblings = Siblings(folder, lambda: counted(value))
    async with siblings.running():
        yield siblings


async def told(siblings: Siblings) -> dict[tuple[str, ...], float]:
    """Return the permits that a process tells, by their labels."""
    permits, waits = await siblings.gather()
    assert permits.labels[1:] == waits.labels[1:]
    assert {one.labels[1:] for one in permits.points} == {one.labels[1:] for one in waits.buckets}
    return {tuple(point.labels): point.value for point in permits.points}


async def test_a_process_alone_has_no_number() -> None:
    async with process(None, 5) as alone:
        assert await told(alone) == {("view",): 5}


async def test_each_tells_the_figures_of_all(tmp_path: Path) -> None:
    async with process(tmp_path, 5) as first, process(tmp_path, 7) as second:
        both = {("view", "1"): 5, ("view", "2"): 7}
        assert await told(first) == both
        assert await told(second) == both


async def test_a_number_passes_to_the_next_process(tmp_path: Path) -> None:
    async with process(tmp_path, 5) as first:
        async with process(tmp_path, 7):
            pass
        assert await told(first) == {("view", "1"): 5}
        async with process(tmp_path, 1):
            assert await told(first) == {("view", "1"): 5, ("view", "2"): 1}


async def test_one_that_was_killed_is_left_out(tmp_path: Path) -> None:
    """Its socket is still there, and nobody behind it."""
    async with process(tmp_path, 5) as first:
        server = await asyncio.start_unix_server(lambda *_: None, tmp_path / "2.sock")
        (tmp_path / "2.sock").rename(tmp_path / "kept")
        server.close()
        (tmp_path / "kept").rename(tmp_path / "2.sock")
        assert await told(first) == {("view", "1"): 5}


async def test_one_that_hangs_is_left_out(tmp_path: Path) -> None:
    def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.append(writer)

    silent: list[asyncio.StreamWriter] = []
    async with process(tmp_path, 5) as first:
        server = await asyncio.start_unix_server(say_nothing, tmp_path / "2.sock")
        assert await told(first) == {("view", "1"): 5}
        for writer in silent:
            writer.close()
        server.close()
