"""The composition root: everything that a replica consists of is put together here."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from litestar import Litestar, Response, Router
from litestar.di import Provide
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from sekring import __version__
from sekring.console.actions import Actions
from sekring.console.assets import AssetBook, AssetRoutes
from sekring.console.errorpages import answer_reader
from sekring.console.fleet import FleetPage
from sekring.console.holds import Holds
from sekring.console.instance import InstancePage
from sekring.console.live import Live
from sekring.console.login import Login
from sekring.console.policy import FleetPolicy, InstancePolicy
from sekring.console.pulse import Pulse
from sekring.console.reset import Reset
from sekring.console.resets import Resets
from sekring.console.views import Views
from sekring.http.attempts import Attempts
from sekring.http.auth import authorize
from sekring.http.bodies import RawSchema
from sekring.http.caller import CallerRoutes
from sekring.http.errands import ErrandRoutes
from sekring.http.events import Events
from sekring.http.failures import FailureRoutes
from sekring.http.garbage import settle_garbage
from sekring.http.gateways import GatewayRoutes
from sekring.http.gauges import add_gauges
from sekring.http.guard import GuardRoutes
from sekring.http.guide import Guide
from sekring.http.health import Probes
from sekring.http.hotroutes import HotRoutes
from sekring.http.instances import Instances, Operations
from sekring.http.leases import LeaseRoutes
from sekring.http.limits import MAX_BODY_BYTES, Limits, add_security_headers
from sekring.http.linking import LinkingRoutes
from sekring.http.messaging import MessagingRoutes
from sekring.http.metrics import Metrics
from sekring.http.options import NEEDS
from sekring.http.policies import Builds, PolicyRoutes
from sekring.http.runtime import Runtime
from sekring.http.sessions import SessionRoutes
from sekring.http.webhooks import WebhookRoutes
from sekring.settings import Settings, load
from sekring.telemetry.logs import configure_logging

__all__ = ["create_app", "from_environment"]


def create_app(settings: Settings) -> Litestar:
    """Return the ASGI app of one replica.

    Raises:
        SettingsError: no Redis is named (`sekring serve` starts the embedded one beforehand), or
            the tokens cannot be read.
    """
    runtime = Runtime(settings)
    add_gauges(runtime.meters, runtime)
    assets = AssetBook()
    views = Views(assets)
    pulse = Pulse(runtime.feed)

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with runtime.telemetry.running(), runtime.running():
            beating = asyncio.create_task(pulse.run())
            settle_garbage()
            try:
                yield
            finally:
                beating.cancel()

    app = Litestar(
        route_handlers=[
            Guide,
            Reset,
            Attempts,
            Instances,
            Operations,
            PolicyRoutes,
            FailureRoutes,
            Builds,
            Events,
            CallerRoutes,
            WebhookRoutes,
            GuardRoutes,
            LeaseRoutes,
            SessionRoutes,
            GatewayRoutes,
            ErrandRoutes,
            LinkingRoutes,
            MessagingRoutes,
            Probes,
            Metrics,
            FleetPage,
            Actions,
            Holds,
            InstancePage,
            FleetPolicy,
            InstancePolicy,
            Resets,
            Live,
            Login,
            AssetRoutes,
        ],
        dependencies={
            "runtime": Provide(lambda: runtime, sync_to_thread=False),
            "views": Provide(lambda: views, sync_to_thread=False),
            "assets": Provide(lambda: assets, sync_to_thread=False),
            "pulse": Provide(lambda: pulse, sync_to_thread=False),
        },
        guards=[authorize],
        middleware=[Limits(settings.request_timeout_ms, runtime.observer)],
        before_send=[add_security_headers],
        exception_handlers={Exception: answer_reader},
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
            components=Components(
                security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}
            ),
            # Or none, where the service has no tokens.
            security=[{"token": []}, {}],
            openapi_router=Router(
                "/schema",
                route_handlers=[],
                opt={NEEDS: None},
                include_in_schema=False,
                after_request=_refuse_unknown,
            ),
        ),
        logging_config=None,
    )
    app.state.runtime = runtime
    app.state.views = views
    return app


def _refuse_unknown(response: Response[Any]) -> Response[Any]:
    """Have Litestar's own page for unknown paths below /schema replaced by our error."""
    if response.status_code == HTTPStatus.NOT_FOUND:
        raise NotFoundException
    return response


def from_environment() -> HotRoutes:
    """Return the app for the environment's settings."""
    settings = load(os.environ).settings
    configure_logging(settings.log_level, settings.log_format)
    app = create_app(settings)
    return HotRoutes(app, app.state.runtime)
