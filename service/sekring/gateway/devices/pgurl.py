"""The address of a PostgreSQL database, as two libraries have to read it in the same way.

`postgresql://[user[:password]@]host[:port]/database[?option=value&…]` (or `postgres://`). The
WhatsApp library reads it with Go's lib/pq, the gateway itself with asyncpg. Where the two differ
the URL is refused, or the part that asyncpg does not know is kept from it.
"""

import re
import urllib.parse
from typing import Final

from msgspec import Struct

from sekring.errors import SettingsError

__all__ = ["PostgresUrl"]

_FORM: Final = re.compile(
    r"(?P<scheme>postgres(?:ql)?)://(?:(?P<userinfo>[^/?#@]*)@)?(?P<host>[^/?#@]*)"
    r"(?:/(?P<database>[^/?#]*))?(?:\?(?P<query>[^#]*))?"
)

#: Options of lib/pq that asyncpg would send to the server, which does not know them.
_NOT_ASYNCPG: Final = frozenset(
    {
        "binary_parameters",
        "connect_timeout",
        "disable_prepared_binary_result",
        "fallback_application_name",
        "sslinline",
        "sslsni",
    }
)
_SECRET_OPTIONS: Final = frozenset({"password", "sslpassword"})
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class PostgresUrl(Struct, frozen=True, kw_only=True):
    """A database's address; made by `parse`. Never logged as a whole: see `shown`."""

    #: For the WhatsApp library. Says outright whether TLS is asked for.
    full: str
    #: For asyncpg.
    asyncpg: str
    #: Fit for logs and messages: without the password and the options.
    shown: str
    #: As written and as meant; to be taken out of what others say.
    secrets: tuple[str, ...]
    sslmode: str

    @classmethod
    def parse(cls, text: str) -> "PostgresUrl":
        """Read a URL. Without `sslmode` it means `require`, the library's own default.

        Raises:
            SettingsError: it is no URL of one database; without showing it.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise _wrong(
                "it has another form. In a password, @ / ? # % are written %40 %2F %3F %23 %25"
            )
        try:
            query = urllib.parse.parse_qsl(
                found["query"] or "", keep_blank_values=True, strict_parsing=bool(found["query"])
            )
        except ValueError:
            raise _wrong("what follows the ? is not name=value&name=value") from None
        options = dict(query)
        _check_host(found["host"], options)
        if not found["database"]:
            raise _wrong("it does not name the database: …/DATABASE")
        sslmode = options.setdefault("sslmode", "require")
        if sslmode not in _SSL_MODES:
            raise _wrong(f"sslmode takes {', '.join(_SSL_MODES)}")
        _, _, password = (found["userinfo"] or "").partition(":")
        secrets = {password, urllib.parse.unquote(password)}
        for name in _SECRET_OPTIONS & options.keys():
            secrets |= {options[name], urllib.parse.quote(options[name], safe="")}
        return cls(
            full=_url(found, options),
            asyncpg=_url(found, {k: v for k, v in options.items() if k not in _NOT_ASYNCPG}),
            shown=f"postgresql://{found['host']}/{found['database']}",
            # The longest first: one may be a part of another.
            secrets=tuple(sorted(secrets - {""}, key=len, reverse=True)),
            sslmode=sslmode,
        )

    def redact(self, text: str) -> str:
        """Return what somebody else said without the password and the URL."""
        for secret in (self.full, self.asyncpg, *self.secrets):
            text = text.replace(secret, "***")
        return text


def _url(found: re.Match[str], options: dict[str, str]) -> str:
    at = f"{found['userinfo']}@" if found["userinfo"] else ""
    # quote, not quote_plus: Go and asyncpg agree on %20.
    query = urllib.parse.urlencode(options, quote_via=urllib.parse.quote)
    return f"{found['scheme']}://{at}{found['host']}/{found['database']}?{query}"


def _check_host(host: str, options: dict[str, str]) -> None:
    if "," in host or "," in options.get("host", ""):
        raise _wrong("it names several hosts, and the WhatsApp library takes one")
    if not host and not options.get("host"):
        raise _wrong("it does not name the host: //HOST/… (a socket's folder: …?host=/run/…)")
    try:
        port = urllib.parse.urlsplit("//" + host).port
    except ValueError:
        port = 0
    if port == 0:
        raise _wrong("its port is no number from 1 to 65535, or its host is none")


def _wrong(why: str) -> SettingsError:
    return SettingsError(
        f"SEKRING_DEVICE_STORE is no usable PostgreSQL URL: {why}."
        " Expected: postgresql://USER:PASSWORD@HOST:5432/DATABASE?sslmode=require"
    )
