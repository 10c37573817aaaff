"""A gateway's first words with the service: what forbids it to own sessions is found here."""

import asyncio
import time
from typing import Final

import structlog

from sekring.client import AsyncClient
from sekring.errors import (
    DevicesApart,
    NotAllowed,
    NotAuthenticated,
    ServiceUnavailable,
    SettingsError,
)
from sekring.gateway.devices.identity import StoreIdentity, check_shared
from sekring.gateway.settings import GatewaySettings
from sekring.settings import variable_of
from sekring.wire import ClaimBody

__all__ = ["introduce"]

#: How often the other gateways are looked at again, in seconds.
_PAUSE_S: Final = 0.5

_log = structlog.get_logger("sekring")


async def introduce(
    client: AsyncClient, gateway: str, settings: GatewaySettings, devices: StoreIdentity | None
) -> None:
    """Join the gateways, and compare device stores with theirs; an absent service may come later.

    Raises:
        SettingsError: the service refuses the token.
        DevicesApart: another gateway that lives keeps its devices elsewhere.
    """
    body = ClaimBody(
        gateway=gateway,
        capacity=settings.gateway_capacity,
        held=0,
        limit=0,
        devices=None if devices is None else str(devices),
    )
    try:
        terms = await client.claim(body)
        if devices is not None:
            await _compare(client, gateway, devices, terms.ttl_ms / 1000)
    except (NotAuthenticated, NotAllowed) as error:
        name = variable_of("token")
        raise SettingsError(
            f"{name}: the service at {settings.url} refuses it: {error} Make one with"
            " `sekring token new --role gateway`."
        ) from None
    except ServiceUnavailable as error:
        _log.warning("the service is not there yet", error=str(error))


async def _compare(client: AsyncClient, gateway: str, devices: StoreIdentity, ttl_s: float) -> None:
    """Wait for those that have just ended: they pass for living until their lease is over."""
    deadline_s = time.monotonic() + ttl_s
    warned = False
    while True:
        others = {
            one.gateway: one.devices
            for one in await client.gateways()
            if one.gateway != gateway and one.devices is not None
        }
        try:
            check_shared(devices, others)
        except DevicesApart as error:
            if time.monotonic() > deadline_s:
                raise
            if not warned:
                _log.warning("waiting, in case that gateway has ended", error=str(error))
            warned = True
        else:
            return
        await asyncio.sleep(_PAUSE_S)
