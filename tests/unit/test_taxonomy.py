"""What each protocol's codes mean to the breaker: one row per code."""

import pytest

from sekring.errors import InvalidInput
from sekring.taxonomy import (
    COUNTED_KINDS,
    EFFECTS,
    Effect,
    Kind,
    Protocol,
    ban_expires_in_ms,
    classify,
)

NOW_S = 1_700_000_000.0

COUNT, TERMINAL, BAN, BUILD, CONFLICT, IGNORE = Effect


@pytest.mark.parametrize(
    ("protocol", "code", "kind", "effect"),
    [
        # whatsmeow: connect failures and stream errors, by the server's own numbers
        ("whatsmeow", 400, Kind.UNKNOWN, COUNT),
        ("whatsmeow", 401, Kind.LOGGED_OUT, TERMINAL),
        ("whatsmeow", 402, Kind.TEMPORARY_BAN, BAN),
        ("whatsmeow", 403, Kind.LOCKED, TERMINAL),
        ("whatsmeow", 405, Kind.CLIENT_OUTDATED, BUILD),
        ("whatsmeow", 406, Kind.BANNED, TERMINAL),
        ("whatsmeow", 409, Kind.BAD_USER_AGENT, BUILD),
        ("whatsmeow", 415, Kind.UNKNOWN, COUNT),
        ("whatsmeow", 418, Kind.UNKNOWN, COUNT),
        ("whatsmeow", 500, Kind.UPSTREAM, COUNT),
        ("whatsmeow", 501, Kind.UNKNOWN, COUNT),
        ("whatsmeow", 503, Kind.UPSTREAM, COUNT),
        ("whatsmeow", 515, Kind.PAIRING, IGNORE),
        # whatsmeow: reasons of a temporary ban
        ("whatsmeow", 101, Kind.TEMPORARY_BAN, BAN),
        ("whatsmeow", 102, Kind.TEMPORARY_BAN, BAN),
        ("whatsmeow", 103, Kind.TEMPORARY_BAN, BAN),
        ("whatsmeow", 104, Kind.TEMPORARY_BAN, BAN),
        ("whatsmeow", 106, Kind.TEMPORARY_BAN, BAN),
        # Baileys: why it disconnected
        ("baileys", 401, Kind.LOGGED_OUT, TERMINAL),
        ("baileys", 402, Kind.TEMPORARY_BAN, BAN),
        ("baileys", 403, Kind.LOCKED, TERMINAL),
        ("baileys", 405, Kind.CLIENT_OUTDATED, BUILD),
        ("baileys", 406, Kind.BANNED, TERMINAL),
        ("baileys", 408, Kind.TIMEOUT, COUNT),
        ("baileys", 409, Kind.BAD_USER_AGENT, BUILD),
        ("baileys", 411, Kind.LOGGED_OUT, TERMINAL),
        ("baileys", 428, Kind.DISCONNECTED, COUNT),
        ("baileys", 440, Kind.CONFLICT, CONFLICT),
        ("baileys", 500, Kind.UPSTREAM, COUNT),
        ("baileys", 503, Kind.UPSTREAM, COUNT),
        ("baileys", 515, Kind.PAIRING, IGNORE),
        # Neither knows it
        ("whatsmeow", 499, Kind.UNKNOWN, COUNT),
        ("whatsmeow", 440, Kind.UNKNOWN, COUNT),
        ("baileys", 499, Kind.UNKNOWN, COUNT),
        ("baileys", 0, Kind.UNKNOWN, COUNT),
    ],
)
def test_a_code_means(protocol: Protocol, code: int, kind: Kind, effect: Effect) -> None:
    assert classify(protocol, code) is kind
    assert EFFECTS[kind] is effect


@pytest.mark.parametrize(
    ("detail", "kind"),
    [
        ("QR refs attempts ended", Kind.PAIRING),
        ("Error: qr refs attempts ended", Kind.PAIRING),
        ("Connection was lost", Kind.TIMEOUT),
        ("", Kind.TIMEOUT),
        (None, Kind.TIMEOUT),
    ],
)
def test_baileys_408_is_told_apart_by_its_message(detail: str | None, kind: Kind) -> None:
    assert classify("baileys", 408, detail) is kind


def test_the_message_tells_nothing_of_other_codes() -> None:
    assert classify("baileys", 428, "QR refs attempts ended") is Kind.DISCONNECTED
    assert classify("whatsmeow", 408, "QR refs attempts ended") is Kind.UNKNOWN


@pytest.mark.parametrize("status", [401, 403, 405, 429, 502, 503])
def test_an_http_status_of_whatever_answered_baileys_is_no_word_of_whatsapps(status: int) -> None:
    """A proxy that refuses with 403 must not have the session taken for locked."""
    detail = f"WebSocket Error (Unexpected server response: {status})"
    assert classify("baileys", status, detail) is Kind.WEBSOCKET


def test_every_kind_has_an_effect() -> None:
    assert set(EFFECTS) == set(Kind)
    assert {kind for kind in Kind if EFFECTS[kind] is COUNT} == set(COUNTED_KINDS)


def test_the_kinds_that_count_keep_their_places() -> None:
    """A failure's kind lies in Redis as its place in this list: new ones go to its end."""
    assert COUNTED_KINDS == (
        "dns",
        "refused",
        "timeout",
        "tls",
        "websocket",
        "handshake",
        "proxy",
        "stream_error",
        "disconnected",
        "worker_crash",
        "unknown",
        "upstream",
    )
    # Sixteenths of a millisecond.
    assert len(COUNTED_KINDS) <= 16


@pytest.mark.parametrize(
    ("expire", "expires_in_ms"),
    [
        pytest.param(0, 0, id="unknown"),
        pytest.param(1, 1_000, id="seconds"),
        pytest.param(86_400, 86_400_000, id="a day"),
        pytest.param(1_000_000_000, 1_000_000_000_000, id="the last number of seconds"),
        pytest.param(1_000_000_001, 1, id="a Unix time long ago is over"),
        pytest.param(NOW_S + 3_600, 3_600_000, id="a Unix time in an hour"),
        pytest.param(NOW_S - 1, 1, id="a Unix time just over"),
    ],
)
def test_a_ban_expires_in(expire: float, expires_in_ms: int) -> None:
    assert ban_expires_in_ms(expire, NOW_S) == expires_in_ms


def test_a_ban_that_expires_before_it_began_is_refused() -> None:
    with pytest.raises(InvalidInput, match="ban_expire") as caught:
        ban_expires_in_ms(-1, NOW_S)
    assert caught.value.field == "ban_expire"
