"""What goes on beside the sessions: traces and metrics are sent, and probes answered.

The HTTP server is on the gateway's own event loop: that it answers shows that this turns.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Final

import structlog

from sekring.errors import SettingsError
from sekring.gateway.settings import GatewaySettings
from sekring.settings import variable_of
from sekring.telemetry.environment import Otel
from sekring.telemetry.families import Family
from sekring.telemetry.process import process_families
from sekring.telemetry.push import Push
from sekring.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from litestar import Litestar

    from sekring.gateway.telemetry.probes import Condition

__all__ = ["exporting", "probed"]

#: How long answers that are on their way may take at the end, in seconds.
_LAST_ANSWERS_S: Final = 1

_log = structlog.get_logger("sekring")


@contextlib.asynccontextmanager
async def exporting(otel: Otel, tracing: Tracing, push: Push) -> AsyncIterator[None]:
    """Send traces and metrics where the environment says so, and what waits at the end."""
    wanted = otel.exports("traces") or otel.exports("metrics")
    resource = otel.resource() if wanted else None
    tracing.open(resource)
    try:
        async with push.running(resource):
            yield
    finally:
        await asyncio.to_thread(tracing.close)


@contextlib.asynccontextmanager
async def probed(
    settings: GatewaySettings, condition: "Condition", gather: Callable[[], list[Family]]
) -> AsyncIterator[None]:
    """Answer probes, if a port is set for them.

    Raises:
        SettingsError: one cannot listen there; names the settings.
    """
    if settings.gateway_probe_port is None:
        yield
        return
    from sekring.gateway.telemetry.probes import probes  # noqa: PLC0415 - a web framework

    app = probes(condition, lambda: [*gather(), *process_families()])
    async with _listening(app, settings.gateway_probe_host, settings.gateway_probe_port):
        yield


@contextlib.asynccontextmanager
async def _listening(app: "Litestar", host: str, port: int) -> AsyncIterator[None]:
    import uvicorn  # noqa: PLC0415 - only where it is wanted

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Leave signals to the supervisor."""
            yield

    with _bound(host, port) as bound:
        server = Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=_LAST_ANSWERS_S,
            )
        )
        serving = asyncio.create_task(server.serve([bound]))
        _log.info("listening for probes", host=host, port=port)
        try:
            yield
        finally:
            server.should_exit = True
            await serving


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        names = f"{variable_of('gateway_probe_host')} and {variable_of('gateway_probe_port')}"
        raise SettingsError(
            f"{names}: cannot listen on {host} port {port}: {error.strerror or error}."
            " Choose another port, or leave it out."
        ) from None
    return bound
