"""What neonize says in words (the texts are 0.5.2's own), and what the driver makes of it."""

import pytest

from sekring.errors import DriverError
from sekring.gateway.workers.neonize.cause import DETAIL_CHARACTERS, Cause
from sekring.gateway.workers.neonize.jids import Jid
from sekring.gateway.workers.neonize.store import store_name
from sekring.gateway.workers.neonize.words import (
    classified,
    heard_in_log,
    heard_on_stdout,
    is_redial,
    login_cause,
)
from sekring.taxonomy import Kind

DIAL = "failed to dial whatsapp web websocket: failed to WebSocket dial: "
GET = DIAL + 'failed to send handshake request: Get "https://web.whatsapp.com/ws/chat": '


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"{GET}dial tcp: lookup web.whatsapp.com on 10.0.0.2:53: no such host", Kind.DNS),
        (f"{GET}dial tcp: lookup web.whatsapp.com: server misbehaving", Kind.DNS),
        (f"{GET}dial tcp: lookup web.whatsapp.com on [::1]:53: read udp: i/o timeout", Kind.DNS),
        (f"{GET}dial tcp 157.240.1.60:443: connect: connection refused", Kind.REFUSED),
        (f"{GET}dial tcp 157.240.1.60:443: connect: network is unreachable", Kind.REFUSED),
        (f"{GET}dial tcp 157.240.1.60:443: connect: no route to host", Kind.REFUSED),
        (f"{GET}dial tcp 157.240.1.60:443: i/o timeout", Kind.TIMEOUT),
        (f"{GET}dial tcp 157.240.1.60:443: connect: connection timed out", Kind.TIMEOUT),
        (f"{GET}context deadline exceeded", Kind.TIMEOUT),
        (f"{GET}net/http: TLS handshake timeout", Kind.TIMEOUT),
        (
            f"{GET}proxyconnect tcp: dial tcp 127.0.0.1:3128: connect: connection refused",
            Kind.PROXY,
        ),
        (f"{GET}proxyconnect tcp: dial tcp: lookup proxy: no such host", Kind.PROXY),
        (f"{GET}socks connect tcp: dial tcp 127.0.0.1:1080: connection refused", Kind.PROXY),
        (f"{GET}socks connect tcp 127.0.0.1:1080->web.whatsapp.com:443: EOF", Kind.PROXY),
        (
            f"{GET}socks connect tcp 127.0.0.1:1080->whatsapp:443: unknown error host unreachable",
            Kind.PROXY,
        ),
        (f"{GET}Bad Gateway", Kind.PROXY),
        (f"{GET}Proxy Authentication Required", Kind.PROXY),
        ('unsupported proxy scheme "ftp"', Kind.PROXY),
        ('parse "http://127.0.0.1:bad": invalid port ":bad" after host', Kind.PROXY),
        (
            f"{GET}read tcp 127.0.0.1:5->127.0.0.1:6: read: connection reset by peer",
            Kind.DISCONNECTED,
        ),
        (f"{GET}EOF", Kind.DISCONNECTED),
        (f"{GET}unexpected EOF", Kind.DISCONNECTED),
        (
            f"{GET}tls: failed to verify certificate: x509: signed by unknown authority",
            Kind.TLS,
        ),
        (f"{GET}remote error: tls: handshake failure", Kind.TLS),
        (f"{DIAL}expected handshake response status code 101 but got 403", Kind.WEBSOCKET),
        (
            "noise handshake failed: timed out waiting for handshake response",
            Kind.HANDSHAKE,
        ),
        (
            "noise handshake failed: failed to verify server cert: failed to verify signature",
            Kind.HANDSHAKE,
        ),
        ("failed to upgrade database: disk I/O error", Kind.UNKNOWN),
        (
            "failed to upgrade database: dial tcp 127.0.0.1:5432: connect: connection refused",
            Kind.UNKNOWN,
        ),
        ("", Kind.UNKNOWN),
    ],
)
def test_an_error_of_the_library_is(text: str, kind: Kind) -> None:
    assert classified(text) == Cause(kind=kind, detail=text)


@pytest.mark.parametrize(
    ("line", "kind", "code"),
    [
        ("Got 503/ connect failure, assuming automatic reconnect will handle it", None, 503),
        ("Got 500/sorry connect failure, assuming automatic reconnect will handle it", None, 500),
        ("Got 503 stream error, assuming automatic reconnect will handle it", None, 503),
        (
            "Got 401: logged out from another device connect failure, sending LoggedOut event",
            None,
            401,
        ),
        ("Client outdated (405) connect failure (client version: 2.3000.1)", None, 405),
        ('Unknown connect failure: <failure location="cln" reason="411"/>', None, 411),
        ('Unknown stream error: <stream:error code="516"><x/></stream:error>', None, 516),
        ('Temporary ban connect failure: <failure code="104" reason="402"/>', None, 104),
        ('Temporary ban connect failure: <failure code="999" reason="402"/>', None, 402),
        ("Failed to pair device: invalid device identity HMAC", Kind.PAIRING, None),
        (f"Error reconnecting after autoreconnect sleep: {GET}EOF", Kind.DISCONNECTED, None),
        (f"Failed to reconnect after 515 code: {GET}Bad Gateway", Kind.PROXY, None),
    ],
)
def test_a_line_of_the_log_is(line: str, kind: Kind | None, code: int | None) -> None:
    cause = heard_in_log(line)
    assert cause
    assert (cause.kind, cause.code) == (kind, code)
    assert is_redial(line) is ("reconnect" in line and "assuming" not in line)


@pytest.mark.parametrize(
    "line",
    [
        "Successfully authenticated",
        "Got 515 code, reconnecting...",
        "Keepalive timed out",
        "Unknown stream error: <stream:error><ack/></stream:error>",
        "Node handling took 6s for <message/>",
    ],
)
def test_a_line_that_tells_of_no_failure_is_none(line: str) -> None:
    assert heard_in_log(line) is None


def test_a_ban_in_the_log_says_how_long() -> None:
    line = 'Temporary ban connect failure: <failure code="104" expire="86400" reason="402"/>'
    cause = heard_in_log(line)
    assert cause
    assert cause.ban_expire == 86_400


def test_a_pairing_goes_on_until_its_status_ends_it() -> None:
    for status in ("code", "success", "err-scanned-without-multidevice"):
        assert login_cause(status) is None
    for status in ("timeout", "error", "err-client-outdated", "err-unexpected-state", "new"):
        assert login_cause(status)


def test_only_harmless_prints_are_kept() -> None:
    assert heard_on_stdout("Login event: timeout") == "Login event: timeout"
    assert heard_on_stdout("Pair Code:  ABCD-EFGH") is None
    assert heard_on_stdout("2@c2VjcmV0,c2VjcmV0") is None
    assert heard_on_stdout("Login event: 2@c2VjcmV0,c2VjcmV0") is None


def test_a_detail_is_short_on_one_line_and_without_passwords() -> None:
    text = "beginning " + "x" * 500 + '\n parse "http://user:pa/ss@host:1": the end'
    detail = Cause(kind=Kind.PROXY, detail=text).failed("demo").detail
    assert len(detail) == DETAIL_CHARACTERS
    assert detail.endswith("the end")
    assert detail.isprintable()
    assert "user" not in detail
    assert "pa/ss" not in detail


def test_a_code_goes_to_the_service_with_its_protocol() -> None:
    failed = Cause(code=503, detail="Got 503").failed("demo")
    assert (failed.kind, failed.protocol, failed.code) == (None, "whatsmeow", 503)
    failed = Cause(kind=Kind.DNS, detail="no such host").failed("demo")
    assert (failed.kind, failed.protocol, failed.code) == (Kind.DNS, None, None)


@pytest.mark.parametrize(
    "text",
    ["6281234567890:7@s.whatsapp.net", "6281234567890@s.whatsapp.net", "62812.1:7@lid", "1-2@g.us"],
)
def test_a_jid_is_read_and_written(text: str) -> None:
    assert str(Jid.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "62812", "@s.whatsapp.net", "a b@c", "62812:x@s.whatsapp.net"]
)
def test_what_is_no_jid_is_refused_by_name(text: str) -> None:
    with pytest.raises(DriverError, match="no JID"):
        Jid.parse(text)


def test_a_store_is_an_escaped_path_or_a_url() -> None:
    assert store_name("/data/a b?c#d%e.db") == "/data/a%20b%3Fc%23d%25e.db"
    assert store_name("postgres.db").startswith("/")
    for url in ("postgresql://u:p@host/db?sslmode=disable", "postgres://host/db"):
        assert store_name(url) == url
