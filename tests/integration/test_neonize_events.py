"""What the driver makes of everything that neonize tells, up to the kind that the service derives.

neonize's own Python runs here, with a stand-in for its Go part (`tests/fakego.py`).
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from sekring.errors import DriverError
from sekring.gateway.workers.messages import (
    Connect,
    Connected,
    Event,
    Failed,
    KeepAlive,
    Paired,
    QrShown,
)
from sekring.gateway.workers.neonize.driver import NeonizeDriver
from sekring.gateway.workers.neonize.library import Library
from sekring.gateway.workers.neonize.session import NeonizeSession
from sekring.taxonomy import EFFECTS, Effect, Kind, classify
from tests.fakego import FakeGo, Play, Voice, load_library
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess
from tests.whatsmeow import needs_neonize

DEVICE = "6281234567890:7@s.whatsapp.net"
SECRET = "2@c2VjcmV0LW9mLXRoZS1xci1jb2Rl"

COUNT, TERMINAL, BAN, BUILD, CONFLICT, IGNORE = Effect

#: How neonize ends a task whose event it cannot encode.
UNENCODABLE = "proto: required field neonize.ConnectFailure.Reason not set"


pytestmark = needs_neonize


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A device store that has `DEVICE`."""
    path = tmp_path / "devices.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE whatsmeow_device (jid TEXT PRIMARY KEY)")
        database.execute("INSERT INTO whatsmeow_device VALUES (?)", (DEVICE,))
        database.commit()
    return path


class Life:
    """A session that runs in the background, and what it has told."""

    def __init__(self, session: NeonizeSession, go: FakeGo, told: list[Event]) -> None:
        self.session = session
        self.go = go
        self.told = told
        self.running = asyncio.create_task(session.run())

    async def ends(self) -> list[Event]:
        await asyncio.wait_for(self.running, 20)
        return self.told

    async def tells(self, kind: type[Event]) -> None:
        async with asyncio.timeout(20):
            while not any(isinstance(event, kind) for event in self.told):  # noqa: ASYNC110
                await asyncio.sleep(0.005)


Live = Callable[..., Life]


@pytest.fixture
async def live(
    library: Library, store: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Live]:
    """Start sessions, each with a play of its own."""
    # The stand-in has no maps that a client would have to get into.
    monkeypatch.setattr("sekring.gateway.workers.neonize.library._ENTRY_S", 0.01)
    lives: list[Life] = []

    def start(play: Play, **order: Any) -> Life:
        go = FakeGo(play)
        monkeypatch.setattr("neonize.aioze.client.gocode", go)
        monkeypatch.setattr("neonize.aioze.events.event_global_loop", None)
        told: list[Event] = []
        order = {"device": DEVICE, "device_store": str(store)} | order
        connect = Connect(instance_id="demo", token=1, lease_until_s=time.monotonic() + 60, **order)
        life = Life(NeonizeDriver(library).session(connect, told.append), go, told)
        lives.append(life)
        return life

    yield start
    for life in lives:
        await life.session.stop()
        await life.ends()


def fails(name: str, **fields: Any) -> Play:
    """Connect, tell of one event, and go on until somebody stops it."""

    def play(voice: Voice) -> None:
        voice.connected()
        for key, value in fields.items():
            if isinstance(value, list):
                fields[key] = [voice.message("Node", **each) for each in value]
        if name == "StreamError":
            raw = voice.message("Node", Tag="stream:error", Nodes=fields.pop("Nodes", []))
            fields["Raw"] = raw
        voice.tell(name, **fields)
        voice.until_stopped()

    return play


def says(*lines: str, then: str | None = None, error: str | None = None) -> Play:
    """Log lines, perhaps tell of an event, and end with an error or with the stop."""

    def play(voice: Voice) -> str | None:
        voice.connected()
        for line in lines:
            voice.log(line)
        if then:
            voice.tell(then, status=True)
        if error is None:
            voice.until_stopped()
        return error

    return play


def unpaired(*steps: tuple[str, str]) -> Play:
    """Show codes, log and end a pairing as told, without a loop of events."""

    def play(voice: Voice) -> None:
        for what, text in steps:
            getattr(voice, what)(text)
        voice.until_stopped()

    return play


def service_kind(failed: Failed) -> Kind:
    """The kind that the service derives from a report."""
    if failed.kind:
        assert failed.code is None
        return failed.kind
    assert failed.protocol == "whatsmeow"
    assert failed.code is not None
    return classify(failed.protocol, failed.code, failed.detail)


ROWS: dict[str, tuple[Play, Kind, Effect]] = {
    "Disconnected": (fails("Disconnected", status=True), Kind.DISCONNECTED, COUNT),
    "StreamError 500": (fails("StreamError", Code="500"), Kind.UPSTREAM, COUNT),
    "StreamError 516": (fails("StreamError", Code="516"), Kind.UNKNOWN, COUNT),
    "StreamError without a code": (
        fails("StreamError", Code="", Nodes=[{"Tag": "xml-not-well-formed"}]),
        Kind.STREAM_ERROR,
        COUNT,
    ),
    "400": (fails("ConnectFailure", Reason=1), Kind.UNKNOWN, COUNT),
    "411": (
        says('Unknown connect failure: <failure reason="411"/>', error=UNENCODABLE),
        Kind.UNKNOWN,
        COUNT,
    ),
    "415": (
        says('Unknown connect failure: <failure location="cln" reason="415"/>', error=UNENCODABLE),
        Kind.UNKNOWN,
        COUNT,
    ),
    "418": (
        says('Unknown connect failure: <failure reason="418"/>', error=UNENCODABLE),
        Kind.UNKNOWN,
        COUNT,
    ),
    "501": (fails("ConnectFailure", Reason=9), Kind.UNKNOWN, COUNT),
    "500": (
        says("Got 500/oops connect failure, assuming automatic reconnect will handle it"),
        Kind.UPSTREAM,
        COUNT,
    ),
    "503": (
        says(
            "Got 503/service unavailable connect failure, assuming automatic reconnect will handle"
            " it",
            then="Disconnected",
        ),
        Kind.UPSTREAM,
        COUNT,
    ),
    "500 as an event": (fails("ConnectFailure", Reason=8), Kind.UPSTREAM, COUNT),
    "503 as an event": (fails("ConnectFailure", Reason=10), Kind.UPSTREAM, COUNT),
    "stream 503": (
        says(
            "Got 503 stream error, assuming automatic reconnect will handle it",
            then="Disconnected",
        ),
        Kind.UPSTREAM,
        COUNT,
    ),
    "401": (fails("LoggedOut", OnConnect=True, Reason=2), Kind.LOGGED_OUT, TERMINAL),
    "stream 401": (fails("LoggedOut", OnConnect=False, Reason=2), Kind.LOGGED_OUT, TERMINAL),
    "403": (fails("LoggedOut", OnConnect=True, Reason=4), Kind.LOCKED, TERMINAL),
    "406": (fails("LoggedOut", OnConnect=True, Reason=5), Kind.BANNED, TERMINAL),
    "402 as a failure": (fails("ConnectFailure", Reason=3), Kind.TEMPORARY_BAN, BAN),
    "ban 101": (fails("TemporaryBan", Code=1, Expire=3600), Kind.TEMPORARY_BAN, BAN),
    "ban 102": (fails("TemporaryBan", Code=2, Expire=3600), Kind.TEMPORARY_BAN, BAN),
    "ban 103": (fails("TemporaryBan", Code=3, Expire=3600), Kind.TEMPORARY_BAN, BAN),
    "ban 104": (fails("TemporaryBan", Code=4, Expire=3600), Kind.TEMPORARY_BAN, BAN),
    "ban 106": (fails("TemporaryBan", Code=5, Expire=3600), Kind.TEMPORARY_BAN, BAN),
    "ban 999": (
        says(
            'Temporary ban connect failure: <failure code="999" expire="3600" reason="402"/>',
            error="proto: required field neonize.TemporaryBan.Code not set",
        ),
        Kind.TEMPORARY_BAN,
        BAN,
    ),
    "405": (fails("ClientOutdated"), Kind.CLIENT_OUTDATED, BUILD),
    "405 as a failure": (fails("ConnectFailure", Reason=6), Kind.CLIENT_OUTDATED, BUILD),
    "409": (fails("ConnectFailure", Reason=7), Kind.BAD_USER_AGENT, BUILD),
    "stream replaced": (fails("StreamReplaced"), Kind.CONFLICT, CONFLICT),
    "stream 515": (fails("StreamError", Code="515"), Kind.PAIRING, IGNORE),
    "keep-alive given up": (
        fails("KeepAliveTimeout", ErrorCount=4, LastSuccess=0),
        Kind.TIMEOUT,
        COUNT,
    ),
    "a dial after a drop": (
        says(
            "Error reconnecting after autoreconnect sleep: failed to dial whatsapp web websocket: "
            "dial tcp: lookup web.whatsapp.com: no such host"
        ),
        Kind.DNS,
        COUNT,
    ),
    "a dial after the pairing": (
        says("Failed to reconnect after 515 code: noise handshake failed: timed out"),
        Kind.HANDSHAKE,
        COUNT,
    ),
    "a drop, of which its barred reconnect is heard first": (
        says(
            "Error reconnecting after autoreconnect sleep: failed to dial whatsapp web websocket: "
            "proxyconnect tcp: dial tcp 127.0.0.1:0: connect: connection refused",
            then="Disconnected",
        ),
        Kind.DISCONNECTED,
        COUNT,
    ),
    "stream 503, of which its barred reconnect is heard first": (
        says(
            "Got 503 stream error, assuming automatic reconnect will handle it",
            "Error reconnecting after autoreconnect sleep: failed to dial whatsapp web websocket: "
            "proxyconnect tcp: dial tcp 127.0.0.1:0: connect: connection refused",
            then="Disconnected",
        ),
        Kind.UPSTREAM,
        COUNT,
    ),
    "an end without a word": (lambda voice: voice.connected(), Kind.DISCONNECTED, COUNT),
}

UNPAIRED_ROWS: dict[str, tuple[Play, Kind, Effect]] = {
    "QR codes ran out": (
        unpaired(("qr", SECRET), ("qr", SECRET), ("login", "timeout")),
        Kind.PAIRING,
        IGNORE,
    ),
    "dropped at the first code": (
        unpaired(("qr", SECRET), ("login", "timeout")),
        Kind.DISCONNECTED,
        COUNT,
    ),
    "pairing error": (
        unpaired(("qr", SECRET), ("log", "Failed to pair device: hmac"), ("login", "error")),
        Kind.PAIRING,
        IGNORE,
    ),
    "405": (
        unpaired(
            ("log", "Client outdated (405) connect failure (client version: 2.3000.1)"),
            ("login", "err-client-outdated"),
        ),
        Kind.CLIENT_OUTDATED,
        BUILD,
    ),
    "405 by the status alone": (
        unpaired(("login", "err-client-outdated")),
        Kind.CLIENT_OUTDATED,
        BUILD,
    ),
    "403": (
        unpaired(
            ("log", "Got 403: primary device was logged out connect failure, sending LoggedOut"),
            ("login", "err-unexpected-state"),
        ),
        Kind.LOCKED,
        TERMINAL,
    ),
    "503": (
        unpaired(("log", "Got 503/ connect failure, assuming automatic reconnect will handle it")),
        Kind.UPSTREAM,
        COUNT,
    ),
    "a status of a later version": (unpaired(("login", "err-new")), Kind.PAIRING, IGNORE),
}


@pytest.mark.parametrize("row", ROWS)
async def test_the_service_takes_it_for(live: Live, row: str) -> None:
    play, kind, effect = ROWS[row]
    life = live(play)
    *before, failed = await life.ends()
    assert before == [Connected(instance_id="demo", device=DEVICE)]
    assert isinstance(failed, Failed)
    assert service_kind(failed) is kind
    assert EFFECTS[kind] is effect
    assert life.go.calls[-1] == "Stop"


@pytest.mark.parametrize("row", UNPAIRED_ROWS)
async def test_before_any_pairing_the_service_takes_it_for(live: Live, row: str) -> None:
    play, kind, effect = UNPAIRED_ROWS[row]
    life = live(play, device=None)
    failed = (await life.ends())[-1]
    assert isinstance(failed, Failed)
    assert service_kind(failed) is kind
    assert EFFECTS[kind] is effect
    # A client that was taken out of Go's maps would be missed there, which is fatal.
    assert life.go.calls == ["Neonize", "Disconnect"]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
async def test_a_reason_has_the_servers_number_again(live: Live, number: int) -> None:
    code = {1: 400, 2: 401, 3: 402, 4: 403, 5: 406, 6: 405, 7: 409, 8: 500, 9: 501, 10: 503}
    failed = (await live(fails("ConnectFailure", Reason=number)).ends())[-1]
    assert isinstance(failed, Failed)
    assert failed.code == code[number]


def test_neonize_numbers_the_reasons_as_known(library: Library) -> None:
    enum = library.event("ConnectFailure").DESCRIPTOR.fields_by_name["Reason"].enum_type
    assert [value.name for value in enum.values] == [
        "GENERIC",
        "LOGGED_OUT",
        "TEMP_BANNED",
        "MAIN_DEVICE_GONE",
        "UNKNOWN_LOGOUT",
        "CLIENT_OUTDATED",
        "BAD_USER_AGENT",
        "INTERNAL_SERVER_ERROR",
        "EXPERIMENTAL",
        "SERVICE_UNAVAILABLE",
    ]
    enum = library.event("TemporaryBan").DESCRIPTOR.fields_by_name["Code"].enum_type
    assert [value.name for value in enum.values][-1] == "BROADCAST_LIST"
    assert len(enum.values) == 5


@pytest.mark.parametrize("expire", [0, 86_400, 1_900_000_000])
async def test_a_ban_says_how_long_it_lasts(live: Live, expire: int) -> None:
    failed = (await live(fails("TemporaryBan", Code=4, Expire=expire)).ends())[-1]
    assert isinstance(failed, Failed)
    assert (failed.code, failed.ban_expire) == (104, expire)


async def test_only_the_first_failure_is_told(live: Live) -> None:
    def play(voice: Voice) -> None:
        voice.connected()
        voice.log("Got 503 stream error, assuming automatic reconnect will handle it")
        for _ in range(3):
            voice.tell("StreamReplaced")
            voice.tell("Disconnected", status=True)
            voice.tell("Connected", status=True)
            voice.log("Error reconnecting after autoreconnect sleep: EOF", "ERROR")
        voice.until_stopped()
        # Until what was suspected is not waited for any longer.
        time.sleep(1.2)

    told = await live(play).ends()
    assert [type(event) for event in told] == [Connected, Failed]
    assert isinstance(told[1], Failed)
    assert told[1].kind is Kind.CONFLICT


async def test_keep_alives_are_shown_and_not_counted(live: Live) -> None:
    def play(voice: Voice) -> None:
        voice.connected()
        for name in ("Timeout", "Timeout", "Restored", "Timeout", "Restored", "Restored"):
            fields = {"ErrorCount": 1, "LastSuccess": 0} if name == "Timeout" else {}
            voice.tell(f"KeepAlive{name}", **fields)
        voice.tell("StreamReplaced")
        voice.until_stopped()

    told = await live(play).ends()
    assert [event.healthy for event in told if isinstance(event, KeepAlive)] == [
        False,
        True,
        False,
        True,
    ]
    assert isinstance(told[-1], Failed)
    assert told[-1].kind is Kind.CONFLICT


# ------------------------------------------------------------------------------------- pairing


async def test_qr_codes_are_shown_and_the_device_is_told(live: Live) -> None:
    def play(voice: Voice) -> None:
        for number in range(3):
            voice.qr(f"{SECRET}{number}")
        voice.login("err-scanned-without-multidevice")
        voice.login("success")
        voice.runs()
        jid = voice.message(
            "JID",
            User="6281234567890",
            Device=12,
            Server="s.whatsapp.net",
            RawAgent=0,
            Integrator=0,
            IsEmpty=False,
        )
        voice.tell("PairStatus", ID=jid, BusinessName="", Platform="android", Status=2)
        voice.tell("Connected", status=True)
        voice.until_stopped()

    life = live(play, device=None)
    await life.tells(Connected)
    device = "6281234567890:12@s.whatsapp.net"
    assert life.told == [
        QrShown(instance_id="demo", code=f"{SECRET}0", expires_in_ms=60_000),
        QrShown(instance_id="demo", code=f"{SECRET}1", expires_in_ms=20_000),
        QrShown(instance_id="demo", code=f"{SECRET}2", expires_in_ms=20_000),
        Paired(instance_id="demo", device=device),
        Connected(instance_id="demo", device=device),
    ]


async def test_a_qr_code_is_in_no_log(
    live: Live, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    def play(voice: Voice) -> None:
        voice.log(f"Emitting QR code {SECRET}", "DEBUG")
        voice.qr(SECRET)
        voice.until_stopped()

    life = live(play, device=None)
    await life.tells(QrShown)
    await life.session.stop()
    await life.ends()
    # Below that, it has QR codes; and they would cross from Go for nothing.
    assert life.go.log_levels == ["INFO"]
    assert SECRET not in caplog.text
    assert SECRET not in "".join(capfd.readouterr())


async def test_a_pairing_code_is_asked_for_once_a_qr_code_was_shown(live: Live) -> None:
    shown = asyncio.Event()
    loop = asyncio.get_running_loop()

    def play(voice: Voice) -> None:
        asyncio.run_coroutine_threadsafe(shown.wait(), loop).result()
        assert "PairPhone" not in voice.go.calls
        voice.qr(SECRET)
        voice.until_stopped()

    life = live(play, device=None)
    asking = asyncio.create_task(life.session.pair("6281234567890"))
    await asyncio.sleep(0)
    shown.set()
    assert await asking == "ABCD-EFGH"


async def test_a_refused_pairing_code_is_an_error_of_the_question(live: Live) -> None:
    life = live(unpaired(("qr", SECRET)), device=None)
    life.go.refusal = "server returned error 400: bad-request"
    with pytest.raises(DriverError, match="400: bad-request"):
        await life.session.pair("6281234567890")


async def test_a_paired_session_gives_out_no_pairing_code(live: Live) -> None:
    life = live(stays)
    with pytest.raises(DriverError, match="paired already"):
        await life.session.pair("6281234567890")


# ------------------------------------------------------------------------------ while connected


def stays(voice: Voice) -> None:
    voice.connected()
    voice.until_stopped()


async def test_whatsmeows_own_reconnecting_is_led_nowhere_once_connected(live: Live) -> None:
    life = live(stays)
    await life.tells(Connected)
    wait = asyncio.get_running_loop().run_in_executor
    await wait(None, wait_until, lambda: life.go.proxies, "the proxy that leads nowhere")
    assert life.go.proxies == [("http://127.0.0.1:0", False)]


@pytest.mark.parametrize("to", ["6281200000001", "+6281200000001", "6281200000001@s.whatsapp.net"])
async def test_a_text_is_sent(live: Live, to: str) -> None:
    life = live(stays)
    await life.tells(Connected)
    assert await life.session.send(to, "hello @6281 you@g.us") == "3EB0C0FFEE"
    [(jid, message)] = life.go.sent
    assert (jid.User, jid.Server) == ("6281200000001", "s.whatsapp.net")
    assert message.conversation == "hello @6281 you@g.us"


async def test_what_cannot_be_sent_says_why(live: Live) -> None:
    life = live(stays)
    with pytest.raises(DriverError, match="not connected"):
        await life.session.send("6281200000001", "too early")
    await life.tells(Connected)
    with pytest.raises(DriverError, match="no JID"):
        await life.session.send("somebody", "hello")
    life.go.refusal = "server returned error 479"
    with pytest.raises(DriverError, match="479"):
        await life.session.send("6281200000001", "hello")


async def test_a_log_out_ends_the_connection_without_a_failure(live: Live) -> None:
    life = live(stays)
    with pytest.raises(DriverError, match="not connected"):
        await life.session.log_out()
    await life.tells(Connected)
    await life.session.log_out()
    assert [type(event) for event in await life.ends()] == [Connected]
    assert [call for call in life.go.calls if call != "SetProxyAddress"] == [
        "Neonize",
        "Logout",
        "Stop",
    ]


async def test_a_refused_log_out_leaves_the_connection(live: Live) -> None:
    life = live(stays)
    await life.tells(Connected)
    life.go.refusal = "error sending logout request"
    with pytest.raises(DriverError, match="logout request"):
        await life.session.log_out()
    assert not life.running.done()


# ------------------------------------------------------------------------------- start and stop


async def test_a_stop_ends_the_connection_and_tells_nothing(live: Live) -> None:
    life = live(stays)
    await life.tells(Connected)
    await life.session.stop()
    assert await life.ends() == [Connected(instance_id="demo", device=DEVICE)]
    assert life.go.calls[-1] == "Stop"


async def test_who_is_stopped_before_the_dial_does_not_dial(live: Live, library: Library) -> None:
    async with library.lock:
        life = live(stays)
        await asyncio.sleep(0)
        await life.session.stop()
    assert await life.ends() == []
    assert life.go.calls == []


async def test_a_dial_under_way_is_not_stopped_before_its_end(live: Live) -> None:
    """Go would look up a client that is in none of its maps any more, and panic."""
    loop = asyncio.get_running_loop()
    dialling = asyncio.Event()

    def play(voice: Voice) -> None:
        asyncio.run_coroutine_threadsafe(dialling.wait(), loop).result()
        assert voice.go.calls == ["Neonize"]
        voice.runs()
        voice.until_stopped()

    life = live(play)
    while not life.go.calls:  # noqa: ASYNC110 - another thread dials
        await asyncio.sleep(0.005)
    await life.session.stop()
    await asyncio.sleep(0.3)
    assert life.go.calls == ["Neonize"]
    assert not life.running.done()
    dialling.set()
    assert await life.ends() == []
    assert life.go.calls[-1] == "Stop"


async def test_no_client_is_stopped_by_the_garbage_collector(live: Live, library: Library) -> None:
    life = live(stays)
    await life.tells(Connected)
    assert not library._kept[-1]._stop_finalizer.alive


async def test_each_client_has_a_name_that_none_had(live: Live) -> None:
    uuids = []
    for _ in range(3):
        life = live(lambda voice: None if voice.connected() else "EOF")
        await life.ends()
        uuids += life.go.uuids
    assert len(set(uuids)) == 3
    assert b"6281234567890" not in uuids


async def test_the_device_is_named_exactly(live: Live, store: Path) -> None:
    life = live(stays)
    await life.tells(Connected)
    [jid] = life.go.jids
    assert (jid.User, jid.Device, jid.Server) == ("6281234567890", 7, "s.whatsapp.net")
    assert life.go.stores == [str(store)]


@pytest.mark.parametrize("device", ["6281234567890@s.whatsapp.net", "62:7@s.whatsapp.net"])
async def test_a_device_that_the_store_lacks_never_reaches_the_library(
    live: Live, device: str
) -> None:
    life = live(stays, device=device)
    [failed] = await life.ends()
    assert isinstance(failed, Failed)
    assert failed.kind is Kind.PAIRING
    assert device in failed.detail
    assert life.go.calls == []


async def test_a_store_that_is_not_there_lacks_every_device(live: Live, tmp_path: Path) -> None:
    life = live(stays, device_store=str(tmp_path / "absent.db"))
    [failed] = await life.ends()
    assert isinstance(failed, Failed)
    assert failed.kind is Kind.PAIRING
    assert not (tmp_path / "absent.db").exists()


@pytest.fixture
def empty_store(tmp_path: Path) -> Path:
    path = tmp_path / "empty.db"
    path.touch()
    return path


async def test_a_store_without_any_device_lacks_all(live: Live, empty_store: Path) -> None:
    [failed] = await live(stays, device_store=str(empty_store)).ends()
    assert isinstance(failed, Failed)
    assert failed.kind is Kind.PAIRING


@pytest.fixture
def broken_store(tmp_path: Path) -> Path:
    path = tmp_path / "broken.db"
    path.write_bytes(b"x" * 5_000)
    return path


async def test_a_store_that_cannot_be_read_lacks_nothing(live: Live, broken_store: Path) -> None:
    """Nobody shall pair a phone anew because of a disk."""
    [failed] = await live(stays, device_store=str(broken_store)).ends()
    assert isinstance(failed, Failed)
    assert failed.kind is Kind.UNKNOWN
    assert "file is not a database" in failed.detail


# ------------------------------------------------------------------------ up to the real service


@pytest.mark.parametrize(
    ("row", "kind", "state"),
    [
        ("401", "logged_out", "open"),
        ("503", "upstream", "closed"),
        ("ban 104", "temporary_ban", "open"),
        ("405", "client_outdated", "closed"),
        ("stream replaced", "conflict", "open"),
    ],
)
async def test_a_real_service_shows(
    live: Live, service: ServiceProcess, row: str, kind: str, state: str
) -> None:
    failed = (await live(ROWS[row][0]).ends())[-1]
    assert isinstance(failed, Failed)
    answer, shown = await asyncio.to_thread(_reported, service.url, f"row-{kind}", failed)
    assert answer["state"] == state
    assert kind in str(shown)
    assert failed.detail in str(shown)


def _reported(url: str, name: str, failed: Failed) -> tuple[dict[str, Any], dict[str, Any]]:
    """Report a failure as the gateway does; return the answer, and what is shown then."""
    report = {
        "outcome": "failure",
        "kind": failed.kind,
        "protocol": failed.protocol,
        "code": failed.code,
        "detail": failed.detail,
        "ban_expire": failed.ban_expire,
        "build": "neonize/0.5.2",
    }
    with httpx.Client(base_url=f"{url}/v1/instances/{name}") as client:
        answer = client.post("/outcomes", json=report)
        assert answer.status_code == 200, answer.text
        return answer.json(), client.get("").json()


@pytest.fixture(scope="module")
def service(redis_process: RedisServer) -> Any:
    with ServiceProcess(redis_process.url) as process:
        yield process
