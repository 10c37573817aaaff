"""What a WhatsApp client may meet on its way: proxies and servers that behave badly, on loopback.

WhatsApp is not reached: each proxy plays what is behind it as well. `with Peer(refuse_connect) as
peer: connect(proxy=peer.http)`. A peer serves any number of connections, each in a thread.
"""

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = [
    "Authority",
    "Peer",
    "Play",
    "answer_http",
    "close_at_once",
    "read_head",
    "refused_port",
    "socks_reply",
    "stay_silent",
    "tunnel",
]

#: Plays one connection; it is closed when this returns.
Play = Callable[[socket.socket], None]

_WHATSAPP = "web.whatsapp.com"
_LINGER_NOT = struct.pack("ii", 1, 0)


class Peer:
    """A TCP server on loopback that plays the same to everyone."""

    def __init__(self, play: Play) -> None:
        """Listen; connections are served from `with` on."""
        self._play = play
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._listener.getsockname()[1])
        #: How many connections there were.
        self.connections = 0

    @property
    def http(self) -> str:
        """URL of the peer as an HTTP proxy."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def socks(self) -> str:
        """URL of the peer as a SOCKS proxy."""
        return f"socks5://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """How many connections there are."""
        with self._lock:
            return len(self._open)

    def __enter__(self) -> Self:
        """Serve."""
        threading.Thread(target=self._accept, name="peer", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and end all connections."""
        # Closing alone would not wake who waits in `accept`.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_all()

    def break_all(self) -> None:
        """End all connections that there are."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with self._lock:
                    self._open.add(connection)
                    self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            # The client may be killed in the middle of anything.
            with contextlib.suppress(OSError):
                self._play(connection)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


@contextlib.contextmanager
def refused_port() -> Iterator[int]:
    """Return a port where every connection is refused, and keep it so."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        yield int(place.getsockname()[1])


# -------------------------------------------------------------------------------- what is played


def close_at_once(connection: socket.socket) -> None:
    """Reset the connection as soon as it is there, and its other end knows that it is."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)


def stay_silent(connection: socket.socket) -> None:
    """Read whatever comes and never answer."""
    while connection.recv(4096):
        pass


def answer_http(status: str) -> Play:
    """Answer an HTTP request, CONNECT included, with `status` (`502 Bad Gateway`)."""

    def play(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        stay_silent(connection)

    return play


def tunnel(behind: Play) -> Play:
    """Be an HTTP proxy that lets everyone through, to `behind`."""

    def play(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        behind(connection)

    return play


def socks_reply(code: int, behind: Play | None = None) -> Play:
    """Be a SOCKS proxy that answers a request with `code` (0: let through, to `behind`)."""

    def play(connection: socket.socket) -> None:
        methods = _read(connection, 2)[1]
        _read(connection, methods)
        connection.sendall(b"\x05\x00")
        *_, kind = _read(connection, 4)
        length = _read(connection, 1)[0] if kind == 3 else 4  # a name, or IPv4
        _read(connection, length + 2)
        connection.sendall(bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0)))
        if behind and not code:
            behind(connection)

    return play


def _read(connection: socket.socket, count: int) -> bytes:
    read = b""
    while len(read) < count:
        piece = connection.recv(count - len(read))
        if not piece:
            raise ConnectionResetError
        read += piece
    return read


def read_head(connection: socket.socket) -> bytes:
    """Read the head of an HTTP message."""
    read = b""
    while not read.endswith(b"\r\n\r\n"):
        read += _read(connection, 1)
    return read


class Authority:
    """Certifies this machine as WhatsApp, for clients that read `trusted` (SSL_CERT_FILE)."""

    def __init__(self, folder: Path) -> None:
        """Make a certificate and its key in `folder`."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _WHATSAPP)])
        now = dt.datetime.now(dt.UTC)
        names = [x509.DNSName(_WHATSAPP), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        folder.mkdir(parents=True, exist_ok=True)
        #: The certificate as a file: who trusts it finds the server good.
        self.trusted = folder / "certificate.pem"
        self.trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = folder / "key.pem"
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.trusted, private)

    def tls(self, behind: Play) -> Play:
        """Speak TLS, then let `behind` play."""
        return partial(self._secured, behind)

    def _secured(self, behind: Play, connection: socket.socket) -> None:
        with self._context.wrap_socket(connection, server_side=True) as secured:
            behind(secured)
