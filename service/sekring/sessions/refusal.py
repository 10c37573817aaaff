"""In which words people are told that a breaker lets a session not connect now."""

import math

from sekring.errors import BreakerRefuses
from sekring.model import REFUSING, Snapshot, State
from sekring.taxonomy import Kind

__all__ = ["refusal_of"]

_LINK_ANEW = "link a phone anew: ask for a QR code"

#: What only a person can help.
_TERMINAL = {
    Kind.LOGGED_OUT: f"the phone has unlinked this device; {_LINK_ANEW}",
    Kind.LOCKED: f"WhatsApp has locked the account; unlock it on the phone, then {_LINK_ANEW}",
    Kind.BANNED: "WhatsApp has banned the number for good",
}


def refusal_of(snapshot: Snapshot) -> BreakerRefuses | None:
    """Return the error that says why the instance may not connect; `None` if it may."""
    if snapshot.state not in REFUSING:
        return None
    retry_after_ms = None if snapshot.terminal else snapshot.remaining_ms
    return BreakerRefuses(
        f"circuit breaker activated, {_why(snapshot)}{_until(retry_after_ms)}.",
        snapshot.cause,
        retry_after_ms,
    )


def _why(snapshot: Snapshot) -> str:
    if snapshot.state is State.FORCED_OPEN:
        said = f" ({snapshot.reason})" if snapshot.reason else ""
        return f"an operator keeps it open{said}"
    match snapshot.cause:
        case Kind.LOGGED_OUT | Kind.LOCKED | Kind.BANNED as terminal:
            return _TERMINAL[Kind(terminal)]
        case Kind.TEMPORARY_BAN:
            return "WhatsApp has banned the number for a while"
        case Kind.CONFLICT:
            return "another connection has replaced this one"
        case _:
            return f"too many connection failures{_last(snapshot)}"


def _last(snapshot: Snapshot) -> str:
    if not snapshot.last_failure_kind:
        return ""
    detail = f": {snapshot.last_failure_detail}" if snapshot.last_failure_detail else ""
    return f" (the last: {snapshot.last_failure_kind}{detail})"


def _until(retry_after_ms: int | None) -> str:
    if retry_after_ms is None:
        return ""
    return f"; try again in {max(1, math.ceil(retry_after_ms / 1000))} s"
