"""A webhook's receiver: a small HTTP server that keeps what it gets, and answers as it is told."""

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.servers import free_port, wait_until

__all__ = ["Delivery", "Receiver"]


class Delivery(NamedTuple):
    """One POST as it came."""

    headers: dict[str, str]
    raw: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def instance_id(self) -> str:
        return str(self.body["data"]["instance_id"])

    def is_signed_with(self, secret: str) -> bool:
        """Verify it as Standard Webhooks says."""
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.raw
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return self.headers["webhook-signature"] == f"v1,{expected}"


class Receiver:
    """`with Receiver() as receiver: …`; it may be closed and opened again on its port."""

    def __init__(self) -> None:
        """Answer 204 to everything; nothing listens yet."""
        self.port = free_port()
        #: Returns the status that a delivery is answered with.
        self.answer: Callable[[Delivery], int] = lambda _: 204
        #: Everything that came, and what of it was answered with 2xx; in the order of the answers.
        self.came: list[Delivery] = []
        self.taken: list[Delivery] = []
        self._connections: list[socket.socket] = []
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def ids(self) -> list[str]:
        """The ids of what was taken."""
        return [delivery.id for delivery in list(self.taken)]

    def of(self, instance_id: str) -> list[Delivery]:
        """What was taken of one instance."""
        return [item for item in list(self.taken) if item.instance_id == instance_id]

    def wait_for(self, count: int, seconds: float = 30) -> list[Delivery]:
        """Wait until so many deliveries were taken; return them."""
        wait_until(lambda: len(self.taken) >= count, f"{count} deliveries", seconds)
        return list(self.taken)

    def open(self) -> None:
        """Listen."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                raw = self.rfile.read(length)
                if len(raw) < length:  # its sender was killed
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                status = receiver._take(Delivery(headers, raw))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.send_header("location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def process_request(self, request: Any, client_address: Any) -> None:
                receiver._connections.append(request)
                super().process_request(request, client_address)

            def handle_error(self, *_: object) -> None:
                pass  # a sender that was killed

        self._server = Server(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """End the connections, and refuse further ones."""
        if self._server and self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._connections.clear()
            self._server = None

    def _take(self, delivery: Delivery) -> int:
        self.came.append(delivery)
        status = self.answer(delivery)
        if 200 <= status < 300:
            self.taken.append(delivery)
        return status

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
