r"""The worker process, started by `process.py`: runs a driver, and dies alone.

::

    python -m sekring.gateway.workers.host \
        '{"driver": {"name": "scripted"}, "events_fd": 5, "held_fd": 6}'

Orders come on stdin, events leave by a pipe of their own (`events_fd`), both as JSON lines: stdout
and stderr belong to whatever the driver's library prints. `held_fd` is the reading end of their
pipe, held open so that it never breaks: a library in Go ends its process when stdout does.

The driver is made in here by

* ``sekring.gateway.workers.scripted.make_scripted(scenario: str | None, log: str | None)`` or
* ``sekring.gateway.workers.neonize.driver.make_driver()``,

called once, in the main thread, before the event loop runs; what they raise ends the worker, and
the supervisor reads the traceback. A driver may also be `Listening` and `HardEnding` (`driver.py`).

SIGINT, SIGTERM and SIGHUP are ignored: a terminal or an init system sends them to the supervisor as
well, which stops the connections one by one. At the end of stdin the supervisor is gone: everything
is stopped as if all leases had ended.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NoReturn

from sekring.gateway.workers.choice import HostOptions
from sekring.gateway.workers.deadman import GRACE_S, DeadMan
from sekring.gateway.workers.driver import HardEnding, Listening, SessionDriver
from sekring.gateway.workers.hosted import Host
from sekring.gateway.workers.messages import Started
from sekring.gateway.workers.pipes import EventPipe, Orders

__all__ = ["main"]

#: A library may take a thread for each of its sessions (neonize does), and some for its calls.
_THREADS_PER_SESSION: Final = 4
_THREADS_BESIDE: Final = 16

#: Longest line of stdout that a driver is given at once, in bytes.
_LINE_BYTES: Final = 16_384


class _Life:
    """Wires one worker process together."""

    def __init__(self, options: HostOptions, loop: asyncio.AbstractEventLoop) -> None:
        self._options = options
        self._loop = loop
        self._events = EventPipe(options.events_fd)
        self._dead_man = DeadMan(self._stop, self._end)
        self._orders = Orders(loop, self._dead_man)
        self._host: Host | None = None
        self._ends_hard: Callable[[], None] | None = None

    def prepare(self) -> SessionDriver:
        """Listen for orders, then import and make the driver, which takes its time."""
        self._dead_man.start()
        self._orders.start()
        driver = self._options.driver.make()
        if isinstance(driver, HardEnding):
            self._ends_hard = driver.ends_hard
        if isinstance(driver, Listening):
            _overhear(driver)
        return driver

    async def run(self, driver: SessionDriver) -> None:
        """Serve until there is no more to do."""
        threads = self._options.sessions * _THREADS_PER_SESSION + _THREADS_BESIDE
        self._loop.set_default_executor(ThreadPoolExecutor(threads))
        self._host = Host(driver, self._events.tell, self._dead_man)
        self._orders.serve(self._host)
        self._events.tell(Started(build=driver.build))
        await self._host.run()

    def _stop(self, instance_id: str) -> None:
        if self._host is not None:
            self._loop.call_soon_threadsafe(self._host.stop, instance_id)

    def _end(self) -> None:
        # Nothing in here may wait: what it would wait for is what hangs.
        if self._ends_hard:
            with contextlib.suppress(Exception):
                self._ends_hard()
        os.kill(os.getpid(), signal.SIGKILL)


def _overhear(driver: Listening) -> None:
    """Give the driver what is printed on stdout, and pass on to the supervisor what it keeps."""
    supervisor = os.dup(1)
    read, write = os.pipe()
    os.dup2(write, 1)
    os.close(write)

    def listen() -> None:
        with os.fdopen(read, "rb") as printed:
            while line := printed.readline(_LINE_BYTES):
                try:
                    kept = driver.heard(line.decode(errors="replace").rstrip("\r\n"))
                except Exception:  # noqa: BLE001 - a fault in there must not stop the draining
                    kept = traceback.format_exc()
                if kept:
                    with contextlib.suppress(OSError):
                        os.write(supervisor, kept.encode() + b"\n")

    threading.Thread(target=listen, name="stdout", daemon=True).start()


def main() -> NoReturn:
    """Serve one supervisor; ends the process without waiting for any thread of a library."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    options = HostOptions.decode(sys.argv[1])
    for fd in (options.events_fd, options.held_fd):
        # Not for a process that the driver's library may start.
        os.set_inheritable(fd, False)  # noqa: FBT003 - its only form
    status = 0
    with asyncio.Runner() as runner:
        try:
            life = _Life(options, runner.get_loop())
            runner.run(life.run(life.prepare()))
        except BaseException:  # noqa: BLE001 - written down for the supervisor
            traceback.print_exc()
            status = 1
        # Not for long if nobody reads: SIGALRM, again.
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
