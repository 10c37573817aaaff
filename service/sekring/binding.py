"""Which machines may reach the service, and that it has tokens if others may."""

import ipaddress

from sekring.errors import SettingsError
from sekring.settings import Settings, option_of, variable_of

__all__ = ["check_binding", "is_loopback"]


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a server bound to `host`; asks no resolver."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def check_binding(settings: Settings, *, has_tokens: bool | None = None) -> str | None:
    """Refuse to serve other machines without tokens; raises `SettingsError`.

    `has_tokens` says whether the token file and the environment gave any; `None` goes by whether
    one of the two is set. Returns the sentence to log where `insecure` lets it pass.
    """
    if has_tokens is None:
        has_tokens = settings.tokens is not None or settings.tokens_file is not None
    if has_tokens or is_loopback(settings.host):
        return None
    if settings.insecure:
        return (
            f"INSECURE: listening on {settings.host} without any token; whoever reaches port"
            f" {settings.port} can trip and reset every breaker."
        )
    raise SettingsError(
        f"{variable_of('host')} is {settings.host!r}, which other machines can reach, and no token"
        " is configured; make one with `sekring token new --role operator` and name its file in"
        f" {variable_of('tokens_file')}, or bind 127.0.0.1, or say {option_of('insecure')}."
    )
