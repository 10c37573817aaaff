"""Connections to Redis' nodes: made by redis-py, used one exchange at a time, with a deadline.

What the driver raises stops here: an exchange gives an answer to every command, errors included,
or raises `ConnectionLost`, and then the connection is made anew for the next one.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError

from sekring.errors import SettingsError
from sekring.redisurl import RedisUrl

__all__ = ["Address", "Command", "ConnectionLost", "Connector", "Dialogue"]

Command = Sequence[str | bytes | int]


class Address(NamedTuple):
    """Where a node listens. Port 0: `host` is the path of a unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        if self.port == 0:
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class ConnectionLost(Exception):
    """A node cannot be reached, or broke off; `str()` says how, without a full stop.

    Whether it received what was sent is not known. `denied` where it wants other credentials:
    trying again at once cannot help.
    """

    def __init__(self, words: str, *, denied: bool = False) -> None:
        """Say what happened."""
        super().__init__(words)
        self.denied = denied


class Connector:
    """Makes connections to any node of one deployment: one set of credentials and TLS options."""

    def __init__(self, url: RedisUrl, *, timeout_s: float) -> None:
        """Read the URL's options; nothing is sent yet.

        Raises:
            SettingsError: the URL has an option that redis-py does not take.
        """
        self.timeout_s = timeout_s
        options = self._options(url)
        self._class: type[AbstractConnection] = options.pop("connection_class", Connection)
        for name in ("max_connections", "timeout"):  # options of a pool, which is not used
            options.pop(name, None)
        self.first = Address(options.pop("path", options.pop("host", "")), options.pop("port", 0))
        self._kwargs: Mapping[str, Any] = options | {
            # Deadlines are kept here, over a whole exchange.
            "socket_timeout": None,
            "socket_connect_timeout": timeout_s,
            "health_check_interval": 0,
            # No CLIENT SETINFO: Redis 7.0 does not know it, nor lets a rule permit it.
            "driver_info": None,
            "decode_responses": False,
            # Pushes and answers are told apart by their type.
            "protocol": 3,
        }
        try:
            self.connection(self.first)
        except (TypeError, ValueError, RedisError) as error:
            raise SettingsError(
                "SEKRING_REDIS_URL: an option behind the question mark is none of redis-py's, or"
                f" has a wrong value ({type(error).__name__})."
            ) from None

    def connection(self, address: Address) -> AbstractConnection:
        """Return a connection to `address` that is not open yet."""
        if address.port == 0:
            return self._class(path=address.host, **self._kwargs)  # type: ignore[call-arg]
        return self._class(host=address.host, port=address.port, **self._kwargs)  # type: ignore[call-arg]

    async def open(self, address: Address) -> asyncio.StreamWriter:
        """Return an open connection to `address`, for whoever reads it in a way of its own.

        Raises:
            ConnectionLost: none was open within the timeout.
        """
        connection = self.connection(address)
        try:
            async with asyncio.timeout(self.timeout_s):
                await connection.connect()  # type: ignore[no-untyped-call]
        except TimeoutError:
            await _disconnect(connection)
            raise _too_late(address, self.timeout_s) from None
        except (RedisError, OSError) as error:
            raise _lost(address, error) from error
        except BaseException:
            await _disconnect(connection)  # else it stays half open until it is collected
            raise
        # redis-py knows how to connect, with credentials and TLS; it has no way of handing over
        # what it has opened.
        writer, connection._writer = connection._writer, None  # noqa: SLF001
        connection._reader = None  # noqa: SLF001
        assert writer is not None  # noqa: S101 - `connect` has made it
        return writer

    @staticmethod
    def _options(url: RedisUrl) -> dict[str, Any]:
        try:
            return dict(cast("Mapping[str, Any]", parse_url(url.plain())))
        except ValueError as error:
            raise SettingsError(f"SEKRING_REDIS_URL: {error}") from None


class Dialogue:
    """One connection to one node: questions go out together, answers come back in order.

    It is opened at the first use, and anew at the first use after a failure. Only one task may
    use it at a time.
    """

    def __init__(self, connector: Connector, address: Address) -> None:
        """Prepare; nothing is sent yet."""
        self.address = address
        self._connection = connector.connection(address)

    @property
    def is_open(self) -> bool:
        """Whether it was opened and has not failed since."""
        return bool(self._connection.is_connected)

    async def exchange(self, commands: Sequence[Command], timeout_s: float) -> list[object]:
        """Send all `commands` at once and return an answer, or an error, for each.

        Raises:
            ConnectionLost: it broke, could not be opened, or took longer than `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(commands)
                return [await self._receive() for _ in commands]
        except TimeoutError:
            await self.close()
            raise _too_late(self.address, timeout_s) from None
        except BaseException:
            # Answers that were not read would be taken for those of the next questions.
            await self.close()
            raise

    async def _send(self, commands: Sequence[Command]) -> None:
        """Write `commands`; opens the connection if need be. Raises `ConnectionLost`."""
        # hiredis takes tuples of any length; its types say one of length 1.
        packed = b"".join(hiredis.pack_command(tuple(command)) for command in commands)  # type: ignore[arg-type]
        try:
            if not self._connection.is_connected:
                await self._connection.connect()  # type: ignore[no-untyped-call]
            await self._connection.send_packed_command(packed, check_health=False)
        # RuntimeError: what uvloop says of a connection that was closed while nobody used it.
        except (RedisError, OSError, RuntimeError) as error:
            await self.close()
            raise _lost(self.address, error) from error

    async def _receive(self) -> object:
        """Return the next answer, an error as it is.

        Raises:
            ConnectionLost: the connection broke.
        """
        try:
            return await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except (ResponseError, BusyLoadingError) as answer:
            return answer
        except (RedisError, OSError) as error:
            await self.close()
            raise _lost(self.address, error) from error

    async def close(self) -> None:
        """Close the connection; the next use opens it anew."""
        await _disconnect(self._connection)


async def _disconnect(connection: AbstractConnection) -> None:
    try:
        await connection.disconnect(nowait=True)
    except (RedisError, OSError):
        return


def _too_late(address: Address, timeout_s: float) -> ConnectionLost:
    return ConnectionLost(f"{address} did not answer within {round(timeout_s * 1000)} ms")


def _lost(address: Address, error: Exception) -> ConnectionLost:
    words = str(error).rstrip(".") or type(error).__name__
    denied = isinstance(error, AuthenticationError)
    return ConnectionLost(words if str(address) in words else f"{address}: {words}", denied=denied)
