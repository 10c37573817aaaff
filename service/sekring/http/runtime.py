"""What a running replica holds: its settings, its store and the use-cases."""

import asyncio
import contextlib
import hashlib
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from multiprocessing.process import BaseProcess

import structlog

from sekring import __version__
from sekring.detail import Detail
from sekring.draining import is_draining
from sekring.errors import KeyspaceMismatch, SettingsError, StoreUnavailable
from sekring.feed import Feed
from sekring.fleet import Fleet
from sekring.http.decisions import Decisions
from sekring.http.observer import Observer
from sekring.policies import Policies
from sekring.preview import Preview
from sekring.sessions.bells import Bells
from sekring.sessions.census import Census
from sekring.sessions.claims import Claims
from sekring.sessions.errands import Errands
from sekring.sessions.gateways import Gateways
from sekring.sessions.leases import Leases
from sekring.sessions.linking import Linking
from sekring.sessions.messaging import Messaging
from sekring.sessions.qr import QrCodes
from sekring.sessions.retries import Retries
from sekring.sessions.sealing import Seal
from sekring.sessions.vacancies import Vacancies
from sekring.sessions.wishes import Wishes
from sekring.settings import Settings
from sekring.store.claim import claim_keyspace
from sekring.store.contract import KeyspaceClaim, Made
from sekring.store.errand_scripts import ErrandScripts
from sekring.store.hooks import Hooks
from sekring.store.keys import Keyspace
from sekring.store.postbox import Postbox
from sekring.store.push import PushChannel
from sekring.store.reads import FLEET, Reads
from sekring.store.records import Records
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.store.session_scripts import SessionScripts
from sekring.store.sessions import SessionReads
from sekring.store.streams import Streams
from sekring.sweep import Sweep
from sekring.telemetry.environment import Otel
from sekring.telemetry.instruments import Instruments
from sekring.telemetry.meters import Meters
from sekring.telemetry.process import process_families
from sekring.telemetry.push import Push
from sekring.telemetry.siblings import Siblings, siblings_folder
from sekring.telemetry.tracing import Tracing
from sekring.tokens import TokenBook
from sekring.trend import Trend
from sekring.webhooks.courier import Pace
from sekring.webhooks.definitions import Webhooks
from sekring.webhooks.delivery import Delivery
from sekring.webhooks.post import Poster

__all__ = ["Runtime"]

#: How often a server process looks whether its supervisor is still there, in seconds.
_SUPERVISOR_PAUSE_S = 0.2

#: How long a stop waits for Redis to take what it has yet to learn, in seconds.
_FLUSH_S = 3.0

#: How long a trip or a reset waits for replicas of Redis to have it, in ms; then it is answered,
#: and pledged.
_CONFIRM_MS = 100

#: How long a claim, a renewal or a wish waits for them, in ms; then it is an error. The gateway
#: sends it again long before its leases end.
_CONFIRM_LEASE_MS = 1000

#: How often a server process looks whether it is to stop, in seconds.
_DRAIN_PAUSE_S = 0.1

#: How long to wait until Redis is tried again at the start, in seconds.
_CLAIM_PAUSE_S = 0.5

_log = structlog.get_logger(__name__)


class Runtime:
    """Made once a process by the composition root (`sekring.http.app`)."""

    def __init__(self, settings: Settings) -> None:
        """Wire the store to the use-cases; nothing is sent yet.

        Raises:
            SettingsError: no Redis is named, or the tokens cannot be read.
        """
        if settings.redis_url is None:
            raise SettingsError("SEKRING_REDIS_URL is missing: a server process needs one.")
        self.settings = settings
        self._wire_telemetry()
        self.tokens = TokenBook.load(settings.tokens_file, settings.tokens)
        self.keyspace = Keyspace(settings.key_prefix, settings.partitions)
        self._link = RedisLink(settings.redis_url, timeout_ms=settings.redis_timeout_ms)
        self._bulk = RedisLink(settings.redis_url, timeout_ms=settings.redis_timeout_ms)
        durations = self.instruments.call_duration
        self.scripts = Scripts(self._link, self.keyspace, self._bulk, durations)
        self.scripts.on_transition(self._count)
        self.reads = Reads(self._bulk, self.keyspace)
        self._confirm_replicas = settings.replicas_to_confirm
        views = [self.keyspace.view(number) for number in self.keyspace.all_partitions()]

        def available(partition: int) -> bool:
            return self.claim is not None and self._link.available(views[partition])

        streams = Streams(self.scripts, self.keyspace)
        self.feed = Feed(streams)
        self.bells = Bells()
        decisions = Decisions(
            self.scripts,
            self.reads,
            self.keyspace,
            staleness_ms=settings.staleness_ms,
            replay_max=settings.replay_max,
            available=available,
            confirm=self._confirm if self._confirm_replicas else None,
            changed=self.feed.wake,
            rung=self.bells.ring,
            roots=self.tracing.routine,
            instruments=self.instruments,
        )
        self.pledges = decisions.pledges
        self._link.on_availability(self.pledges.hurry)
        self.replica = decisions.replica
        self.replay = decisions.replay
        self.degraded = decisions.degraded
        self.registrar = decisions.registrar
        self.guard = decisions.guard
        self.breaker = decisions.breaker
        self.permits = decisions.permits
        self.fleet = Fleet(self.scripts, self.reads, self.keyspace, self.breaker)
        self.policies = Policies(self.scripts, self.reads, self.keyspace)
        records = Records(self.scripts, self._bulk, self.keyspace)
        self.trend = Trend(records)
        self.preview = Preview(records, self.reads, self.policies)
        self._push = PushChannel(
            self._bulk, self.replica.channels, self.replica, ping_ms=settings.staleness_ms // 5 or 1
        )
        self.sweep = Sweep(
            self.scripts,
            self.reads,
            self.keyspace,
            self.policies,
            replica=self.replica,
            guard=self.guard,
            roots=self.tracing.routine,
        )
        hooks = Hooks(self.scripts, self._bulk, self.keyspace)
        self.webhooks = Webhooks(hooks, streams)
        self.poster = Poster(settings.webhook_timeout_ms)
        pace = Pace(
            lease_ms=settings.webhook_lease_ms,
            retry_ms=settings.webhook_retry_ms,
            retry_max_ms=settings.webhook_retry_max_ms,
        )
        self.delivery = Delivery(
            hooks,
            self.feed,
            self.poster,
            pace,
            port=settings.port,
            attempts=self.instruments.deliveries,
        )
        self._wire_sessions()
        #: `None` until Redis was reached and found to hold this keyspace.
        self.claim: KeyspaceClaim | None = None

    def _wire_telemetry(self) -> None:
        self._otel = Otel(os.environ, "sekring", __version__)
        self.tracing = Tracing(self._otel)
        self.meters = Meters()
        self.siblings = Siblings(
            siblings_folder(), lambda: [*self.meters.gather(), *process_families()]
        )
        self._metrics_push = Push(self._otel, lambda: self.siblings.labelled(self.meters.gather()))
        self.instruments = Instruments(self.meters)
        self.observer = Observer(self.tracing, self.instruments.request_duration)

    def _wire_sessions(self) -> None:
        durations = self.instruments.call_duration
        scripts = SessionScripts(self._link, self.keyspace, self._bulk, durations)
        vacancies = Vacancies(scripts, self.keyspace)
        ttl_ms = self.settings.lease_ttl_ms
        self.gateways = Gateways(scripts, ttl_ms)
        self.claims = Claims(
            scripts,
            self.gateways,
            vacancies,
            ttl_ms=ttl_ms,
            confirm=self._confirm_partition,
            changed=self.feed.wake,
        )
        self.leases = Leases(
            scripts,
            self.keyspace,
            self.gateways,
            vacancies,
            ttl_ms=ttl_ms,
            confirm=self._confirm_partition,
        )
        postbox = Postbox(self._bulk, self.keyspace)
        errand_scripts = ErrandScripts(self._link, self.keyspace, self._bulk, durations)
        seal = Seal(self.settings.seal_key)
        self.errands = Errands(errand_scripts, postbox, self.bells, seal)
        self.qr_codes = QrCodes(errand_scripts, postbox, seal)
        self.retries = Retries(self.errands, postbox, self.keyspace)
        self.wishes = Wishes(
            scripts,
            SessionReads(scripts, self._bulk, self.keyspace),
            self.keyspace,
            vacancies,
            confirm=self._confirm_partition,
            changed=self.feed.wake,
        )
        self.detail = Detail(self.breaker, self.policies, self.wishes)
        self.messaging = Messaging(self.wishes, self.errands)
        self.linking = Linking(
            self.breaker,
            wishes=self.wishes,
            gateways=self.gateways,
            errands=self.errands,
            qr_codes=self.qr_codes,
            bells=self.bells,
            waits=self.instruments.qr_wait,
        )
        self.census = Census(vacancies, self.gateways)
        self.breaker.on_reset(self.retries.note)

    def claimed(self) -> KeyspaceClaim:
        """Return the claim on the keyspace, without which nothing is decided.

        Raises:
            StoreUnavailable: Redis was not reached yet since the start.
        """
        if self.claim is None:
            raise StoreUnavailable("Redis has not been reached since this replica started.")
        return self.claim

    @property
    def secret(self) -> str:
        """What all replicas of the keyspace sign with; raises as `claimed` does."""
        return self.claimed().secret

    @property
    def lost_nodes(self) -> int:
        """How many nodes of Redis are taken to be lost."""
        return len(self._link.lost | self._bulk.lost)

    @property
    def draining(self) -> bool:
        """Whether the process was told to stop and only finishes what is under way."""
        return is_draining()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the connections, and sweep, for as long as the process serves."""
        exports = self._otel.exports("traces") or self._otel.exports("metrics")
        resource = self._otel.resource() if exports else None
        self.tracing.open(resource)
        with contextlib.suppress(StoreUnavailable):
            self.claim = await claim_keyspace(self.scripts, self.settings.partitions)
        tasks = [
            asyncio.create_task(task)
            for task in (
                self._keep(),
                self._push.run(),
                self.retries.run(),
                self.feed.run(),
                self._finish_when_draining(),
            )
        ]
        if supervisor := multiprocessing.parent_process():
            tasks.append(asyncio.create_task(_end_with(supervisor, self._finish)))
        try:
            async with self.siblings.running(), self._metrics_push.running(resource):
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.replica.close()
            await self.registrar.close()
            await self.replay.close(_FLUSH_S)
            await self.pledges.close(_FLUSH_S)
            await self._finish()
            await self.poster.close()
            await self._link.close()
            await self._bulk.close()
            await asyncio.to_thread(self.tracing.close)

    def _count(self, made: Made) -> None:
        """Count a transition of a breaker: other entries of the audit trail change no state."""
        if made.instance_id != FLEET and made.before != made.after:
            self.instruments.transitions[made.before, made.after, made.cause] += 1

    async def _finish_when_draining(self) -> None:
        while not self.draining:  # noqa: ASYNC110 - the supervisor says so by a file
            await asyncio.sleep(_DRAIN_PAUSE_S)
        await self._finish()

    async def _finish(self) -> None:
        """End what would go on for ever, so that it does not hold up the stop."""
        self.feed.close()
        self.bells.close()
        await self.delivery.stop()

    async def _keep(self) -> None:
        while self.claim is None:
            await asyncio.sleep(_CLAIM_PAUSE_S)
            try:
                self.claim = await claim_keyspace(self.scripts, self.settings.partitions)
            except StoreUnavailable as error:
                _log.warning("redis is not there yet", error=str(error))
            except KeyspaceMismatch as error:
                _log.critical(str(error))
                os.kill(os.getpid(), signal.SIGTERM)
                return
        self.replay.open()
        await asyncio.gather(self.sweep.run(), self.delivery.run(), self.census.run())

    @property
    def keyspace_id(self) -> str | None:
        """Name the keyspace without telling its secret; `None` before Redis was reached."""
        if self.claim is None:
            return None
        return hashlib.sha256(b"sekring keyspace:" + self.claim.secret.encode()).hexdigest()[:16]

    async def _confirm(self, instance_id: str, since_s: float) -> bool:
        """Tell whether replicas of Redis have what was written about the instance since then."""
        key = self.keyspace.view(self.keyspace.partition_of(instance_id))
        return await self._link.confirm(key, self._confirm_replicas, _CONFIRM_MS, since_s)

    async def _confirm_partition(self, partition: int, since_s: float) -> bool:
        """Tell whether replicas of Redis, if there are to be any, have what was written there."""
        if not self._confirm_replicas:
            return True
        key = self.keyspace.leases(partition)
        return await self._link.confirm(key, self._confirm_replicas, _CONFIRM_LEASE_MS, since_s)


async def _end_with(supervisor: BaseProcess, finish: Callable[[], Awaitable[None]]) -> None:
    """Stop if the process that started this one was killed: left alone, it would keep the port."""
    while supervisor.is_alive():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(_SUPERVISOR_PAUSE_S)
    _log.error("the supervisor is gone: stopping", pid=supervisor.pid)
    await finish()
    os.kill(os.getpid(), signal.SIGTERM)
