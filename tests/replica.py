"""A replica in this process: the wiring of a server process, without HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from sekring.http.runtime import Runtime
from sekring.model import Origin
from sekring.settings import Settings
from sekring.store.contract import PermitRequest
from sekring.wire import OutcomeBody
from tests.servers import RedisServer

__all__ = ["FAILURE", "WHO", "permits", "refuses", "replica_on", "sees", "trip", "until"]

WHO = Origin(actor="test")
FAILURE = OutcomeBody(outcome="failure", detail="no route to host")


@contextlib.asynccontextmanager
async def replica_on(server: RedisServer, **settings: int) -> AsyncIterator[Runtime]:
    """Run a replica on `server`; it begins once its view is current, if it ever is."""
    chosen = {"partitions": 4, "redis_timeout_ms": 5_000, **settings}
    runtime = Runtime(Settings(redis_url=server.url, **chosen))  # type: ignore[arg-type]
    async with runtime.running():
        if runtime.settings.staleness_ms and runtime.claim:
            await until(lambda: all(part.live for part in runtime.replica._partitions))
            await until(lambda: sees(runtime, "anybody"))
        yield runtime


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for does not tell
            await asyncio.sleep(0.005)


def sees(runtime: Runtime, instance_id: str) -> bool | None:
    """What the view alone says to a permit; `None`: it would ask Redis."""
    admission = runtime.replica.admit(PermitRequest(instance_id=instance_id))
    return None if admission is None else admission.permitted


def permits(runtime: Runtime, instance_id: str) -> bool:
    """Whether the view permits by itself."""
    return sees(runtime, instance_id) is True


def refuses(runtime: Runtime, instance_id: str) -> bool:
    """Whether the view refuses by itself."""
    return sees(runtime, instance_id) is False


async def trip(runtime: Runtime, instance_id: str) -> None:
    """Let the instance fail as often as the default policy suffers it."""
    verdicts = [await runtime.breaker.report(instance_id, FAILURE, WHO) for _ in range(15)]
    assert verdicts[-1].tripped
