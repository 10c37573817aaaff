"""Devices in one PostgreSQL database for the gateways of all machines.

The library's tables and ours are side by side in the user's schema.

**Connections**: a worker's library opens one with every connect and lets go of it only when its
process ends. Workers end after their connects, so it is one per session (a second one for a moment
under load), and up to three for each gateway itself. `max_connections` (PostgreSQL's default is
100) has to have room for the sessions of all gateways.

**TLS** is asked for unless the URL says `sslmode=disable`: the library does so, and we do the same.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Final, TypeVar

import asyncpg  # type: ignore[import-untyped]
import structlog
from msgspec import Struct

from sekring.errors import DevicesUnavailable, StartError
from sekring.gateway.devices.identity import StoreIdentity, machine_id
from sekring.gateway.devices.pgfaults import start_error, start_error_in_words
from sekring.gateway.devices.pgurl import PostgresUrl
from sekring.gateway.devices.prepare import PrepareFailed, prepare

__all__ = ["PostgresStore", "Seen", "inspect"]

#: How long connecting and a query may take, in s.
_TIMEOUT_S: Final = 10.0

#: How long a connection may take to become fit for its next use, in s; it is closed otherwise.
_RELEASE_S: Final = 2.0

#: How long to wait for other gateways that prepare the database, in s: a second or so for each.
_LOCK_WAIT_S: Final = 120.0

#: Advisory lock of whoever prepares the database; "sekring" in ASCII.
_LOCK: Final = 0x73656B72696E67

#: Connections of a gateway's own at most.
_POOL_SIZE: Final = 3

#: Statements without names, so that a connection pooler may stand between.
_OPTIONS: Final = MappingProxyType(
    {
        "timeout": _TIMEOUT_S,
        "command_timeout": _TIMEOUT_S,
        "statement_cache_size": 0,
        "server_settings": {"application_name": "sekring-gateway"},
    }
)

#: Our tables: which device is whose, and the id of the store.
_TABLES: Final = MappingProxyType(
    {
        "sekring_devices": "instance_id TEXT PRIMARY KEY, device TEXT NOT NULL UNIQUE,"
        " bound_at TIMESTAMPTZ NOT NULL DEFAULT now()",
        "sekring_device_store": "one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),"
        " id TEXT NOT NULL",
    }
)

_ROOM: Final = (
    "SELECT current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true), '0')::int"
)

_LOOK: Final = (
    f"{_ROOM} AS room, pg_is_in_recovery() AS reads_only,"
    " coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create"
)

#: What a driver raises, connection or statement; a timeout among it.
_FAULTS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class Seen(Struct, frozen=True):
    """What can be seen of a database without changing anything in it."""

    #: Its address without the password.
    shown: str
    #: Connections that users who are no superusers can have.
    connections: int
    reads_only: bool
    may_create: bool


async def inspect(url: str) -> Seen:
    """Connect and look.

    Raises:
        StartError: it cannot be reached, and what to do.
    """
    parsed = PostgresUrl.parse(url)
    try:
        connection = await asyncpg.connect(parsed.asyncpg, **_OPTIONS)
        try:
            row = await connection.fetchrow(_LOOK)
        finally:
            await _close(connection)
    except (*_FAULTS, ValueError, OverflowError) as error:
        raise start_error(parsed, error) from None
    return Seen(parsed.shown, row["room"], row["reads_only"], row["may_create"])


class PostgresStore:
    """A database that all gateways share."""

    def __init__(self, url: str, *, sessions: int = 0) -> None:
        """Name the database, and how many sessions this gateway takes, to see if it has room.

        Raises:
            SettingsError: it is no usable URL.
        """
        self._url = PostgresUrl.parse(url)
        self._sessions = sessions
        self._pool: asyncpg.Pool | None = None
        self._identity: StoreIdentity | None = None

    @property
    def identity(self) -> StoreIdentity:
        """Which database this is."""
        if self._identity is None:
            raise RuntimeError("the device store is not open")
        return self._identity

    async def open(self) -> None:
        """Connect, and make or renew the tables, the library's too; one gateway at a time.

        Raises:
            StartError: the database cannot be reached or used.
        """
        try:
            connection = await asyncpg.connect(self._url.asyncpg, **_OPTIONS)
            try:
                async with connection.transaction():
                    store = await self._prepare(connection)
                room = await connection.fetchval(_ROOM)
            finally:
                await _close(connection)
            self._pool = await asyncpg.create_pool(
                self._url.asyncpg,
                min_size=0,
                max_size=_POOL_SIZE,
                max_inactive_connection_lifetime=60,
                **_OPTIONS,
            )
        except PrepareFailed as error:
            raise start_error_in_words(self._url, str(error)) from None
        except (*_FAULTS, ValueError, OverflowError) as error:
            raise start_error(self._url, error) from None
        self._identity = StoreIdentity(kind="postgresql", store=store, machine=machine_id())
        if room < self._sessions + _POOL_SIZE:
            _log.warning(
                "the device store has no room for all sessions of this gateway: raise"
                " max_connections of PostgreSQL; every session needs one",
                connections=room,
                sessions=self._sessions,
            )

    async def close(self) -> None:
        """Close all connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), _TIMEOUT_S)
            except _FAULTS:
                pool.terminate()

    def location(self, instance_id: str) -> str:  # noqa: ARG002 - one place for all
        """Return the database's URL, with the password."""
        return self._url.full

    async def device_of(self, instance_id: str) -> str | None:
        """Return the JID of the instance's device, if the library's table has it."""
        device = await self._run(
            lambda connection: connection.fetchval(
                "SELECT ours.device FROM sekring_devices AS ours"
                " JOIN whatsmeow_device AS stored ON stored.jid = ours.device"
                " WHERE ours.instance_id = $1",
                instance_id,
            )
        )
        return None if device is None else str(device)

    async def bind(self, instance_id: str, device: str) -> None:
        """Remember the instance's device.

        WhatsApp gives the number of an unlinked device to a later one. Whichever instance had it
        before has it no more: two sessions must never connect as one device.
        """

        async def write(connection: asyncpg.Connection) -> None:
            async with connection.transaction():
                await connection.execute(
                    "DELETE FROM sekring_devices WHERE device = $2 AND instance_id <> $1",
                    instance_id,
                    device,
                )
                await connection.execute(
                    "INSERT INTO sekring_devices (instance_id, device) VALUES ($1, $2)"
                    " ON CONFLICT (instance_id)"
                    " DO UPDATE SET device = excluded.device, bound_at = now()",
                    instance_id,
                    device,
                )

        await self._run(write)

    async def forget(self, instance_id: str) -> None:
        """Take note that the instance's device was unlinked."""
        await self._run(
            lambda connection: connection.execute(
                "DELETE FROM sekring_devices WHERE instance_id = $1", instance_id
            )
        )

    # ------------------------------------------------------------------------------ preparing

    async def _prepare(self, connection: asyncpg.Connection) -> str:
        """Make what is missing; return the store's id. Runs in a transaction, whose end unlocks.

        Nothing is read of the library's tables before the library has had its turn: that would lock
        them against it.
        """
        try:
            await connection.execute(
                "SELECT pg_advisory_xact_lock($1)", _LOCK, timeout=_LOCK_WAIT_S
            )
        except TimeoutError:
            raise StartError(
                f"Other gateways have been preparing the device store {self._url.shown} for"
                f" {_LOCK_WAIT_S:.0f} s. Start this one again when they are done."
            ) from None
        await prepare(self._url.full)
        for name, columns in _TABLES.items():
            # Not IF NOT EXISTS: that asks for the right to make tables even where one is there.
            if await connection.fetchval("SELECT to_regclass($1)", name) is None:
                await connection.execute(f"CREATE TABLE {name} ({columns})")
        await connection.execute(
            "INSERT INTO sekring_device_store (id) VALUES ($1) ON CONFLICT DO NOTHING",
            secrets.token_hex(16),
        )
        # Fails if the library made its tables where this user does not see them.
        await connection.fetchval("SELECT jid FROM whatsmeow_device LIMIT 1")
        return str(await connection.fetchval("SELECT id FROM sekring_device_store"))

    # -------------------------------------------------------------------------------- queries

    async def _run(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Do something on a connection; once more if the connection turned out to be gone."""
        try:
            try:
                return await self._once(work)
            except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError):
                return await self._once(work)
        except _FAULTS as error:
            said = self._url.redact(str(error) or "it did not answer in time")
            raise DevicesUnavailable(
                f"The device store {self._url.shown} cannot be used now: {said}"
            ) from None

    async def _once(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        if self._pool is None:
            raise RuntimeError("the device store is not open")
        connection = await self._pool.acquire(timeout=_TIMEOUT_S)
        try:
            return await work(connection)
        finally:
            await self._pool.release(connection, timeout=_RELEASE_S)


async def _close(connection: asyncpg.Connection) -> None:
    try:
        await connection.close(timeout=_TIMEOUT_S)
    except _FAULTS:
        connection.terminate()
