"""What is wrong with a PostgreSQL database, and what to do, in words for the operator."""

import re
import ssl
from types import MappingProxyType
from typing import Final

from sekring.errors import StartError
from sekring.gateway.devices.pgurl import PostgresUrl

__all__ = ["start_error", "start_error_in_words"]

#: SQLSTATE, or its class, to what to do. The server's own words stand before it.
_ADVICE: Final = MappingProxyType(
    {
        "28P01": "Check user and password in the URL.",
        "28000": "Check the user in the URL, and whether the server's pg_hba.conf lets it in from"
        " here.",
        "3D000": "Create the database (CREATE DATABASE …), or name another one.",
        "3F000": "Name a schema that is there in the user's search_path.",
        "42501": "The user needs a schema to make tables in: GRANT CREATE, USAGE ON SCHEMA public"
        " TO it, or let it own the database.",
        "42704": "Take the option out of the URL.",
        "53300": "Raise the server's max_connections: every session needs a connection of its own.",
        "25006": "The server only reads, as a standby does: name the primary.",
        "57P03": "It is starting or stopping: start the gateway again in a moment.",
        "08": "Check the network between here and the server.",
    }
)
_SQLSTATE: Final = re.compile(r"\(([0-9A-Z]{5})\)\s*$")


def start_error(url: PostgresUrl, error: BaseException) -> StartError:
    """Return the error for what connecting or preparing raised; it never holds the password."""
    words = _first_line(str(error)) or type(error).__name__
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return _made(url, words, _advice(state))
    if "rejected SSL upgrade" in words:
        return _no_tls(url)
    if isinstance(error, ssl.SSLError):
        return _made(
            url,
            f"TLS failed: {words}",
            "Check the certificates: sslrootcert names the file of the authority that signed the"
            " server's, and the host in the URL has to be the certificate's.",
        )
    if isinstance(error, TimeoutError):
        return _made(url, "it did not answer in time", _ADVICE["08"])
    if isinstance(error, OSError):
        return _made(
            url,
            f"it cannot be reached: {words}",
            "Check host and port, and whether the server runs.",
        )
    return _made(url, words, "Check the URL.")


def start_error_in_words(url: PostgresUrl, words: str) -> StartError:
    """Return the error for what the WhatsApp library said as it opened the database."""
    words = _first_line(words) or "it said nothing"
    if "SSL is not enabled" in words:
        return _no_tls(url)
    found = _SQLSTATE.search(words)
    advice = _advice(found[1]) if found else ""
    if "schema version" in words:
        advice = "A newer neonize has used this database: install that version here, too."
    return _made(url, f"the WhatsApp library cannot use it: {words}", advice)


def _no_tls(url: PostgresUrl) -> StartError:
    return _made(
        url,
        f"the server does not speak TLS, and sslmode={url.sslmode} asks for it",
        "Turn TLS on in the server; or, if nobody else can listen on the way there, write"
        " sslmode=disable into the URL.",
    )


def _made(url: PostgresUrl, words: str, advice: str) -> StartError:
    said = url.redact(words).rstrip(".")
    return StartError(f"The device store {url.shown} cannot be used: {said}. {advice}".rstrip())


def _advice(state: str) -> str:
    return _ADVICE.get(state) or _ADVICE.get(state[:2]) or "That is the server's own message."


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else ""
