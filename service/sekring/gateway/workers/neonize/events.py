"""whatsmeow's events, as neonize's protobuf messages, and what they mean.

neonize numbers whatsmeow's reasons anew; here they become the server's own numbers again, which the
service classifies (`sekring.taxonomy`).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from sekring.gateway.workers.neonize.cause import Cause
from sekring.taxonomy import Kind

__all__ = ["DISCONNECTED", "HEARD", "SILENT_CHECKS", "cause_of"]

#: The events that the driver listens to; all others would be encoded for nothing.
HEARD: Final = (
    "PairStatus",
    "Connected",
    "KeepAliveTimeout",
    "KeepAliveRestored",
    "LoggedOut",
    "StreamReplaced",
    "TemporaryBan",
    "ConnectFailure",
    "ClientOutdated",
    "StreamError",
    "Disconnected",
)

#: So many unanswered keep-alives (one every 30 to 40 s) and the connection is given up: 180 s
#: after the last answer whatsmeow reconnects by itself, and tells nobody.
SILENT_CHECKS: Final = 4

#: whatsmeow would reconnect.
DISCONNECTED: Final = Cause(
    kind=Kind.DISCONNECTED, detail="Disconnected: the server closed the connection"
)

#: neonize's `ConnectFailureReason` -> the server's code.
_REASONS: Final[Mapping[int, int]] = MappingProxyType(
    {1: 400, 2: 401, 3: 402, 4: 403, 5: 406, 6: 405, 7: 409, 8: 500, 9: 501, 10: 503}
)
#: neonize's `TempBanReason` -> the server's.
_BANS: Final[Mapping[int, int]] = MappingProxyType({1: 101, 2: 102, 3: 103, 4: 104, 5: 106})
_TEMPORARY_BAN: Final = 402

_PAIR_ERROR: Final = 1

#: The service takes codes of 16 bits.
_CODE_DIGITS: Final = 4


def cause_of(message: Any) -> Cause | None:  # noqa: ANN401 - a protobuf message has no types
    """Return the failure that an event tells of; `None`: it tells of none."""
    meaning = _MEANINGS.get(message.DESCRIPTOR.name)
    return meaning(message) if meaning else None


def _logged_out(message: Any) -> Cause:  # noqa: ANN401
    how = "connecting" if message.OnConnect else "connected"
    return _by_reason(message.Reason, f"LoggedOut while {how}")


def _connect_failure(message: Any) -> Cause:  # noqa: ANN401
    return _by_reason(message.Reason, f"ConnectFailure: {message.Message}")


def _temporary_ban(message: Any) -> Cause:  # noqa: ANN401
    code = _BANS.get(message.Code, _TEMPORARY_BAN)
    # A negative time would be of no use to anybody; 0 is "not known".
    expire = max(0, message.Expire)
    return Cause(code=code, ban_expire=expire, detail=f"TemporaryBan {code}, expire {expire}")


def _client_outdated(_message: Any) -> Cause:  # noqa: ANN401
    return Cause(code=405, detail="ClientOutdated")


def _stream_replaced(_message: Any) -> Cause:  # noqa: ANN401
    return Cause(kind=Kind.CONFLICT, detail="StreamReplaced: it was connected from elsewhere")


def _disconnected(_message: Any) -> Cause:  # noqa: ANN401
    return DISCONNECTED


def _stream_error(message: Any) -> Cause:  # noqa: ANN401
    inner = ", ".join(node.Tag for node in message.Raw.Nodes)
    detail = " ".join(filter(None, ("StreamError", message.Code, inner)))
    # Without a number it is XMPP's own: a child of it says what is wrong.
    if message.Code.isdecimal() and len(message.Code) <= _CODE_DIGITS:
        return Cause(code=int(message.Code), detail=detail)
    return Cause(kind=Kind.STREAM_ERROR, detail=detail)


def _keep_alive_timeout(message: Any) -> Cause | None:  # noqa: ANN401
    if message.ErrorCount < SILENT_CHECKS:
        return None
    detail = f"KeepAliveTimeout: {message.ErrorCount} keep-alives went unanswered"
    return Cause(kind=Kind.TIMEOUT, detail=detail)


def _pair_status(message: Any) -> Cause | None:  # noqa: ANN401
    if message.Status != _PAIR_ERROR:
        return None
    return Cause(kind=Kind.PAIRING, detail=f"PairStatus: {message.Error}")


def _by_reason(reason: int, what: str) -> Cause:
    code = _REASONS.get(reason)
    if code is None:
        return Cause(kind=Kind.UNKNOWN, detail=f"{what} (neonize's reason {reason})")
    return Cause(code=code, detail=f"{what} ({code})")


_MEANINGS: Final[Mapping[str, Callable[[Any], Cause | None]]] = MappingProxyType(
    {
        "PairStatus": _pair_status,
        "KeepAliveTimeout": _keep_alive_timeout,
        "LoggedOut": _logged_out,
        "StreamReplaced": _stream_replaced,
        "TemporaryBan": _temporary_ban,
        "ConnectFailure": _connect_failure,
        "ClientOutdated": _client_outdated,
        "StreamError": _stream_error,
        "Disconnected": _disconnected,
    }
)
