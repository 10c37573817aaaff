"""The part of the composition root for sessions: who wants them, who owns them, what they do."""

from collections.abc import Awaitable, Callable

from sekring.breaker import Breaker
from sekring.detail import Detail
from sekring.policies import Policies
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
from sekring.store.errand_scripts import ErrandScripts
from sekring.store.keys import Keyspace
from sekring.store.postbox import Postbox
from sekring.store.redis import RedisLink
from sekring.store.session_scripts import SessionScripts
from sekring.store.sessions import SessionReads
from sekring.telemetry.instruments import Instruments

__all__ = ["SessionWork"]


class SessionWork:
    """The use-cases on sessions, wired to one store and one breaker."""

    def __init__(
        self,
        store: tuple[RedisLink, RedisLink, Keyspace],
        breaker: Breaker,
        policies: Policies,
        *,
        settings: Settings,
        confirm: Callable[[int, float], Awaitable[bool]],
        changed: Callable[[int], None],
        bells: Bells,
        instruments: Instruments,
    ) -> None:
        """Wire; nothing is sent.

        `store` has the link of what somebody waits for, the one of what comes in large numbers,
        and the keys. `confirm` tells whether replicas of Redis have what was written in a partition
        since then; `changed` is told of partitions with news.
        """
        link, bulk, keyspace = store
        durations = instruments.call_duration
        scripts = SessionScripts(link, keyspace, bulk, durations)
        vacancies = Vacancies(scripts, keyspace)
        ttl_ms = settings.lease_ttl_ms
        self.gateways = Gateways(scripts, ttl_ms)
        self.claims = Claims(
            scripts, self.gateways, vacancies, ttl_ms=ttl_ms, confirm=confirm, changed=changed
        )
        self.leases = Leases(
            scripts, keyspace, self.gateways, vacancies, ttl_ms=ttl_ms, confirm=confirm
        )
        postbox = Postbox(bulk, keyspace)
        errand_scripts = ErrandScripts(link, keyspace, bulk, durations)
        seal = Seal(settings.seal_key)
        self.errands = Errands(errand_scripts, postbox, bells, seal)
        self.qr_codes = QrCodes(errand_scripts, postbox, seal)
        self.retries = Retries(self.errands, postbox, keyspace)
        self.wishes = Wishes(
            scripts,
            SessionReads(scripts, bulk, keyspace),
            keyspace,
            vacancies,
            confirm=confirm,
            changed=changed,
        )
        self.detail = Detail(breaker, policies, self.wishes)
        self.messaging = Messaging(self.wishes, self.errands)
        self.linking = Linking(
            breaker,
            wishes=self.wishes,
            gateways=self.gateways,
            errands=self.errands,
            qr_codes=self.qr_codes,
            bells=bells,
            waits=instruments.qr_wait,
        )
        self.census = Census(vacancies, self.gateways)
        breaker.on_reset(self.retries.note)
