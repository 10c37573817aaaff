"""Kinds of values that a setting takes: each in words, and as the function that reads it."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from sekring.redisurl import RedisUrl

__all__ = [
    "HOST",
    "PATH",
    "REDIS_URL",
    "SEAL_KEY",
    "SERVICE_URL",
    "SWITCH",
    "Takes",
    "matching",
    "one_of",
    "whole_number",
]

T = TypeVar("T")

_SEAL_KEY_BYTES = 32


class Takes(msgspec.Struct, Generic[T], frozen=True):
    """The values that a setting takes: in words, and as a function that raises `ValueError`."""

    words: str
    parse: Callable[[str], T]


def whole_number(low: int, high: int, unit: str = "") -> Takes[int]:
    """Take a whole number from `low` to `high`, both included, counted in `unit`."""

    def parse(text: str) -> int:
        # int() would take "1_000", " 7" and digits of any script as well.
        if not re.fullmatch(r"-?[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    counted = f" of {unit}" if unit else ""
    return Takes(f"a whole number{counted} from {low} to {high}", parse)


def one_of(*words: str) -> Takes[str]:
    """Take one of `words`, in upper or lower case."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(text)
        return text.lower()

    return Takes("one of " + ", ".join(words), parse)


def matching(pattern: str, words: str) -> Takes[str]:
    """Take text that matches the whole of `pattern`, which `words` describe."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(text)
        return text

    return Takes(words, parse)


def _parse_switch(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError(text)


def _parse_path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError(text)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~name of nobody
        raise ValueError(text) from error


def _parse_host(text: str) -> str:
    host = text.removeprefix("[").removesuffix("]")
    if ":" in host:
        return str(ipaddress.IPv6Address(host))
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})", host):
        raise ValueError(text)
    return host


def _parse_redis_url(text: str) -> str:
    RedisUrl.parse(text)
    return text


def _parse_seal_key(text: str) -> str:
    try:
        key = base64.b64decode(text, altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error
    if len(key) != _SEAL_KEY_BYTES:
        raise ValueError(text)
    return text


def _parse_service_url(text: str) -> str:
    parts = urlsplit(text)
    usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    if not usable or "@" in parts.netloc or parts.query or parts.fragment or " " in text:
        raise ValueError(text)
    return text.rstrip("/")


SWITCH: Final = Takes("on or off", _parse_switch)
PATH: Final = Takes("a path", _parse_path)
HOST: Final = Takes("a host name or an IP address, without a port", _parse_host)
REDIS_URL: Final = Takes(
    "redis://[user:password@]host[:port][/database], unix:///path,"
    " redis+sentinel://[user:password@]host[:port],…/service[/database] or"
    " redis+cluster://[user:password@]host[:port],…; rediss in place of redis for TLS",
    _parse_redis_url,
)
SEAL_KEY: Final = Takes(
    "32 bytes in URL-safe base64, as `openssl rand -base64 32 | tr +/ -_` makes them",
    _parse_seal_key,
)
SERVICE_URL: Final = Takes("http://host:port or https://…, without a password", _parse_service_url)
