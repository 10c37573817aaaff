"""The real neonize in real worker processes; WhatsApp is never reached.

The slow ones, which wait for timeouts of the library's own, run with `--full`.
"""

import asyncio
import base64
import gc
import hashlib
import importlib.util
import os
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sekring.gateway.workers.messages import Ended, Failed
from sekring.gateway.workers.pool import WorkerPool
from sekring.taxonomy import Kind
from tests.peers import (
    Authority,
    Peer,
    Play,
    answer_http,
    close_at_once,
    read_head,
    refused_port,
    socks_reply,
    stay_silent,
    tunnel,
)
from tests.pooling import UNCHECKED, Sessions, is_gone, neonize_pool

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("neonize"), reason="neonize has no wheel here"
)

#: No store has it.
DEVICE = "6281234567890:7@s.whatsapp.net"


@pytest.fixture(autouse=True)
def _no_proxy_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The authority, which the workers believe."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.trusted))
    return authority


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    async with neonize_pool() as pool:
        yield pool


@pytest.fixture
def sessions(pool: WorkerPool, tmp_path: Path) -> Sessions:
    return Sessions(pool, tmp_path)


def web_socket(then: Play) -> Play:
    """Accept a WebSocket, then let `then` play."""

    def play(connection: socket.socket) -> None:
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", read_head(connection))
        assert key
        accept = hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324
        head = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {base64.b64encode(accept).decode()}\r\n\r\n"
        )
        connection.sendall(head.encode())
        then(connection)

    return play


def babble(connection: socket.socket) -> None:
    """Send a frame that is no answer to a handshake."""
    frame = b"\x00\x00\x04abcd"
    connection.sendall(bytes((0x82, len(frame))) + frame)
    stay_silent(connection)


# ------------------------------------------------------------------------------ dials that fail


async def test_a_machine_without_whatsapps_name_fails_by_dns(sessions: Sessions) -> None:
    try:
        await asyncio.get_running_loop().getaddrinfo("web.whatsapp.com", 443)
    except OSError:
        pass
    else:
        pytest.skip("WhatsApp could be reached from here, and shall not be")
    ending = await sessions.lived()
    assert ending.failed.kind is Kind.DNS
    assert "web.whatsapp.com" in ending.failed.detail
    assert isinstance(ending.events[-1], Ended)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_refused_proxy_port(sessions: Sessions, scheme: str) -> None:
    with refused_port() as port:
        ending = await sessions.lived(f"{scheme}://127.0.0.1:{port}")
    assert ending.failed.kind is Kind.PROXY
    assert "connection refused" in ending.failed.detail


@pytest.mark.parametrize(
    ("proxy", "kind", "detail"),
    [
        pytest.param(
            "http://nobody:secret@127.0.0.1:bad",
            Kind.PROXY,
            "invalid port",
            id="a port that is none",
        ),
        pytest.param("ftp://127.0.0.1:21", Kind.PROXY, "unsupported proxy scheme", id="a scheme"),
        pytest.param(
            "http://nobody.invalid:3128", Kind.PROXY, "lookup nobody.invalid", id="a name"
        ),
    ],
)
async def test_a_proxy_that_is_none(
    sessions: Sessions, proxy: str, kind: Kind, detail: str
) -> None:
    failed = (await sessions.lived(proxy)).failed
    assert failed.kind is kind
    assert detail in failed.detail
    assert "secret" not in failed.detail


#: What a proxy plays; how it is spoken to; what that is to the driver, and what the library says.
DIALS: dict[str, tuple[Play, str, Kind, str]] = {
    "accepted, then closed": (
        close_at_once,
        "http",
        Kind.DISCONNECTED,
        "connection reset by peer",
    ),
    "accepted, then closed by SOCKS": (close_at_once, "socks", Kind.PROXY, "socks connect"),
    "closed behind the proxy": (
        tunnel(close_at_once),
        "http",
        Kind.DISCONNECTED,
        "connection reset by peer",
    ),
    "CONNECT 502": (answer_http("502 Bad Gateway"), "http", Kind.PROXY, "Bad Gateway"),
    "CONNECT 407": (
        answer_http("407 Proxy Authentication Required"),
        "http",
        Kind.PROXY,
        "Proxy Authentication Required",
    ),
    "SOCKS 5": (socks_reply(5), "socks", Kind.PROXY, "unknown error connection refused"),
    "SOCKS 4": (socks_reply(4), "socks", Kind.PROXY, "unknown error host unreachable"),
}


@pytest.mark.parametrize("dial", DIALS)
async def test_a_dial_that_ends_with(sessions: Sessions, dial: str) -> None:
    play, scheme, kind, detail = DIALS[dial]
    with Peer(play) as peer:
        ending = await sessions.lived(getattr(peer, scheme))
    assert ending.failed.kind is kind
    assert detail in ending.failed.detail
    assert [type(event) for event in ending.events] == [Failed, Ended]


async def test_a_bad_certificate(sessions: Sessions, authority: Authority) -> None:
    with Peer(tunnel(authority.tls(stay_silent))) as peer:
        failed = (await sessions.lived(peer.http)).failed
    assert failed.kind is Kind.TLS
    assert "x509: certificate signed by unknown authority" in failed.detail


@pytest.mark.parametrize("status", ["403 Forbidden", "500 Internal Server Error"])
async def test_http_instead_of_a_websocket(
    sessions: Sessions, trusted: Authority, status: str
) -> None:
    with Peer(tunnel(trusted.tls(answer_http(status)))) as peer:
        failed = (await sessions.lived(peer.http)).failed
    assert failed.kind is Kind.WEBSOCKET
    assert failed.detail.endswith(f"status code 101 but got {status[:3]}")


async def test_nonsense_in_the_noise_handshake(sessions: Sessions, trusted: Authority) -> None:
    with Peer(socks_reply(0, trusted.tls(web_socket(babble)))) as peer:
        failed = (await sessions.lived(peer.socks)).failed
    assert failed.kind is Kind.HANDSHAKE
    assert "noise handshake failed" in failed.detail


async def test_silence_before_tls(sessions: Sessions, *, full: bool) -> None:
    if not full:
        pytest.skip("takes 10 s")
    with Peer(tunnel(stay_silent)) as peer:
        failed = (await sessions.lived(peer.http)).failed
    assert failed.kind is Kind.TIMEOUT
    assert "TLS handshake timeout" in failed.detail


async def test_silence_in_the_noise_handshake(
    sessions: Sessions, trusted: Authority, *, full: bool
) -> None:
    if not full:
        pytest.skip("takes 20 s")
    with Peer(tunnel(trusted.tls(web_socket(stay_silent)))) as peer:
        failed = (await sessions.lived(peer.http)).failed
    assert failed.kind is Kind.HANDSHAKE
    assert "timed out" in failed.detail


async def test_an_http_proxy_that_hangs(tmp_path: Path, *, full: bool) -> None:
    if not full:
        pytest.skip("takes 60 s")
    with Peer(stay_silent) as peer:
        async with neonize_pool(dial_ms=90_000) as pool:
            failed = (await Sessions(pool, tmp_path).lived(peer.http)).failed
    assert failed.kind is Kind.TIMEOUT
    assert "deadline exceeded" in failed.detail


# ------------------------------------------------------------------- dials that never come back


@pytest.fixture(params=["SOCKS proxy", "TLS server"])
def hanging(request: pytest.FixtureRequest, trusted: Authority) -> Iterator[tuple[Peer, str]]:
    """Something that hangs for ever, and its address as a proxy."""
    if request.param == "SOCKS proxy":
        with Peer(stay_silent) as peer:
            yield peer, peer.socks
    else:
        with Peer(tunnel(trusted.tls(stay_silent))) as peer:
            yield peer, peer.http


async def test_a_dial_that_hangs_ends_with_its_process(
    tmp_path: Path, hanging: tuple[Peer, str]
) -> None:
    peer, proxy = hanging
    async with neonize_pool(dial_ms=1_500) as pool:
        ending = await Sessions(pool, tmp_path).lived(proxy)
        [pid] = ending.pids
        # `Ended` gives the lease free: nothing of the connection may be left by then.
        assert is_gone(pid)
    assert [type(event) for event in ending.events] == [Failed, Ended]
    assert ending.failed.kind is Kind.TIMEOUT
    assert peer.connections == 1


async def test_a_stop_does_not_wait_for_a_dial_that_hangs(
    tmp_path: Path, hanging: tuple[Peer, str]
) -> None:
    peer, proxy = hanging
    async with neonize_pool(stop_ms=1_000) as pool:
        connection = Sessions(pool, tmp_path).connect(proxy)
        while not peer.open:  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.02)
        pids = pool.pids
        await connection.stop()
        assert all(map(is_gone, pids))
        assert [event async for event in connection.events()] == [
            Ended(instance_id="session-0"),
        ]


async def test_a_lease_that_runs_out_ends_a_dial_that_hangs(
    tmp_path: Path, hanging: tuple[Peer, str]
) -> None:
    """Go may have the event loop and the threads of Python; the switch works all the same."""
    _, proxy = hanging
    async with neonize_pool(dial_ms=60_000) as pool:
        ending = await Sessions(pool, tmp_path).lived(proxy, lease_s=4)
        assert all(map(is_gone, ending.pids))
    assert ending.failed.kind is Kind.WORKER_CRASH
    assert ending.took_s > 1


# --------------------------------------------------------------------------------- Go that panics


async def test_a_panic_of_go_ends_one_session_with_its_last_words(tmp_path: Path) -> None:
    async with neonize_pool(command=UNCHECKED) as pool:
        with Peer(stay_silent) as peer:
            sessions = Sessions(pool, tmp_path)
            began_s = time.monotonic()
            other = sessions.connect(peer.socks)
            while not peer.open:  # noqa: ASYNC110 - another thread counts
                await asyncio.sleep(0.02)
            crash = await sessions.lived(device=DEVICE)
            assert crash.failed.kind is Kind.WORKER_CRASH
            assert "SIGABRT: panic: runtime error" in crash.failed.detail
            assert peer.open == 1
            with refused_port() as port:
                again = await sessions.lived(f"http://127.0.0.1:{port}")
            assert again.failed.kind is Kind.PROXY
            stopping = asyncio.create_task(other.stop())
            assert not (await sessions.watched(other, began_s)).events[:-1]
            await stopping


async def test_a_panic_of_go_takes_along_who_shares_its_process(tmp_path: Path) -> None:
    async with neonize_pool(per_worker=2, command=UNCHECKED) as pool:
        with Peer(stay_silent) as peer:
            sessions = Sessions(pool, tmp_path)
            began_s = time.monotonic()
            other = sessions.connect(peer.socks)
            while not peer.open:  # noqa: ASYNC110 - another thread counts
                await asyncio.sleep(0.02)
            crash = await sessions.lived(device=DEVICE)
            ending = await sessions.watched(other, began_s)
            assert crash.failed.kind is ending.failed.kind is Kind.WORKER_CRASH
            assert len(crash.pids | ending.pids) == 1


async def test_with_the_check_a_lost_device_is_no_panic(sessions: Sessions) -> None:
    failed = (await sessions.lived(device=DEVICE)).failed
    assert failed.kind is Kind.PAIRING


# -------------------------------------------------------------------------- stores and processes


async def test_a_store_may_have_any_name(sessions: Sessions, tmp_path: Path) -> None:
    store = tmp_path / "postgres ?mode=memory#%41'é.db"
    with refused_port() as port:
        await sessions.lived(f"http://127.0.0.1:{port}", device_store=str(store))
    assert [path.name for path in _files(tmp_path)] == [store.name]


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_sessions_that_share_a_process_fail_each_for_its_own_reason(tmp_path: Path) -> None:
    plays = [DIALS["CONNECT 502"], DIALS["SOCKS 5"], DIALS["accepted, then closed"]] * 2
    async with neonize_pool(per_worker=len(plays)) as pool:
        sessions = Sessions(pool, tmp_path)

        async def lived(play: Play, scheme: str) -> tuple[Failed, set[int]]:
            with Peer(play) as peer:
                ending = await sessions.lived(getattr(peer, scheme))
                return ending.failed, ending.pids

        endings = await asyncio.gather(*(lived(play, scheme) for play, scheme, *_ in plays))
    for (_, _, kind, detail), (failed, _) in zip(plays, endings, strict=True):
        assert failed.kind is kind
        assert detail in failed.detail
    assert len(set().union(*(pids for _, pids in endings))) == 1


async def test_connects_and_stops_leave_nothing_in_the_supervisor(
    tmp_path: Path, *, full: bool
) -> None:
    cycles = 200 if full else 12
    async with neonize_pool(stop_ms=500) as pool:
        sessions = Sessions(pool, tmp_path)
        with refused_port() as port, Peer(stay_silent) as peer:
            refused = f"http://127.0.0.1:{port}"

            async def cycle(number: int) -> None:
                if number % 4:
                    assert (await sessions.lived(refused)).failed.kind is Kind.PROXY
                else:
                    connection = sessions.connect(peer.socks if number % 8 else refused)
                    await asyncio.sleep(number % 16 / 20)
                    await connection.stop()
                while pool.pids or peer.open:  # noqa: ASYNC110 - they leave by themselves
                    await asyncio.sleep(0.01)

            for number in range(8):
                await cycle(number)
            before = _footprint()
            for number in range(cycles):
                await cycle(number)
            after = _footprint()
    assert after[:2] == before[:2], "file descriptors or threads were left"
    # Memory comes in pieces; what would grow by a page a cycle would show.
    assert after[2] - before[2] < 2_000 + 4 * cycles


def _footprint() -> tuple[int, int, int]:
    """This process' file descriptors, threads, and resident memory in KiB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    fds = len(list(Path("/proc/self/fd").iterdir()))
    return fds, threading.active_count(), pages * os.sysconf("SC_PAGE_SIZE") // 1024
