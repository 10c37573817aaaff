"""Which device store a gateway's setting names."""

import re
from pathlib import Path
from typing import Final

from sekring.errors import SettingsError
from sekring.gateway.devices.sqlite import SqliteStore
from sekring.gateway.devices.store import DeviceStore

__all__ = ["choose_store"]

#: The folder of devices in the data folder, unless the setting names another.
_FOLDER: Final = "devices"

_POSTGRES: Final = re.compile(r"postgres(ql)?://")
#: Outright a path; a bare name is none, since it may be anything misspelt.
_PATH: Final = re.compile(r"(/|~|\.{1,2}(/|$))")
_PARAMETERS: Final = re.compile(r"\s*\w+\s*=")


def choose_store(setting: str, data_dir: Path, *, sessions: int = 0) -> DeviceStore:
    """Return the store that SEKRING_DEVICE_STORE names, not open yet.

    Empty: SQLite, in the folder `devices` of `data_dir`. A path: SQLite, in that folder. A
    `postgresql://` URL: that database; `sessions` is how many this gateway takes at most.

    Raises:
        SettingsError: the setting names nothing of these. It is not shown: it may hold a password.
    """
    if not setting:
        return SqliteStore(data_dir / _FOLDER)
    if _POSTGRES.match(setting):
        try:
            from sekring.gateway.devices.postgres import PostgresStore  # noqa: PLC0415 - an extra
        except ImportError:
            raise SettingsError(
                "SEKRING_DEVICE_STORE names PostgreSQL, and asyncpg is not installed:"
                " pip install 'sekring[gateway]'"
            ) from None
        return PostgresStore(setting, sessions=sessions)
    if _PATH.match(setting):
        return SqliteStore(Path(setting))
    if _PARAMETERS.match(setting):
        raise SettingsError(
            "SEKRING_DEVICE_STORE takes PostgreSQL's address as a URL, not as host=… dbname=…"
            " (the WhatsApp library would silently make a file of that name). Write"
            " postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        )
    raise SettingsError(
        "SEKRING_DEVICE_STORE takes a folder for SQLite (/srv/devices, ~/devices or ./devices), or"
        " postgresql://USER:PASSWORD@HOST:5432/DATABASE; empty: SQLite in the data folder."
    )
