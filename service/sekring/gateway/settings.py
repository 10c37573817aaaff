"""The settings of `sekring gateway`, by the same mechanism as those of `sekring serve`."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from sekring.settings import LOG_FORMAT, LOG_LEVEL, Declared, Setting
from sekring.takes import HOST, PATH, SERVICE_URL, Takes, matching, one_of, whole_number

__all__ = ["GatewaySettings"]

#: What goes before the first @ of a URL: a user and a password.
_CREDENTIALS = re.compile(r"(?<=://)[^/]*@")


def _hide_credentials(text: str) -> str:
    return _CREDENTIALS.sub("***@", text).partition("?")[0]


def _parse_proxy(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https", "socks5"} or not parts.hostname or parts.port == 0:
        raise ValueError(text)
    return text


_PROXY = Takes("http://, https:// or socks5://[user:password@]host:port", _parse_proxy)


class GatewaySettings(Declared, frozen=True, kw_only=True):
    """Everything that can be set about one gateway; made by `load_as`."""

    url: Annotated[str, Setting("where the breaker service is", SERVICE_URL)] = (
        "http://localhost:8000"
    )
    token: Annotated[
        str | None,
        Setting(
            "API token of the role gateway, where the service asks for one",
            matching(r"[\x21-\x7e]+", "text without spaces"),
            secret=True,
            option=False,
        ),
    ] = None
    gateway_name: Annotated[
        str | None,
        Setting(
            "name under which it owns sessions, its alone; none: made of host and process",
            # No slash: it is a step of a path.
            matching(r"[A-Za-z0-9._:@-]{1,128}", "1 to 128 of A-Z a-z 0-9 . _ : @ -"),
        ),
    ] = None
    gateway_capacity: Annotated[
        int, Setting("sessions that it owns at most", whole_number(1, 100_000))
    ] = 100
    sessions_per_worker: Annotated[
        int,
        Setting(
            "sessions in one process at most: what a crash in one of them takes along",
            whole_number(1, 1_000),
        ),
    ] = 1
    driver: Annotated[
        str,
        Setting(
            "what makes the connections; scripted: nothing real, it plays a scenario",
            one_of("neonize", "scripted"),
        ),
    ] = "neonize"
    scenario: Annotated[
        Path | None, Setting("TOML file that the scripted driver plays; none: all is well", PATH)
    ] = None
    scripted_log: Annotated[
        Path | None, Setting("file that the scripted driver's connections are written to", PATH)
    ] = None
    device_store: Annotated[
        str | None,
        Setting(
            "where paired devices are kept; none: a folder in the data folder. Gateways on several"
            " machines need one PostgreSQL",
            matching(r".+", "a folder, or postgresql://[user:password@]host/database"),
            secret=True,
            redact=_hide_credentials,
        ),
    ] = None
    proxy: Annotated[
        str | None,
        Setting(
            "proxy for the connections to WhatsApp. A password belongs in the environment",
            _PROXY,
            secret=True,
            redact=_hide_credentials,
        ),
    ] = None
    dial_timeout_ms: Annotated[
        int,
        Setting(
            "how long a connection may take until it is made, shows a QR code or fails",
            whole_number(100, 600_000, "milliseconds"),
        ),
    ] = 60_000
    pairing_timeout_ms: Annotated[
        int,
        Setting(
            "how long QR codes are shown until the session waits for somebody to ask again",
            whole_number(100, 3_600_000, "milliseconds"),
        ),
    ] = 180_000
    data_dir: Annotated[Path, Setting("folder of the device store", PATH)] = Path(".sekring")
    gateway_probe_host: Annotated[
        str, Setting("address that /live, /ready and /metrics of the gateway listen on", HOST)
    ] = "127.0.0.1"
    gateway_probe_port: Annotated[
        int | None, Setting("their TCP port; none: they are not there", whole_number(1, 65_535))
    ] = None
    log_level: Annotated[str, LOG_LEVEL] = "info"
    log_format: Annotated[str, LOG_FORMAT] = "auto"
