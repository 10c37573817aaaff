"""The composition root: everything that a replica consists of is put together here."""

import contextlib
import os
from collections.abc import AsyncIterator

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from sekring import __version__
from sekring.http.attempts import Attempts
from sekring.http.auth import authorize
from sekring.http.bodies import RawSchema
from sekring.http.guide import Guide
from sekring.http.health import Probes
from sekring.http.instances import Instances, Operations
from sekring.http.limits import MAX_BODY_BYTES, Limits, add_security_headers
from sekring.http.options import NEEDS
from sekring.http.policies import Builds, PolicyRoutes
from sekring.http.problems import answer
from sekring.http.runtime import Runtime
from sekring.settings import Settings, load
from sekring.telemetry import configure_logging

__all__ = ["create_app", "from_environment"]


def create_app(settings: Settings) -> Litestar:
    """Return the ASGI app of one replica.

    Raises:
        SettingsError: no Redis is named (`sekring serve` starts the embedded one beforehand), or
            the tokens cannot be read.
    """
    runtime = Runtime(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with runtime.running():
            yield

    app = Litestar(
        route_handlers=[Guide, Attempts, Instances, Operations, PolicyRoutes, Builds, Probes],
        dependencies={"runtime": Provide(lambda: runtime, sync_to_thread=False)},
        guards=[authorize],
        middleware=[Limits(settings.request_timeout_ms)],
        before_send=[add_security_headers],
        exception_handlers={Exception: answer},
        plugins=[RawSchema()],
        lifespan=[lifespan],
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=OpenAPIConfig(
            title="Sekring",
            version=__version__,
            description="A circuit breaker for WhatsApp sessions, shared by all gateways.",
            use_handler_docstrings=True,
            # The description alone: viewers of it load their scripts from elsewhere. (An empty
            # list means all of them.)
            render_plugins=[JsonRenderPlugin(path=["/openapi.json", "/"])],
            openapi_router=Router("/schema", route_handlers=[], opt={NEEDS: None}),
        ),
        logging_config=None,
    )
    app.state.runtime = runtime
    return app


def from_environment() -> Litestar:
    """Return the app for the environment's settings: what each server process calls."""
    settings = load(os.environ).settings
    configure_logging(settings.log_level, settings.log_format)
    return create_app(settings)
