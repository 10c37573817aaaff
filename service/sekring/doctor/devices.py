"""The device store of gateways; nothing is made or changed in it."""

import os
from collections.abc import Sequence
from pathlib import Path

from sekring.doctor.finding import Finding, failure, ok, unchecked, warning
from sekring.errors import SettingsError, StartError
from sekring.gateway.devices.choose import choose_store
from sekring.gateway.devices.sqlite import SqliteStore
from sekring.gateway.settings import GatewaySettings
from sekring.wire import GatewayItem

__all__ = ["examine_devices"]

_SUBJECT = "device store"


async def examine_devices(
    settings: GatewaySettings, gateways: Sequence[GatewayItem] | None
) -> list[Finding]:
    """Examine where this environment's gateway keeps devices; `gateways` live now, if known."""
    setting = settings.device_store or ""
    try:
        store = choose_store(setting, settings.data_dir, sessions=settings.gateway_capacity)
    except SettingsError as error:
        return [failure(_SUBJECT, str(error), "`sekring gateway --help` says what it takes.")]
    if isinstance(store, SqliteStore):
        try:
            return _sqlite(store.folder, gateways, named=bool(setting))
        except OSError as error:
            return [_closed(store.folder, error.strerror or type(error).__name__)]
    return await _postgres(setting, settings.gateway_capacity)


def _sqlite(folder: Path, gateways: Sequence[GatewayItem] | None, *, named: bool) -> list[Finding]:
    if not named and not folder.exists():
        return [
            unchecked(
                _SUBJECT,
                "no gateway has kept devices here",
                "Run `sekring doctor` also where the gateways run, with their environment.",
            )
        ]
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(nearest, os.W_OK | os.X_OK) or not nearest.is_dir():
        return [_closed(nearest, "it cannot be written")]
    if gateways is not None and len(gateways) > 1:
        return [
            warning(
                _SUBJECT,
                f"SQLite in {folder}, and {len(gateways)} gateways live: on another machine they"
                " have not these devices, and sessions that move there need a new QR code",
                "Name one PostgreSQL for all of them in SEKRING_DEVICE_STORE.",
            )
        ]
    return [ok(_SUBJECT, f"SQLite in {folder}")]


def _closed(folder: Path, words: str) -> Finding:
    return failure(
        _SUBJECT,
        f"SQLite in {folder}: {words}",
        f"Let uid {os.geteuid()} write there, or name another folder in SEKRING_DEVICE_STORE.",
    )


async def _postgres(url: str, capacity: int) -> list[Finding]:
    # Not above: it is an extra, and the store could not be chosen without it.
    from sekring.gateway.devices.postgres import inspect  # noqa: PLC0415

    try:
        seen = await inspect(url)
    except StartError as error:
        return [failure(_SUBJECT, str(error), "No gateway starts without it.")]
    findings = []
    if seen.reads_only:
        findings.append(
            failure(
                _SUBJECT,
                f"{seen.shown} only reads, as a standby does",
                "Name the primary in SEKRING_DEVICE_STORE.",
            )
        )
    if not seen.may_create:
        findings.append(
            failure(
                _SUBJECT,
                f"{seen.shown}: the user may not make tables",
                "GRANT CREATE, USAGE ON SCHEMA public TO it, or let it own the database.",
            )
        )
    if seen.connections < capacity:
        findings.append(
            warning(
                _SUBJECT,
                f"{seen.shown} has room for {seen.connections} connections, and this gateway takes"
                f" {capacity} sessions, each with a connection of its own",
                "Raise max_connections of PostgreSQL, or lower SEKRING_GATEWAY_CAPACITY.",
            )
        )
    return findings or [ok(_SUBJECT, f"{seen.shown}: room for {seen.connections} connections")]
