"""Work that is to be finished although the task that does it was cancelled."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["finish"]

T = TypeVar("T")


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Do the work to its end; a cancellation meanwhile is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            # Also if the work is done by now: whoever cancels must not be left waiting.
            cancelled = error
        except Exception:  # noqa: BLE001 - `result` below raises it
            break
    if cancelled is not None:
        if not task.cancelled() and (failed := task.exception()):
            raise cancelled from failed
        raise cancelled
    return task.result()
