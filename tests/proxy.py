"""A TCP proxy on loopback, between one replica and Redis: the network that fails when told to.

It runs on an event loop in a thread of its own, so that a test may be synchronous or not. What the
network does is said at once for all connections:

| method | connections that there are | new ones |
|---|---|---|
| `resume` | pass | pass |
| `delay` | pass, later | pass, later |
| `cut` | are reset | are refused |
| `hold` | nothing arrives until `resume`, then all of it does | the same |
| `black_hole` | what is sent is lost, and nobody is told | the same |
| `half_open` | lose what is sent, one way or both ways | pass, or lose everything |

`hold` is a partition shorter than TCP's patience: retransmission delivers in the end. `black_hole`
is a longer one. A connection that has lost bytes is reset by `resume`: its stream has a gap.
"""

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import Coroutine
from enum import Enum, auto
from types import TracebackType
from typing import Any, Literal, Self, cast

from tests.servers import SERVICE_LOGIN

__all__ = ["Proxy"]

#: Which of a connection's two ways loses what is sent on it.
Way = Literal["to_server", "to_client", "both"]

_LINGER_NOT = struct.pack("ii", 1, 0)


class _Flow(Enum):
    PASS = auto()
    HOLD = auto()
    LOSE = auto()


class _Goodbye(Enum):
    CLOSE = auto()
    RESET = auto()


class _End(asyncio.Protocol):
    """One end of a connection: what arrives here leaves at the other end."""

    def __init__(self, link: "_Link", flow: _Flow) -> None:
        self.link = link
        self.flow = flow
        self.transport: asyncio.Transport | None = None
        self.gone = False
        #: What has arrived, and when to send it on (the loop's time).
        self._arrived: deque[tuple[float, bytes | _Goodbye]] = deque()
        self._planned = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.link.broken:
            self.reset()
        self.link.send_on()

    def data_received(self, data: bytes) -> None:
        self._take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._take(_Goodbye.RESET if exc else _Goodbye.CLOSE)
        self.link.ended()

    def pause_writing(self) -> None:
        if transport := self.link.opposite(self).transport:
            transport.pause_reading()

    def resume_writing(self) -> None:
        if transport := self.link.opposite(self).transport:
            transport.resume_reading()

    @property
    def holds_something(self) -> bool:
        """Whether bytes that arrived here are still to be delivered."""
        return self.flow is not _Flow.LOSE and len(self._arrived) > 0

    def _take(self, what: bytes | _Goodbye) -> None:
        if self.flow is _Flow.LOSE:
            self.link.has_gap = True
            return
        loop = asyncio.get_running_loop()
        self._arrived.append((loop.time() + self.link.delay_s, what))
        self.send_on()

    def send_on(self) -> None:
        """Send what is due to the other end."""
        loop = asyncio.get_running_loop()
        to = self.link.opposite(self)
        while self._arrived and self.flow is _Flow.PASS and to.transport and not to.gone:
            at, what = self._arrived[0]
            if at > loop.time():
                if not self._planned:
                    self._planned = True
                    loop.call_at(at, self._send_planned)
                return
            self._arrived.popleft()
            if isinstance(what, bytes):
                to.transport.write(what)
            elif what is _Goodbye.RESET:
                to.reset()
            else:
                to.transport.close()

    def reset(self) -> None:
        """Break this end at once, with RST."""
        if self.transport and not self.gone:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            self.transport.abort()

    def _send_planned(self) -> None:
        self._planned = False
        self.send_on()


class _Link:
    """A client's connection and ours to the server, of which the client's exists first."""

    def __init__(self, proxy: "Proxy", flow: _Flow) -> None:
        self.client = _End(self, flow)
        self.server = _End(self, flow)
        self.has_gap = False
        self.broken = False
        self._proxy = proxy
        self._connecting: asyncio.Task[None] | None = None
        if flow is _Flow.PASS:
            self._connect()

    @property
    def delay_s(self) -> float:
        return self._proxy.delay_s

    def opposite(self, end: _End) -> _End:
        return self.server if end is self.client else self.client

    def let_pass(self) -> None:
        """Let everything through again, unless something is missing from it."""
        if self.has_gap:
            self.break_off()
            return
        self.client.flow = self.server.flow = _Flow.PASS
        if self._connecting is None:
            self._connect()
        self.send_on()

    def send_on(self) -> None:
        self.client.send_on()
        self.server.send_on()

    def break_off(self) -> None:
        """Reset both ends."""
        if self._connecting:
            self._connecting.cancel()
        self.broken = True
        self.client.flow = self.server.flow = _Flow.LOSE
        self.client.reset()
        self.server.reset()
        self.ended()

    def ended(self) -> None:
        """Forget the link if both ends are gone, and all that was sent with them."""
        server_gone = self.server.gone or self.server.transport is None
        if self.client.gone and server_gone and not self.client.holds_something:
            self._proxy.links.discard(self)

    def _connect(self) -> None:
        self._connecting = asyncio.get_running_loop().create_task(self._reach_server())

    async def _reach_server(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self.server, "127.0.0.1", self._proxy.server_port)
        except OSError:
            self.break_off()


class Proxy:
    """`with Proxy(redis.port) as proxy: ServiceProcess(proxy.url)`; all methods are thread-safe."""

    def __init__(self, server_port: int) -> None:
        """Lead to a port of this machine; nothing listens yet."""
        self.server_port = server_port
        self.links: set[_Link] = set()
        self.delay_s = 0.0
        self._new = _Flow.PASS
        # Bound and never listening: keeps the port while connections are refused.
        self._place = self._socket(0)
        self.port = int(self._place.getsockname()[1])
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def url(self) -> str:
        """URL of the server's database 0, by way of the proxy."""
        return f"redis://{SERVICE_LOGIN}127.0.0.1:{self.port}/0"

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self.links)

    def resume(self) -> None:
        """Be a good network again; connections that have lost bytes are reset."""
        self._do(self._resume())

    def delay(self, ms: float) -> None:
        """Let everything take so much longer, each way; until `resume`."""
        self._do(self._delay(ms))

    def cut(self) -> None:
        """Reset all connections and refuse new ones."""
        self._do(self._cut())

    def hold(self) -> None:
        """Keep back what is sent, new connections' bytes included, and deliver it at `resume`."""
        self._do(self._set(_Flow.HOLD, _Flow.HOLD, _Flow.HOLD))

    def black_hole(self) -> None:
        """Lose everything, tell nobody: not even who closes a connection is heard."""
        self._do(self._set(_Flow.LOSE, _Flow.LOSE, _Flow.LOSE))

    def half_open(self, way: Way = "both", *, new_pass: bool = True) -> None:
        """Lose what present connections send, on one way or both; new ones work or do not."""
        to_server = _Flow.PASS if way == "to_client" else _Flow.LOSE
        to_client = _Flow.PASS if way == "to_server" else _Flow.LOSE
        self._do(self._set(to_server, to_client, _Flow.PASS if new_pass else _Flow.LOSE))

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Break every connection and stop listening."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._place.close()

    def _do(self, action: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(action, self._loop).result()

    # -------------------------------------------------------------------------- in the thread

    async def _resume(self) -> None:
        self.delay_s = 0.0
        self._new = _Flow.PASS
        for link in list(self.links):
            link.let_pass()
        await self._listen()

    async def _delay(self, ms: float) -> None:
        self.delay_s = ms / 1000

    async def _cut(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        for link in list(self.links):
            link.break_off()

    async def _set(self, to_server: _Flow, to_client: _Flow, new: _Flow) -> None:
        self._new = new
        for link in self.links:
            link.client.flow, link.server.flow = to_server, to_client
        await self._listen()

    async def _listen(self) -> None:
        if self._server is None:
            sock = self._socket(self.port)
            sock.listen(512)
            self._server = await self._loop.create_server(self._accept, sock=sock)

    async def _end(self) -> None:
        await self._cut()
        while self.links:  # noqa: ASYNC110 - each goes when its transports have said good-bye
            await asyncio.sleep(0.001)

    def _accept(self) -> _End:
        link = _Link(self, self._new)
        self.links.add(link)
        return link.client

    @staticmethod
    def _socket(port: int) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        return sock
