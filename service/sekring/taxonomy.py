"""What can go wrong with a WhatsApp connection: kinds, effects, and the protocols' own codes.

This is the only table that maps whatsmeow's and Baileys' codes to kinds.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from sekring.errors import InvalidInput

__all__ = [
    "COUNTED_KINDS",
    "EFFECTS",
    "Effect",
    "Kind",
    "Protocol",
    "ban_expires_in_ms",
    "classify",
]

Protocol = Literal["whatsmeow", "baileys"]


class Kind(StrEnum):
    """How an attempt, or a live connection, failed."""

    DNS = "dns"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TLS = "tls"
    WEBSOCKET = "websocket"
    HANDSHAKE = "handshake"
    PROXY = "proxy"
    STREAM_ERROR = "stream_error"
    DISCONNECTED = "disconnected"
    WORKER_CRASH = "worker_crash"
    UNKNOWN = "unknown"
    UPSTREAM = "upstream"
    LOGGED_OUT = "logged_out"
    LOCKED = "locked"
    BANNED = "banned"
    TEMPORARY_BAN = "temporary_ban"
    CLIENT_OUTDATED = "client_outdated"
    BAD_USER_AGENT = "bad_user_agent"
    CONFLICT = "conflict"
    PAIRING = "pairing"


class Effect(StrEnum):
    """What a failure of some kind does to the breaker."""

    #: Counts in the window (`transient`, `upstream`).
    COUNT = "count"
    #: Never counts; refuses permits until a person re-pairs.
    TERMINAL = "terminal"
    #: Opens until the ban ends.
    BAN = "ban"
    #: Never counts; refuses permits to that build of the gateway.
    BUILD = "build"
    #: Never counts; opens for a short while.
    CONFLICT = "conflict"
    #: Never counts.
    IGNORE = "ignore"


EFFECTS: Mapping[Kind, Effect] = MappingProxyType(
    dict.fromkeys(Kind, Effect.COUNT)
    | {
        Kind.LOGGED_OUT: Effect.TERMINAL,
        Kind.LOCKED: Effect.TERMINAL,
        Kind.BANNED: Effect.TERMINAL,
        Kind.TEMPORARY_BAN: Effect.BAN,
        Kind.CLIENT_OUTDATED: Effect.BUILD,
        Kind.BAD_USER_AGENT: Effect.BUILD,
        Kind.CONFLICT: Effect.CONFLICT,
        Kind.PAIRING: Effect.IGNORE,
    }
)

#: The kinds that count, in the order of their codes in Redis (`lua/shared/machine.lua`).
COUNTED_KINDS: tuple[str, ...] = tuple(kind.value for kind in Kind if EFFECTS[kind] is Effect.COUNT)

#: whatsmeow: `ConnectFailureReason`, stream errors and `TempBanReason` (101-106), by the
#: server's own numbers (whatsmeow `types/events/events.go`).
_WHATSMEOW: Mapping[int, Kind] = MappingProxyType(
    {
        400: Kind.UNKNOWN,
        401: Kind.LOGGED_OUT,
        402: Kind.TEMPORARY_BAN,
        403: Kind.LOCKED,
        405: Kind.CLIENT_OUTDATED,
        406: Kind.BANNED,
        409: Kind.BAD_USER_AGENT,
        415: Kind.UNKNOWN,
        418: Kind.UNKNOWN,
        500: Kind.UPSTREAM,
        501: Kind.UNKNOWN,
        503: Kind.UPSTREAM,
        515: Kind.PAIRING,
    }
    | dict.fromkeys((101, 102, 103, 104, 106), Kind.TEMPORARY_BAN)
)

#: Baileys: `DisconnectReason` (Baileys `src/Types/index.ts`); 402, 405, 406 and 409 reach it
#: as the same stream and connect codes that whatsmeow names.
_BAILEYS: Mapping[int, Kind] = MappingProxyType(
    {
        401: Kind.LOGGED_OUT,
        402: Kind.TEMPORARY_BAN,
        403: Kind.LOCKED,
        405: Kind.CLIENT_OUTDATED,
        406: Kind.BANNED,
        408: Kind.TIMEOUT,
        409: Kind.BAD_USER_AGENT,
        # multideviceMismatch: the stored credentials are of no use, a new QR is needed.
        411: Kind.LOGGED_OUT,
        428: Kind.DISCONNECTED,
        440: Kind.CONFLICT,
        500: Kind.UPSTREAM,
        503: Kind.UPSTREAM,
        515: Kind.PAIRING,
    }
)

_TABLES: Mapping[str, Mapping[int, Kind]] = MappingProxyType(
    {"whatsmeow": _WHATSMEOW, "baileys": _BAILEYS}
)

#: Above this, whatsmeow's `expire` is a Unix time in seconds; else a number of seconds.
_UNIX_TIME_FROM_S = 1_000_000_000


def classify(protocol: Protocol, code: int, detail: str | None = None) -> Kind:
    """Return the kind of a protocol's own disconnect `code`; unknown codes are `unknown`.

    Two of Baileys' codes mean another thing by their message alone. 408 is a lost connection, or a
    pairing whose QR codes ran out ("QR refs attempts ended"). And where the WebSocket was not even
    opened, the code is the HTTP status of whatever answered ("Unexpected server response: 403"),
    a proxy for example: no word of WhatsApp's about the session.
    """
    words = detail.lower() if protocol == "baileys" and detail else ""
    if code == 408 and "qr refs" in words:  # noqa: PLR2004
        return Kind.PAIRING
    if "unexpected server response" in words:
        return Kind.WEBSOCKET
    return _TABLES[protocol].get(code, Kind.UNKNOWN)


def ban_expires_in_ms(expire: float, unix_time_s: float) -> int:
    """Return how long a ban lasts from now on, in ms, from whatsmeow's `expire`.

    `expire` is a Unix time in seconds above 10^9, else a number of seconds; 0 stays 0 (unknown).

    Raises:
        InvalidInput: `expire` is negative.
    """
    if expire < 0:
        message = f"ban_expire is {expire}; it takes 0 or more (seconds, or a Unix time)."
        raise InvalidInput(message, "ban_expire")
    if expire == 0:
        return 0
    seconds = expire - unix_time_s if expire > _UNIX_TIME_FROM_S else expire
    return max(1, round(seconds * 1000))
