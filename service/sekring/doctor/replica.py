"""Whether the service itself, where it runs already, wants requests."""

from collections.abc import Mapping

import httpx
import msgspec

from sekring.binding import is_loopback
from sekring.doctor.finding import Finding, failure, ok, unchecked, warning
from sekring.settings import Settings
from sekring.trust import trust

__all__ = ["examine_replica"]

_SUBJECT = "service"

_TIMEOUT_S = 3.0


async def examine_replica(environ: Mapping[str, str], settings: Settings | None) -> list[Finding]:
    """Ask `/ready` of SEKRING_URL, or of the port that a replica of this environment listens on."""
    named = environ.get("SEKRING_URL") or None
    if named is None and settings is None:
        return [unchecked(_SUBJECT, "where it listens is not known")]
    url = named.rstrip("/") if named else _own(settings or Settings())
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, verify=trust(url)) as client:
            answer = await client.get(f"{url}/ready")
    except httpx.ConnectError:
        if named is None:
            return [unchecked(_SUBJECT, f"it does not run at {url}")]
        return [
            failure(
                _SUBJECT,
                f"nothing listens at {url}",
                "Start it (`sekring serve`), or set SEKRING_URL to where it is.",
            )
        ]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        words = str(error) or type(error).__name__
        return [failure(_SUBJECT, f"{url} gives no answer: {words}", "See its log.")]
    return [_judge(url, answer)]


def _own(settings: Settings) -> str:
    host = settings.host if is_loopback(settings.host) else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _judge(url: str, answer: httpx.Response) -> Finding:
    try:
        components = msgspec.json.decode(answer.content)["components"]
        words = "; ".join(
            f"{name} {part['status']}" + (f" ({part['detail']})" if part.get("detail") else "")
            for name, part in components.items()
            if part["status"] != "ok"
        )
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return failure(
            _SUBJECT,
            f"{url}/ready answers {answer.status_code}, and not as Sekring does",
            "Check SEKRING_URL, and what stands in front of the service.",
        )
    if not answer.is_success:
        return failure(_SUBJECT, f"{url} is not ready: {words}", "See the rows above, and its log.")
    if words:
        return warning(_SUBJECT, f"{url} is ready, and goes on without: {words}", "See its log.")
    return ok(_SUBJECT, f"{url} is ready")
