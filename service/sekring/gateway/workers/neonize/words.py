"""What neonize says only in words: in its errors, whatsmeow's log, and on stdout.

The texts are Go's and whatsmeow's, as neonize 0.5.2 gives them. What is not known is `unknown`, and
its words are in the failure's detail all the same.
"""

import re
from typing import Final

from sekring.gateway.workers.neonize.cause import Cause
from sekring.taxonomy import Kind

__all__ = ["classified", "heard_in_log", "heard_on_stdout", "is_redial", "login_cause"]

#: An error of the library -> kind; the first that matches counts, so what happened at a proxy comes
#: before what it looks like.
_KINDS: Final[tuple[tuple[re.Pattern[str], Kind], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        # The device store's trouble looks like a network's, and is none of WhatsApp's.
        (r"\bdatabase\b|sqlite|\bpq: ", Kind.UNKNOWN),
        (r"noise handshake failed", Kind.HANDSHAKE),
        # On the way to the proxy, or said by it. CONNECT's status comes as its bare phrase.
        (r"proxyconnect |socks connect |proxy scheme|^parse \"", Kind.PROXY),
        (r"\blookup \S+|no such host", Kind.DNS),
        (r"handshake timeout|deadline exceeded|timed? ?out", Kind.TIMEOUT),
        (r"x509:|\btls: |certificate", Kind.TLS),
        (r"status code 101|not a websocket|websocket protocol", Kind.WEBSOCKET),
        (r"connection refused|unreachable|no route to host", Kind.REFUSED),
        (
            r"connection reset|broken pipe|\bEOF\b|closed network connection|socket is closed",
            Kind.DISCONNECTED,
        ),
        (r"\": [^:\"]+$", Kind.PROXY),
        (r"websocket", Kind.WEBSOCKET),
        (r"stream error", Kind.STREAM_ERROR),
    )
)

#: What whatsmeow's log says of a failure, with the server's code where it names one. It does not
#: say so in an event then, or not before the pairing, or neonize cannot tell of the event.
_CODES: Final = tuple(
    re.compile(pattern)
    for pattern in (
        # 500 and 503: whatsmeow would reconnect by itself.
        r"^Got (?P<code>\d+)(?:/.*)? connect failure, assuming",
        r"^Got (?P<code>\d+) stream error, assuming",
        r"^Got (?P<code>\d+)\b.* connect failure, sending LoggedOut",
        r"^Client outdated \((?P<code>\d+)\)",
        # 411, 415, 418 and others: neonize cannot put them into its event.
        r"^Unknown connect failure: .*?\breason=\"?(?P<code>\d+)",
        r"^Unknown stream error: <stream:error\b[^>]*?\bcode=\"?(?P<code>\d+)",
    )
)
_BAN: Final = re.compile(r"^Temporary ban connect failure: ")
_BAN_CODE: Final = re.compile(r"\bcode=\"?(\d+)")
_BAN_EXPIRE: Final = re.compile(r"\bexpire=\"?(\d+)")
#: Ban reasons that the taxonomy knows; another one is a temporary ban (402) all the same.
_BAN_REASONS: Final = frozenset({101, 102, 103, 104, 106})
_TEMPORARY_BAN: Final = 402

#: Errors of dials that whatsmeow makes by itself: no event tells of them.
_REDIAL: Final = re.compile(
    r"^(?:Error reconnecting after autoreconnect sleep|Failed to reconnect after 515 code): (.*)"
)
_PAIRING: Final = re.compile(r"^Failed to (?:pair device|handle code pair notification): (.*)")

#: What the login-status hook says when there will be no pairing -> what it means. The codes are the
#: server's, the phone's owner may do something about the others.
_LOGINS: Final[dict[str, Cause]] = {
    "timeout": Cause(kind=Kind.PAIRING, detail="Nobody scanned the QR codes in time."),
    "error": Cause(kind=Kind.PAIRING, detail="The phone scanned the code, and the pairing failed."),
    "err-client-outdated": Cause(code=405, detail="WhatsApp takes this client for outdated."),
    "err-unexpected-state": Cause(
        kind=Kind.UNKNOWN, detail="WhatsApp refused the connection before any pairing."
    ),
}
#: The hook says so, and the pairing goes on: the code may be scanned again, or is about to be.
_STILL_PAIRING: Final = frozenset(
    {"code", "success", "err-scanned-without-multidevice", "passkey-confirmation"}
)

#: Go's prints that hold no secret.
_PRINTED: Final = re.compile(r"^(?:Login event: [\w-]+$|SendMessage: Error )")


def classified(text: str) -> Cause:
    """Return what an error of the library means."""
    for pattern, kind in _KINDS:
        if pattern.search(text):
            return Cause(kind=kind, detail=text)
    return Cause(kind=Kind.UNKNOWN, detail=text)


def heard_in_log(text: str) -> Cause | None:
    """Return what a line of whatsmeow's log means, if it is about a failure."""
    if redial := _REDIAL.match(text):
        cause = classified(redial[1])
        return Cause(kind=cause.kind, detail=text)
    if pairing := _PAIRING.match(text):
        return Cause(kind=Kind.PAIRING, detail=pairing[1])
    if _BAN.match(text):
        code, expire = _BAN_CODE.search(text), _BAN_EXPIRE.search(text)
        reason = int(code[1]) if code else 0
        return Cause(
            code=reason if reason in _BAN_REASONS else _TEMPORARY_BAN,
            ban_expire=int(expire[1]) if expire else None,
            detail=text,
        )
    for pattern in _CODES:
        if found := pattern.match(text):
            return Cause(code=int(found["code"]), detail=text)
    return None


def is_redial(text: str) -> bool:
    """Tell whether a line of the log is about a dial of whatsmeow's own: no event tells of it."""
    return _REDIAL.match(text) is not None


def login_cause(status: str) -> Cause | None:
    """Return why there will be no pairing; `None`: it goes on."""
    if status in _STILL_PAIRING:
        return None
    known = _LOGINS.get(status)
    return known or Cause(kind=Kind.PAIRING, detail=f"The pairing ended: {status}.")


def heard_on_stdout(line: str) -> str | None:
    """Return a line that Go printed if it may be kept: it prints pairing codes as well."""
    return line if _PRINTED.match(line) else None
