"""Redis' address as one setting: a single server, sentinels that know it, or a cluster's nodes.

| URL | what it names |
|---|---|
| `redis://[user:password@]host[:port][/database]` | one server |
| `unix:///path` | one server on this machine |
| `redis+sentinel://[user:password@]host[:port],…/service[/database]` | sentinels |
| `redis+cluster://[user:password@]host[:port],…` | some nodes of a cluster; the rest is learnt |

`rediss` in place of `redis` means TLS, to every node and sentinel. User and password are those of
the servers; sentinels with a password of their own take `?sentinel_username=…&sentinel_password=…`.
All other query options are redis-py's (`ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`,
`ssl_cert_reqs`, `ssl_check_hostname`, …).
"""

import re
import urllib.parse
from typing import Literal

from msgspec import Struct

__all__ = ["RedisUrl", "redact_url"]

_FORM = re.compile(
    r"(?P<scheme>(?P<unix>unix)|redis(?P<tls>s?)(?:\+(?P<kind>sentinel|cluster))?)://"
    r"(?:(?P<userinfo>[^/?#]*)@)?(?P<hosts>[^/?#@]*)(?P<path>/[^?#]*|)(?:\?(?P<query>[^#]*))?"
)
_PORTS = {"single": 6379, "cluster": 6379, "sentinel": 26379}

Kind = Literal["single", "sentinel", "cluster"]


class RedisUrl(Struct, frozen=True, kw_only=True):
    """What a Redis URL says; made by `parse`."""

    kind: Kind
    #: Host and port of the server, or of some sentinels, or of some cluster nodes. A unix socket
    #: is its path and port 0.
    nodes: tuple[tuple[str, int], ...]
    tls: bool = False
    #: The name by which sentinels know the servers.
    service: str = ""
    #: `user:password` as written, percent-encoded; may hold a secret.
    userinfo: str = ""
    database: int = 0
    #: As written, without the sentinels' own credentials; may hold a secret.
    query: str = ""
    sentinel_username: str | None = None
    sentinel_password: str | None = None

    @classmethod
    def parse(cls, text: str) -> "RedisUrl":
        """Read a URL; raises `ValueError` where it is none of the forms above."""
        # Not urlsplit: newer Pythons refuse several IPv6 addresses in brackets.
        found = _FORM.fullmatch(text)
        if found is None or "@" in (found["query"] or ""):
            raise ValueError(text)  # a password with # or ? in it; these have to be percent-encoded
        query, own = _split_query(found["query"] or "")
        userinfo, path = found["userinfo"] or "", found["path"]
        kind = _kind(found["kind"])
        if own and kind != "sentinel":
            raise ValueError(text)
        if found["unix"]:
            if len(path) < 2 or found["hosts"]:  # noqa: PLR2004 - a slash and a name
                raise ValueError(text)
            return cls(kind=kind, nodes=((path, 0),), userinfo=userinfo, query=query)
        nodes = tuple(_node(host, _PORTS[kind]) for host in found["hosts"].split(","))
        if kind == "single" and len(nodes) > 1:
            raise ValueError(text)
        service, database = _split_path(kind, path)
        return cls(
            kind=kind,
            tls=bool(found["tls"]),
            nodes=nodes,
            service=service,
            userinfo=userinfo,
            database=database,
            query=query,
            **own,
        )

    def plain(self) -> str:
        """Return a URL of the first node, with all options, in a form that redis-py reads."""
        at = f"{self.userinfo}@" if self.userinfo else ""
        query = f"?{self.query}" if self.query else ""
        host, port = self.nodes[0]
        if port == 0:
            return f"unix://{at}{host}{query}"
        host = f"[{host}]" if ":" in host else host
        scheme = "rediss" if self.tls else "redis"
        return f"{scheme}://{at}{host}:{port}/{self.database}{query}"


def redact_url(url: str) -> str:
    """Return a Redis URL fit for a log: without user, password and query."""
    try:
        RedisUrl.parse(url)
    except ValueError:
        return "***"
    found = _FORM.fullmatch(url)
    if found is None:
        return "***"
    credentials = "***@" if found["userinfo"] else ""
    query = "?***" if found["query"] else ""
    return f"{found['scheme']}://{credentials}{found['hosts']}{found['path']}{query}"


def _kind(suffix: str | None) -> Kind:
    if suffix == "sentinel":
        return "sentinel"
    return "cluster" if suffix == "cluster" else "single"


def _node(text: str, default_port: int) -> tuple[str, int]:
    # Reading `port` raises ValueError where it is none.
    parts = urllib.parse.urlsplit("//" + text)
    if not parts.hostname or parts.port == 0 or parts.netloc != text:
        raise ValueError(text)
    return urllib.parse.unquote(parts.hostname), parts.port or default_port


def _split_path(kind: Kind, path: str) -> tuple[str, int]:
    patterns = {
        "single": r"()/?([0-9]{0,5})",
        "sentinel": r"/([^/]+)(?:/([0-9]{0,5}))?",
        # A cluster has the one database 0.
        "cluster": r"()/?(0?)",
    }
    found = re.fullmatch(patterns[kind], path)
    if found is None:
        raise ValueError(path)
    return urllib.parse.unquote(found[1]), int(found[2] or 0)


def _split_query(query: str) -> tuple[str, dict[str, str]]:
    """Take the sentinels' own credentials out of a query."""
    kept, own = [], {}
    for pair in query.split("&") if query else []:
        name, _, value = pair.partition("=")
        if name in {"sentinel_username", "sentinel_password"}:
            own[name] = urllib.parse.unquote_plus(value)
        else:
            kept.append(pair)
    return "&".join(kept), own
