"""Whom a session asks before it connects: nobody, or Sekring."""

from typing import Protocol

import redis
from msgspec import Struct

from loadtest.virtual import AtTime
from sekring.http.decisions import Decisions
from sekring.model import Origin, Transition
from sekring.policies import Policies
from sekring.policy import FleetGuard, FleetGuardPatch, PolicyPatch
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.sweep import Sweep
from sekring.taxonomy import Kind
from sekring.wire import OutcomeBody

__all__ = ["Gate", "Leave", "NoGate", "SekringGate"]

_ORIGIN = Origin()


class Leave(Struct, frozen=True):
    """Whether a session may connect, and how long it waits before it connects or asks again."""

    granted: bool
    wait_ms: int
    attempt_id: str | None = None


class Gate(Protocol):
    """What stands between a session and WhatsApp."""

    async def ask(self, session: int) -> Leave:
        """Ask whether it may connect."""
        ...

    async def failed(self, session: int, kind: str, attempt_id: str | None) -> None:
        """Tell that an attempt, or the connection, has failed."""
        ...

    async def connected(self, session: int, attempt_id: str | None) -> None:
        """Tell that it is connected."""
        ...

    async def sweep(self, replica: int) -> None:
        """Do what a replica does about twice a second."""
        ...


class NoGate:
    """whatsmeow on its own: it reconnects at once, then after 2 s x errors; no cap, no jitter."""

    def __init__(self, sessions: int) -> None:
        """Begin without errors."""
        self._errors = [0] * sessions

    async def ask(self, session: int) -> Leave:
        """Everybody may."""
        errors = self._errors[session]
        self._errors[session] += 1
        return Leave(granted=True, wait_ms=2_000 * errors)

    async def failed(self, session: int, kind: str, attempt_id: str | None) -> None:
        """Do nothing: it was counted when it asked."""

    async def connected(self, session: int, attempt_id: str | None) -> None:
        """Begin anew."""
        self._errors[session] = 0

    async def sweep(self, replica: int) -> None:
        """Do nothing."""


class SekringGate:
    """Three replicas of Sekring on one server; each session asks the same one all the time.

    The policy is the default but for the guard, which may be switched off.
    """

    REPLICAS = 3

    def __init__(self, client: "redis.Redis", link: RedisLink, *, guarded: bool) -> None:
        """Use scripts through `client`, in virtual time, and plain reads through `link`."""
        self._guarded = guarded
        self._keyspace = Keyspace(partitions=4)
        self._scripts = Scripts(AtTime(client), self._keyspace)
        self._reads = Reads(link, self._keyspace)
        self._policies = Policies(self._scripts, self._reads, self._keyspace)
        self._replicas = [
            # Without a view: its time is not virtual.
            Decisions(
                self._scripts,
                self._reads,
                self._keyspace,
                staleness_ms=0,
                replay_max=1,
                available=lambda _: True,
            )
            for _ in range(self.REPLICAS)
        ]
        self._sweeps = [
            Sweep(
                self._scripts,
                self._reads,
                self._keyspace,
                self._policies,
                replica=one.replica,
                guard=one.guard,
            )
            for one in self._replicas
        ]

    @property
    def policy(self) -> FleetGuard:
        """The guard's policy: the defaults, on or off."""
        return FleetGuard(enabled=self._guarded)

    async def prepare(self, sessions: int) -> None:
        """Enter the policy, and all sessions as connected."""
        patch = PolicyPatch(fleet_guard=FleetGuardPatch(enabled=self._guarded))
        await self._policies.change_fleet(patch, _ORIGIN)
        for session in range(sessions):
            await self.connected(session, None)

    async def ask(self, session: int) -> Leave:
        """Ask for a permit."""
        admission = await self._replica(session).permits.permit(_name(session), _ORIGIN)
        if not admission.permitted:
            # Never `None`: nobody is banned or logged out here.
            return Leave(granted=False, wait_ms=admission.retry_after_ms or 0)
        return Leave(granted=True, wait_ms=admission.backoff_ms, attempt_id=admission.attempt_id)

    async def failed(self, session: int, kind: str, attempt_id: str | None) -> None:
        """Report it."""
        body = OutcomeBody(outcome="failure", kind=Kind(kind), attempt_id=attempt_id)
        await self._replica(session).breaker.report(_name(session), body, _ORIGIN)

    async def connected(self, session: int, attempt_id: str | None) -> None:
        """Report it."""
        body = OutcomeBody(outcome="success", attempt_id=attempt_id)
        await self._replica(session).breaker.report(_name(session), body, _ORIGIN)

    async def sweep(self, replica: int) -> None:
        """Settle all that is due, and evaluate the guard."""
        while await self._sweeps[replica].once():
            pass

    async def guard_history(self) -> list[Transition]:
        """Return what the guard did, oldest first."""
        return (await self._replicas[0].guard.history(100))[::-1]

    def _replica(self, session: int) -> Decisions:
        return self._replicas[session % self.REPLICAS]


def _name(session: int) -> str:
    return f"62{session:09}"
