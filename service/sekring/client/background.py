"""An event loop in a thread of its own: where the client sends and listens.

Callers come from any thread and any event loop, or have none; what they wait for happens here. So
there is one implementation, in coroutines, for all of them.
"""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sekring.errors import ServiceUnavailable

__all__ = ["Background"]

T = TypeVar("T")


class Background:
    """Starts with the first call, and ends with `stop`; or with the process, as a daemon."""

    def __init__(self) -> None:
        """Prepare it; nothing runs yet."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started."""
        return self._loop is not None

    def start(self, first: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run; `first` is what goes on until it is cancelled by `stop`. Once is enough."""
        with self._lock:
            if self._loop is not None:
                return
            loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._run, args=(loop, first), name="sekring", daemon=True
            )
            self._loop = loop
            self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], within_s: float) -> T:
        """Do `work` there and wait for it; nothing takes longer than `within_s`.

        Raises:
            ServiceUnavailable: it took longer.
        """
        future = self._submit(work)
        try:
            return future.result(within_s)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise ServiceUnavailable(f"There was no answer within {within_s:g} s.") from None

    async def run_async(self, work: Coroutine[Any, Any, T], within_s: float) -> T:
        """Do the same for a caller in another event loop."""
        future = self._submit(work)
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise ServiceUnavailable(f"There was no answer within {within_s:g} s.") from None
        finally:
            future.cancel()

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Have `callback` called there; not at all if it does not run."""
        if loop := self._loop:
            with contextlib.suppress(RuntimeError):  # it ends just now
                loop.call_soon_threadsafe(callback)

    def stop(self, patience_s: float) -> None:
        """End it; what still goes on is cancelled."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_cancel_all)
        if thread is not threading.current_thread():
            thread.join(patience_s)

    def forget(self) -> None:
        """Be as new: this is a forked process, in which the thread does not run."""
        self._lock = threading.Lock()
        self._loop = self._thread = None

    def _submit(self, work: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        loop = self._loop
        if loop is None:
            work.close()
            raise ServiceUnavailable("The client is closed.")
        return asyncio.run_coroutine_threadsafe(work, loop)

    @staticmethod
    def _run(
        loop: asyncio.AbstractEventLoop, first: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        asyncio.set_event_loop(loop)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(first())
            others = asyncio.all_tasks(loop)
            for task in others:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*others, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


def _cancel_all() -> None:
    for task in asyncio.all_tasks():
        task.cancel()
