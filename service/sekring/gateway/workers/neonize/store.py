"""Device stores as the library sees them: an SQLite file, or a database of PostgreSQL."""

import contextlib
import sqlite3
import urllib.parse
from pathlib import Path

from sekring.errors import DriverError
from sekring.gateway.workers.neonize.jids import Jid

__all__ = ["lacks_device", "store_name"]


def _is_postgres(store: str) -> bool:
    return store.startswith(("postgresql://", "postgres://"))


def store_name(store: str) -> str:
    """Return a device store as neonize takes it.

    A path goes into SQLite's `file:` URI as it is, so what has a meaning there is escaped; and a
    relative one could be taken for PostgreSQL by its name.
    """
    return store if _is_postgres(store) else urllib.parse.quote(str(Path(store).absolute()))


def lacks_device(store: str, jid: Jid) -> bool:
    """Tell whether a device is not there: connecting with it would end the whole process.

    The supervisor has looked before; a log-out in between would be fatal for all sessions of this
    process. PostgreSQL is not asked again: its driver would cost more memory than a session.

    Raises:
        DriverError: the store cannot be read.
    """
    if _is_postgres(store):
        return False
    if not Path(store).exists():
        return True
    # Not read-only, even to read: a killed worker may have left a journal that is to be undone.
    uri = f"file:{store_name(store)}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            tables = "SELECT 1 FROM sqlite_master WHERE name = 'whatsmeow_device'"
            if database.execute(tables).fetchone() is None:
                return True
            found = database.execute("SELECT 1 FROM whatsmeow_device WHERE jid = ?", (str(jid),))
            return found.fetchone() is None
    except sqlite3.Error as error:
        raise DriverError(f"The device store {store} cannot be read: {error}.") from error
