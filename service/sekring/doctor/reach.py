"""Whether the servers of Redis, and the sentinels, can be reached; and why not."""

from typing import Final

from msgspec import Struct

from sekring.doctor.finding import Finding, failure, merged, ok, warning
from sekring.doctor.nodes import Deployment, Unreached
from sekring.redisurl import RedisUrl

__all__ = ["examine_reach"]

_SUBJECT = "redis"


class _Reason(Struct, frozen=True):
    """A reason for no answer: signs of it in what a driver or a server says, and what to do."""

    signs: tuple[str, ...]
    advice: str
    #: In place of what was said, where that is long-winded.
    words: str = ""


_LOGIN: Final = (
    "Check user and password in SEKRING_REDIS_URL: redis://USER:PASSWORD@HOST. In them @ / ? # %"
    " are written %40 %2F %3F %23 %25. `ACL LIST` on the server shows its users."
)

_REASONS: Final = (
    _Reason(("hello must be called",), _LOGIN, "it wants a user and a password"),
    _Reason(
        ("wrongpass", "invalid username-password", "noauth", "authentication required"),
        _LOGIN,
    ),
    _Reason(
        ("no password is set", "without any password configured"),
        "The server asks for no password: take it out of SEKRING_REDIS_URL, or give its user one.",
    ),
    _Reason(
        ("certificate", "ssl", "tls"),
        "Check TLS: ssl_ca_certs in SEKRING_REDIS_URL names the file of the authority that signed"
        " the server's certificate, and the host in the URL has to be the certificate's.",
    ),
    _Reason(
        ("name or service", "name resolution", "nodename"),
        "Check SEKRING_REDIS_URL, and in Kubernetes the namespace.",
        "the host name is not known here",
    ),
    _Reason(
        ("refused", "error 111", "error 61", "no such file"),
        "Nothing listens there: check host and port, and whether the server runs.",
        "the connection is refused",
    ),
    _Reason(
        ("did not answer",),
        "It hangs; or a firewall or NetworkPolicy swallows what is sent; or only one of the two"
        " sides speaks TLS (rediss://).",
    ),
    _Reason(
        ("closed by server", "connection reset"),
        "If the server wants TLS, write rediss://; if it does not, redis://.",
    ),
    _Reason(
        ("cluster support disabled",),
        "It is no cluster: write redis:// in place of redis+cluster://.",
    ),
    _Reason(
        ("knows no service",),
        "Name the service that the sentinels watch (`SENTINEL MASTERS`) at the end of the URL.",
    ),
    _Reason(
        ("noperm", "no permissions"),
        "Give the user the rights in deploy/redis/users.acl, or for sentinels sentinel-users.acl.",
    ),
    _Reason(
        ("unknown command",),
        "It does not speak like Redis; behind redis+sentinel:// are to be sentinels' addresses.",
    ),
)
_UNKNOWN: Final = _Reason((), "Check SEKRING_REDIS_URL, and the server's own log.")


def examine_reach(deployment: Deployment, deadline_ms: int) -> list[Finding]:
    """Examine who answers; `deadline_ms` is what the service gives a call."""
    findings = [_unreached(one) for one in deployment.unreached]
    url = deployment.url
    if url.kind == "sentinel" and deployment.named:
        findings += _sentinels(deployment)
    answered = []
    for node in deployment.nodes:
        trip_ms = node.round_trip_ms
        if trip_ms * 2 > deadline_ms:
            found = warning(
                _SUBJECT,
                f"a round trip takes {trip_ms:.0f} ms, and a call has {deadline_ms} ms",
                "Bring service and Redis nearer together, or raise SEKRING_REDIS_TIMEOUT_MS.",
            )
            answered.append((str(node.address), found))
    if answered:
        findings += merged(answered)
    if deployment.nodes:
        nodes, primaries = len(deployment.nodes), len(deployment.primaries)
        slowest_ms = max(node.round_trip_ms for node in deployment.nodes)
        noun = "server answers" if nodes == 1 else "servers answer"
        replicas = f", {nodes - primaries} of them replicas" if nodes > primaries else ""
        findings.append(
            ok(_SUBJECT, f"{nodes} {noun}{replicas}; round trip {slowest_ms:.1f} ms at most")
        )
        findings += _kind(deployment)
    return findings


def _unreached(one: Unreached) -> Finding:
    lowered = one.words.lower()
    reason = next(
        (each for each in _REASONS if any(sign in lowered for sign in each.signs)), _UNKNOWN
    )
    said = reason.words or one.words.removeprefix(f"{one.address}").lstrip(": ").rstrip(".")
    who = "" if one.role == "server" else f"{one.role} "
    made = warning if one.spare else failure
    return made(_SUBJECT, f"{who}{one.address}: {said}", reason.advice)


def _sentinels(deployment: Deployment) -> list[Finding]:
    named = set(deployment.named.values())
    count = len(deployment.named)
    if len(named) > 1:
        return [
            failure(
                "sentinels",
                f"they name different primaries: {', '.join(sorted(map(str, named)))}",
                "If no failover is under way they do not see each other: check their network.",
            )
        ]
    if len(deployment.url.nodes) < 3:  # noqa: PLR2004 - the least of which a majority can lose one
        return [
            warning(
                "sentinels",
                f"SEKRING_REDIS_URL names {len(deployment.url.nodes)}",
                "Name three or more, on machines of their own: one that is away must not matter.",
            )
        ]
    (primary,) = named
    return [ok("sentinels", f"{count} answer and name {primary}")]


def _kind(deployment: Deployment) -> list[Finding]:
    """Compare what the URL says with what the servers are."""
    url: RedisUrl = deployment.url
    findings = []
    if url.kind != "cluster" and any(
        node.info.get("cluster_enabled") == "1" for node in deployment.nodes
    ):
        findings.append(
            failure(
                _SUBJECT,
                "it is a cluster, and SEKRING_REDIS_URL names a single server",
                "Write redis+cluster://HOST:PORT,HOST:PORT.",
            )
        )
    if not deployment.primaries:
        findings.append(
            failure(
                _SUBJECT,
                "no primary answers, only replicas, which take no writes",
                "Name the primary, or its sentinels (redis+sentinel://…); or have one promoted.",
            )
        )
    return findings
