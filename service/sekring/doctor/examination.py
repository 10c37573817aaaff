"""Runs every examination, each with a deadline; what fails in one does not keep the others."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from sekring.doctor.clocks import examine_clocks
from sekring.doctor.cluster import examine_cluster
from sekring.doctor.collector import examine_collector
from sekring.doctor.configuration import (
    examine_access,
    examine_sealing,
    read_configuration,
)
from sekring.doctor.devices import examine_devices
from sekring.doctor.finding import Finding, failure, unchecked
from sekring.doctor.keyspace import examine_keyspace, holdings_of
from sekring.doctor.nodes import PATIENCE_S, Deployment
from sekring.doctor.reach import examine_reach
from sekring.doctor.replica import examine_replica
from sekring.doctor.replication import examine_replication, examine_writes
from sekring.doctor.rights import examine_rights
from sekring.doctor.server import examine_servers
from sekring.doctor.survey import survey
from sekring.errors import SettingsError, StoreUnavailable
from sekring.gateway.settings import GatewaySettings
from sekring.redisurl import RedisUrl
from sekring.sessions.gateways import Gateways
from sekring.settings import Settings
from sekring.store.folder import DataFolder
from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.store.session_scripts import SessionScripts
from sekring.wire import GatewayItem

__all__ = ["examine"]

#: How long one examination may take, in seconds; one asks its servers up to three times.
_DEADLINE_S = 4 * PATIENCE_S


class _Seen(Struct, frozen=True):
    findings: Sequence[Finding]
    gateways: Sequence[GatewayItem] | None = None


async def examine(environ: Mapping[str, str]) -> list[Finding]:
    """Examine the deployment that `environ` describes; never raises, whatever is found."""
    configuration = read_configuration(environ)
    findings = list(configuration.findings)
    service, gateway = configuration.service, configuration.gateway
    if service is not None:
        findings += await _kept("tokens", _now(lambda: examine_access(service)))
        findings += await _kept("encryption", _now(lambda: examine_sealing(service)))
    # Beside each other: whatever hangs does so once.
    seen, collector, replica = await asyncio.gather(
        _seen(service),
        _kept("telemetry", examine_collector(environ)),
        _kept("service", examine_replica(environ, service)),
    )
    findings += seen.findings
    findings += await _devices(gateway, seen.gateways)
    return [*findings, *collector, *replica]


async def _seen(settings: Settings | None) -> _Seen:
    try:
        return await _redis(settings)
    except Exception as error:  # noqa: BLE001 - as in `_kept`
        return _Seen([_broken("redis", error)])


async def _redis(settings: Settings | None) -> _Seen:
    if settings is None:
        return _Seen([unchecked("redis", "the settings of the service are wrong")])
    if settings.redis_url is None:
        socket = DataFolder(settings.data_dir).socket
        if not socket.exists():
            what = f"no SEKRING_REDIS_URL, and no embedded Valkey runs in {settings.data_dir}"
            return _Seen(
                [unchecked("redis", what, "Start the service; several replicas need one Redis.")]
            )
        settings = msgspec.structs.replace(settings, redis_url=f"unix://{socket}")
    try:
        async with asyncio.timeout(_DEADLINE_S):
            deployment = await survey(RedisUrl.parse(settings.redis_url or ""))
        link = RedisLink(settings.redis_url or "", timeout_ms=round(PATIENCE_S * 1000))
    except SettingsError as error:
        return _Seen([failure("redis", str(error), "The README lists the forms of the URL.")])
    except TimeoutError:
        return _Seen([_late("redis")])
    try:
        return await _deployment(deployment, link, settings)
    finally:
        await link.close()


async def _deployment(deployment: Deployment, link: RedisLink, settings: Settings) -> _Seen:
    findings = examine_reach(deployment, settings.redis_timeout_ms)
    findings += examine_servers(deployment)
    findings += examine_clocks(deployment.nodes)
    if not deployment.primaries:
        later = ("writes", "rights", "replicas", "partitions")
        return _Seen([*findings, *(unchecked(one, "no primary of Redis answers") for one in later)])
    try:
        async with asyncio.timeout(_DEADLINE_S):
            holdings = await holdings_of(link, deployment, settings)
    except (StoreUnavailable, TimeoutError) as error:
        return _Seen([*findings, unchecked("writes", str(error) or "no answer in time")])
    findings += await _kept("writes", examine_writes(deployment, holdings))
    if deployment.url.kind == "cluster":
        findings += await _kept("cluster", examine_cluster(deployment, holdings))
    findings += await _kept("rights", examine_rights(deployment, holdings, settings.key_prefix))
    findings += await _kept("replicas", examine_replication(deployment, settings, link, holdings))
    findings += await _kept("partitions", examine_keyspace(link, settings))
    return _Seen(findings, await _gateways(link, settings))


async def _gateways(link: RedisLink, settings: Settings) -> Sequence[GatewayItem] | None:
    """Return the gateways that live; `None` where that cannot be known."""
    keyspace = Keyspace(settings.key_prefix, settings.partitions)
    try:
        async with asyncio.timeout(_DEADLINE_S):
            gateways = Gateways(SessionScripts(link, keyspace), settings.lease_ttl_ms)
            return await gateways.list_all()
    except (StoreUnavailable, TimeoutError):
        return None


async def _devices(
    settings: GatewaySettings | None, gateways: Sequence[GatewayItem] | None
) -> list[Finding]:
    if settings is None:
        return [unchecked("device store", "the settings of the gateway are wrong")]
    return await _kept("device store", examine_devices(settings, gateways))


async def _now(examination: Callable[[], list[Finding]]) -> list[Finding]:
    return examination()


async def _kept(subject: str, examination: Awaitable[list[Finding]]) -> list[Finding]:
    """Return what is found, or that it was not, in time or at all."""
    try:
        async with asyncio.timeout(_DEADLINE_S):
            return await examination
    except TimeoutError:
        return [_late(subject)]
    except StoreUnavailable as error:
        return [unchecked(subject, str(error).rstrip("."))]
    except Exception as error:  # noqa: BLE001 - the other examinations matter all the more
        return [_broken(subject, error)]


def _broken(subject: str, error: Exception) -> Finding:
    # Without its words, which may be anybody's, secrets included.
    return unchecked(subject, f"the examination itself failed ({type(error).__name__})")


def _late(subject: str) -> Finding:
    return failure(
        subject,
        f"no result within {_DEADLINE_S:.0f} s",
        "Something on the way takes what is sent and does not answer: look at the network.",
    )
