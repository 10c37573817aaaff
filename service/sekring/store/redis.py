"""The connection to Redis: deadlines, a bounded pool, and one round trip per event-loop tick.

Calls made in the same tick of the event loop share one pipeline. While it is under way, further
calls gather in the next one, so load makes pipelines longer rather than connections more, and calls
reach Redis in the order in which they were made. Every call has a deadline; what the driver raises
stops here.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from sekring.errors import StoreUnavailable
from sekring.redisurl import RedisUrl
from sekring.store.connection import Connector
from sekring.store.scripts import Script
from sekring.store.single import Single
from sekring.store.topology import Topology

__all__ = ["RedisLink"]

#: Calls in one pipeline at most: larger ones would make the first wait for the last.
_BATCH_MAX = 512

_log = structlog.get_logger(__name__)


class _Call(NamedTuple):
    command: tuple[str | bytes | int, ...]
    script: Script | None
    answer: asyncio.Future[object]


class RedisLink:
    """Runs scripts and commands on one Redis, coalesced into pipelines."""

    def __init__(self, url: str, *, timeout_ms: int, pool_size: int) -> None:
        """Prepare the connection pool; nothing is sent yet.

        `timeout_ms` is the deadline of one call, from the call to its answer, queueing included.
        """
        self._timeout_s = timeout_ms / 1000
        #: Which node holds what; `sekring.store.push` follows it.
        self.topology: Topology = Single(Connector(RedisUrl.parse(url), timeout_s=self._timeout_s))
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=pool_size,
            timeout=self._timeout_s,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            # Retrying is done here, once, where a repeat is known to be safe.
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        self._redis = Redis.from_pool(pool)
        self._waiting: deque[_Call] = deque()
        self._pipeline: asyncio.Task[None] | None = None
        self._flush_planned = False
        self._digests: dict[str, str] = {}
        self._scripts: tuple[Script, ...] = ()

    def know(self, scripts: Sequence[Script]) -> None:
        """Name all scripts: a server that lacks one is given all, so that it lacks no other.

        Otherwise calls of two scripts in one pipeline could change places when one is repeated.
        """
        self._scripts = tuple(scripts)

    async def run(self, script: Script, keys: Sequence[str], request: bytes) -> object:
        """Run `script` on `keys` with one msgpack-encoded request.

        Every script may be run twice with the same request without counting twice, so a call
        whose connection breaks is repeated once.

        Raises:
            StoreUnavailable: no answer within the deadline, or Redis refused.
        """
        digest = self._digests.get(script.name)
        if digest is None:
            digest = hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()
            self._digests[script.name] = digest
        return await self._enqueue(("EVALSHA", digest, len(keys), *keys, request), script)

    async def read(self, *command: str | bytes | int) -> object:
        """Run one command that changes nothing.

        Raises:
            StoreUnavailable: no answer within the deadline, or Redis refused.
        """
        return await self._enqueue(command, None)

    def available(self, key: str) -> bool:  # noqa: ARG002
        """Whether the node that holds the key's slot can be reached, by the evidence."""
        return True

    async def confirm(self, key: str, replicas: int, timeout_ms: int) -> bool:  # noqa: ARG002
        """Wait until replicas have what was written."""
        return False

    async def close(self) -> None:
        """Wait for what is under way, then close every connection."""
        while self._pipeline:
            await asyncio.gather(self._pipeline, return_exceptions=True)
        await self._redis.aclose()

    async def _enqueue(
        self, command: tuple[str | bytes | int, ...], script: Script | None
    ) -> object:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[object] = loop.create_future()
        self._waiting.append(_Call(command, script, answer))
        if self._pipeline is None and not self._flush_planned:
            self._flush_planned = True
            loop.call_soon(self._flush)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await answer
        except TimeoutError:
            message = f"Redis did not answer within {round(self._timeout_s * 1000)} ms."
            raise StoreUnavailable(message) from None

    def _flush(self) -> None:
        self._flush_planned = False
        batch: list[_Call] = []
        while self._waiting and len(batch) < _BATCH_MAX:
            call = self._waiting.popleft()
            if not call.answer.done():  # else its caller has given up
                batch.append(call)
        self._pipeline = asyncio.create_task(self._send(batch)) if batch else None
        if self._pipeline:
            self._pipeline.add_done_callback(self._sent)

    def _sent(self, _: asyncio.Task[None]) -> None:
        self._flush()

    async def _send(self, batch: list[_Call]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                try:
                    answers = await self._execute(batch)
                except RedisConnectionError:
                    answers = await self._execute(batch)
        except (RedisError, RedisTimeoutError, OSError, TimeoutError) as error:
            failure = StoreUnavailable(f"Redis cannot be reached: {_words(error)}.")
            answers = [failure] * len(batch)
        except BaseException as error:
            for call in batch:
                if not call.answer.done():
                    call.answer.set_exception(
                        StoreUnavailable(f"The call was cut short: {error!r}")
                    )
            raise
        for call, answer in zip(batch, answers, strict=True):
            if call.answer.done():
                continue
            if isinstance(answer, Exception):
                call.answer.set_exception(_translated(call, answer))
            else:
                call.answer.set_result(answer)

    async def _execute(self, batch: list[_Call]) -> list[object]:
        answers = await self._round_trip([call.command for call in batch])
        missing = [
            place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)
        ]
        if not missing:
            return answers
        # The server was restarted or flushed: give it the scripts again, then repeat those calls.
        loads: list[tuple[str | bytes | int, ...]] = [
            ("SCRIPT LOAD", script.text) for script in self._scripts
        ]
        repeated = await self._round_trip(loads + [batch[place].command for place in missing])
        for place, answer in zip(missing, repeated[len(loads) :], strict=True):
            answers[place] = answer
        return answers

    async def _round_trip(self, commands: list[tuple[str | bytes | int, ...]]) -> list[object]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute(raise_on_error=False)


def _translated(call: _Call, error: Exception) -> Exception:
    if isinstance(error, StoreUnavailable):
        return error
    if isinstance(error, ResponseError):
        name = call.script.name if call.script else str(call.command[0])
        _log.error("redis refused a call", call=name, error=str(error))
    return StoreUnavailable(f"Redis refused: {_words(error)}.")


def _words(error: BaseException) -> str:
    return str(error).rstrip(".") or type(error).__name__
