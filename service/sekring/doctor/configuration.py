"""The settings of the service and of the gateway, as the environment has them."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from sekring.binding import check_binding, is_loopback
from sekring.doctor.finding import Finding, failure, ok, warning
from sekring.errors import SettingsError
from sekring.gateway.settings import GatewaySettings
from sekring.redisurl import RedisUrl
from sekring.settings import Settings, load, load_as
from sekring.tokens import Role, TokenBook

__all__ = ["Configuration", "examine_access", "examine_sealing", "read_configuration"]

_GROUP_OR_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Configuration(Struct, frozen=True):
    """What could be read; `None` where a setting has a wrong value."""

    service: Settings | None
    gateway: GatewaySettings | None
    findings: tuple[Finding, ...]


def read_configuration(environ: Mapping[str, str]) -> Configuration:
    """Read both tables; a variable that is in neither is a warning."""
    service, gateway = None, None
    findings: list[Finding] = []
    try:
        loaded = load(environ, others=[GatewaySettings])
        service = loaded.settings
        findings += [
            warning("settings", words, "Correct its name, or take it away.")
            for words in loaded.warnings
        ]
    except SettingsError as error:
        findings.append(_wrong(error))
    try:
        gateway = load_as(GatewaySettings, environ, command="gateway", others=[Settings]).settings
    except SettingsError as error:
        if (wrong := _wrong(error)) not in findings:  # both have some settings
            findings.append(wrong)
    if not findings:
        findings.append(ok("settings", "all variables are known and have values that they take"))
    return Configuration(service, gateway, tuple(findings))


def examine_access(settings: Settings) -> list[Finding]:
    """Examine the tokens, and whom the service lets in."""
    findings = []
    book = None
    file = settings.tokens_file
    if file is not None and _would_block(file):
        words = f"SEKRING_TOKENS_FILE: {file} is no file"
        findings.append(failure("tokens", words, _tokens_advice(file)))
    else:
        try:
            book = TokenBook.load(file, settings.tokens)
        except SettingsError as error:
            findings.append(failure("tokens", str(error), _tokens_advice(file)))
        else:
            findings += _tokens(book, file)
    try:
        insecure = check_binding(settings, has_tokens=None if book is None else bool(book))
    except SettingsError as error:
        findings.append(failure("listening", str(error), "The service does not start like that."))
    else:
        if insecure:
            findings.append(
                warning("listening", insecure, "Make tokens and take SEKRING_INSECURE away.")
            )
        else:
            findings.append(ok("listening", f"{settings.host} port {settings.port}"))
    return findings


def examine_sealing(settings: Settings) -> list[Finding]:
    """Examine what can be read on the way to Redis, and in it."""
    findings = []
    if settings.redis_url is not None:
        url = RedisUrl.parse(settings.redis_url)
        away = [host for host, port in url.nodes if port and not is_loopback(host)]
        if url.tls or not away:
            findings.append(
                ok("encryption", "TLS to Redis" if url.tls else "Redis is on this machine")
            )
        else:
            findings.append(
                warning(
                    "encryption",
                    "what goes to Redis, its password included, is not encrypted",
                    "Where others can listen on the way, turn TLS on and write rediss:// in"
                    " SEKRING_REDIS_URL.",
                )
            )
    if settings.seal_key is None:
        findings.append(
            warning(
                "encryption",
                "QR codes, messages and pairing codes lie in Redis readable until they expire",
                "Give all replicas the same SEKRING_SEAL_KEY: 32 random bytes in base64"
                " (`openssl rand -base64 32`).",
            )
        )
    else:
        findings.append(ok("encryption", "QR codes and messages are sealed"))
    return findings


def _wrong(error: SettingsError) -> Finding:
    return failure("settings", str(error), "Correct it; `sekring serve --help` lists all settings.")


def _tokens(book: TokenBook, file: Path | None) -> list[Finding]:
    if not book:
        return [ok("tokens", "none; so only this machine may be let in")]
    findings = []
    counts = book.count_by_role()
    words = ", ".join(f"{count} {role}" for role, count in counts.items())
    if counts.get(Role.OPERATOR):
        findings.append(ok("tokens", words))
    else:
        findings.append(
            warning(
                "tokens",
                f"{words}: nobody can reset or trip a breaker",
                "Add one of `sekring token new --role operator`.",
            )
        )
    if file is not None and file.stat().st_mode & _GROUP_OR_OTHERS_WRITE:
        findings.append(
            warning(
                "tokens",
                f"others than its owner may change {file}, and thereby let themselves in",
                f"chmod go-w {file}",
            )
        )
    return findings


def _would_block(file: Path) -> bool:
    """Tell whether reading might wait for somebody, as with a pipe."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _tokens_advice(file: Path | None) -> str:
    if file is not None and not os.access(file, os.R_OK):
        return (
            f"Let the user that the service runs as (uid {os.geteuid()}) read it, and the folders"
            " above it; in a container, see that the secret is mounted there."
        )
    return "`sekring token check FILE` says whether a file is right."
