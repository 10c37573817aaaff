"""The dead man's switch of a worker: no connection outlives its lease because nobody is left.

A thread of its own, for a library's call may block the event loop; and a kernel timer behind it,
for such a call may also keep every thread of Python from running.
"""

import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["GRACE_S", "DeadMan"]

#: How long a connection may take to stop, in seconds; then the whole process ends.
GRACE_S: Final = 1.0

#: How much later the kernel ends the process (SIGALRM) if no thread could, in seconds.
_KERNEL_S: Final = 0.5


class DeadMan:
    """Stops each connection at the end of its lease, unless the lease is extended before."""

    def __init__(self, stop: Callable[[str], None], end: Callable[[], None]) -> None:
        """Take two things to call from the switch's thread.

        `stop` gets an instance's id and returns at once; `end` ends the process and never returns.
        """
        self._stop = stop
        self._end = end
        self._changed = threading.Condition()
        self._until_s: dict[str, float] = {}
        #: Those that were told to stop.
        self._stopping: set[str] = set()
        self._cut = False

    def start(self) -> None:
        """Start the thread, which lasts as long as the process."""
        threading.Thread(target=self._watch, name="dead-man", daemon=True).start()

    def hold(self, instance_id: str, until_s: float) -> None:
        """Take on a connection whose lease ends at `until_s` (CLOCK_MONOTONIC, s).

        One whose lease has ended already has the same time to notice as one that ends now.
        """
        with self._changed:
            if self._cut:
                until_s = 0.0
            self._until_s[instance_id] = max(until_s, time.monotonic())
            self._set()

    def extend(self, until_s: Mapping[str, float]) -> None:
        """Take note of renewed leases; what ended or is being stopped already stays so."""
        with self._changed:
            for instance_id, moment_s in until_s.items():
                known_s = self._until_s.get(instance_id)
                if known_s is not None and instance_id not in self._stopping:
                    self._until_s[instance_id] = max(known_s, moment_s)
            self._set()

    def release(self, instance_id: str) -> None:
        """Forget a connection of which nothing is left."""
        with self._changed:
            self._until_s.pop(instance_id, None)
            self._stopping.discard(instance_id)
            self._set()

    def cut(self) -> bool:
        """End all leases now: the supervisor is gone. Returns whether there were any."""
        with self._changed:
            self._cut = True
            now_s = time.monotonic()
            for instance_id, until_s in self._until_s.items():
                self._until_s[instance_id] = min(until_s, now_s)
            self._set()
            return bool(self._until_s)

    def _set(self) -> None:
        """Follow a change: set the kernel's timer and wake the thread."""
        last_s = 0.0
        if self._until_s:
            last_s = min(self._until_s.values()) + GRACE_S + _KERNEL_S
            last_s = max(0.001, last_s - time.monotonic())
        # Not handled by anyone, SIGALRM ends the process, whatever it is doing.
        signal.setitimer(signal.ITIMER_REAL, last_s)
        self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while True:
                self._changed.wait(self._step())

    def _step(self) -> float | None:
        """Do what is due; return the time until the next thing is, in seconds."""
        now_s = time.monotonic()
        next_s: float | None = None
        for instance_id, until_s in self._until_s.items():
            if until_s <= now_s and instance_id not in self._stopping:
                self._stopping.add(instance_id)
                self._stop(instance_id)
            due_s = until_s
            if instance_id in self._stopping:
                due_s += GRACE_S
                if due_s <= now_s:
                    self._end()
            next_s = due_s if next_s is None else min(next_s, due_s)
        return None if next_s is None else max(0.0, next_s - now_s)
