"""Work that is of use to nobody but who has asked for it: it ends when they go away."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from litestar.types import Receive

__all__ = ["until_gone", "while_wanted"]

_Done = TypeVar("_Done")


async def while_wanted(receive: Receive, work: Coroutine[Any, Any, _Done]) -> _Done | None:
    """Return what `work` does; `None`, and nothing is left of it, if its client goes away first.

    The request's body must have been read.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(until_gone(receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def until_gone(receive: Receive) -> None:
    """Wait until the client of a request has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
