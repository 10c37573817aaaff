"""A worker's ways to its supervisor: orders come by stdin, events leave by a pipe of their own."""

import asyncio
import contextlib
import os
import sys
import threading

import msgspec

from sekring.gateway.workers.deadman import DeadMan
from sekring.gateway.workers.hosted import Host
from sekring.gateway.workers.messages import Connect, Event, Extend, Order

__all__ = ["EventPipe", "Orders"]


class EventPipe:
    """Where events go: a line each, whole, from any thread."""

    def __init__(self, fd: int) -> None:
        """Write to `fd`."""
        self._fd = fd
        self._lock = threading.Lock()
        self._encoder = msgspec.json.Encoder()

    def tell(self, event: Event) -> None:
        """Write the event. A supervisor that is gone needs no news."""
        rest = memoryview(self._encoder.encode(event) + b"\n")
        with self._lock, contextlib.suppress(BrokenPipeError):
            while rest:
                rest = rest[os.write(self._fd, rest) :]


class Orders:
    """Reads orders in a thread: leases are extended even while the event loop is blocked."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dead_man: DeadMan) -> None:
        """Hand orders over to `loop`."""
        self._loop = loop
        self._dead_man = dead_man
        self._host: Host | None = None
        self._early: list[Order] = []
        self._gone = False
        self._decoder: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)

    def start(self) -> None:
        """Start reading stdin, before there is anyone to take the orders."""
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def serve(self, host: Host) -> None:
        """Give `host` the orders: those that came early, and all that come. On the loop."""
        self._host = host
        for order in self._early:
            host.take(order)
        if self._gone:
            host.close()

    def _read(self) -> None:
        trouble = None
        try:
            for line in sys.stdin.buffer:
                order = self._decoder.decode(line)
                if isinstance(order, Extend):
                    self._dead_man.extend(order.until_s)
                    continue
                if isinstance(order, Connect):
                    self._dead_man.hold(order.instance_id, order.lease_until_s)
                self._loop.call_soon_threadsafe(self._take, order)
        except (OSError, msgspec.DecodeError) as error:
            trouble = error
        # First of all: a write to stderr may wait for a reader that is gone.
        if not self._dead_man.cut():
            os._exit(0)
        self._loop.call_soon_threadsafe(self._close)
        if trouble is not None:
            sys.stderr.write(f"worker: orders cannot be read: {type(trouble).__name__}\n")

    def _take(self, order: Order) -> None:
        if self._host is None:
            self._early.append(order)
        else:
            self._host.take(order)

    def _close(self) -> None:
        self._gone = True
        if self._host is not None:
            self._host.close()
