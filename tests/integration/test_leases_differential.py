"""Random claims, renewals and releases: the Lua scripts against the reference, and both for safety.

After every step at most one gateway may believe that it owns a session, and every token was above
all before it. Time is the test's: gateways go by a true clock, Redis by one that is set back now
and then.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, Final, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from sekring.store.keys import Keyspace
from sekring.store.redis import RedisLink
from sekring.store.session_contract import (
    ClaimLeasesRequest,
    DropSessionRequest,
    ReleaseLeasesRequest,
    RenewLeasesRequest,
    SetPhaseRequest,
    VacanciesRequest,
    WantSessionRequest,
)
from sekring.store.session_scripts import SessionScripts
from sekring.store.sessions import SessionReads
from sekring.wire import Phase, Session
from tests.reference_leases import Sessions
from tests.servers import RedisServer

START_MS: Final = 1_795_446_878_959
TTL_MS: Final = 15_000
NAMES: Final = ("s1", "s2", "s3", "s4")
GATEWAYS: Final = ("a", "b", "c")

names = st.sampled_from(NAMES)
gateways = st.sampled_from(GATEWAYS)
phases = st.sampled_from([phase for phase in Phase if phase is not Phase.VACANT])
#: Which of the tokens that were ever given out for a session: the last, or one before it.
ages = st.sampled_from([0, 0, 0, 1, 2])

Reply = TypeVar("Reply")


class Machine(RuleBasedStateMachine):
    """Does everything in Redis and in the reference, and compares."""

    def __init__(self, server: RedisServer, link: RedisLink, runner: asyncio.Runner) -> None:
        super().__init__()
        self.server, self.runner = server, runner
        keyspace = Keyspace(partitions=1)
        self.scripts = SessionScripts(link, keyspace)
        self.reads = SessionReads(self.scripts, link, keyspace)
        self.owners_key = keyspace.owners(0)
        self.model = Sessions()
        self.true_ms = START_MS
        #: How far Redis' clock is behind.
        self.behind_ms = 0
        #: Gateway and token of every lease that was given out, per session, the latest last.
        self.given: dict[str, list[tuple[str, int]]] = {name: [("a", 1)] for name in NAMES}
        #: Until when a gateway believes that it owns a session.
        self.believed: dict[tuple[str, str], int] = {}

    @property
    def now(self) -> int:
        """Redis' clock."""
        return self.true_ms - self.behind_ms

    def run(self, call: Coroutine[Any, Any, Reply]) -> Reply:
        return self.runner.run(call)

    @initialize()
    def begin(self) -> None:
        with self.server.client() as client:
            client.flushdb()

    @rule(name=names)
    def want(self, name: str) -> None:
        request = WantSessionRequest(instance_id=name, now_ms=self.now)
        assert self.run(self.scripts.want_session(request)) == self.model.want(name)

    @rule(name=names)
    def drop(self, name: str) -> None:
        request = DropSessionRequest(instance_id=name, now_ms=self.now)
        assert self.run(self.scripts.drop_session(request)) == self.model.drop(name, self.now)

    @rule(gateway=gateways, limit=st.integers(0, 5), twice=st.booleans())
    def claim(self, gateway: str, limit: int, *, twice: bool) -> None:
        request = ClaimLeasesRequest(gateway=gateway, limit=limit, ttl_ms=TTL_MS, now_ms=self.now)
        claimed = self.run(self.scripts.claim_leases(0, request))
        if twice and claimed.leases:
            assert self.run(self.scripts.claim_leases(0, request)) == claimed
        found = [(one.instance_id, one.token, one.taken_from) for one in claimed.leases]
        assert found == self.model.claim(gateway, limit, TTL_MS, self.now)
        for name, token, _ in found:
            assert token > self.given[name][-1][1], "a token did not grow"
            self.given[name].append((gateway, token))
            self.believed[gateway, name] = self.true_ms + TTL_MS

    @rule(name=names, age=ages, other=st.one_of(st.none(), gateways))
    def renew(self, name: str, age: int, other: str | None) -> None:
        gateway, token = self._given(name, age, other)
        request = RenewLeasesRequest(
            gateway=gateway, ttl_ms=TTL_MS, instance_ids=[name], tokens=[token], now_ms=self.now
        )
        renewed = self.run(self.scripts.renew_leases(0, request))
        held = self.model.renew(gateway, name, token, TTL_MS, self.now)
        assert (renewed.held, renewed.wanted) == ((held,), (name in self.model.wanted,))
        if held:
            self.believed[gateway, name] = self.true_ms + TTL_MS

    @rule(name=names, age=ages, other=st.one_of(st.none(), gateways))
    def release(self, name: str, age: int, other: str | None) -> None:
        gateway, token = self._given(name, age, other)
        if token == self.given[name][-1][1] and gateway == self.given[name][-1][0]:
            self.believed.pop((gateway, name), None)  # it has stopped before
        request = ReleaseLeasesRequest(
            gateway=gateway, instance_ids=[name], tokens=[token], now_ms=self.now
        )
        released = self.run(self.scripts.release_leases(0, request)).released
        assert released == (self.model.release(gateway, name, token, self.now),)

    @rule(
        name=names,
        age=ages,
        other=st.one_of(st.none(), gateways),
        phase=phases,
        device=st.sampled_from([None, "1@s", "2@s"]),
    )
    def set_phase(
        self, name: str, age: int, other: str | None, phase: Phase, device: str | None
    ) -> None:
        gateway, token = self._given(name, age, other)
        request = SetPhaseRequest(
            instance_id=name,
            gateway=gateway,
            token=token,
            phase=phase,
            device=device,
            now_ms=self.now,
        )
        held = self.run(self.scripts.set_phase(request))
        assert held == self.model.set_phase(
            gateway, name, token, phase=phase, device=device, now=self.now
        )

    @rule(ms=st.sampled_from([1, 2_000, TTL_MS - 1, TTL_MS, TTL_MS + 1, 60_000]))
    def wait(self, ms: int) -> None:
        self.true_ms += ms

    @rule(ms=st.sampled_from([5_000, 600_000]))
    def set_clock_back(self, ms: int) -> None:
        self.behind_ms += ms

    @rule(name=names)
    def lose_record(self, name: str) -> None:
        """As by an eviction; its lease lasts all the same."""
        with self.server.client() as client:
            client.hdel(self.owners_key, name)
        self.model.owners.pop(name, None)

    @invariant()
    def at_most_one_believes_that_it_owns_a_session(self) -> None:
        live = [name for (_, name), until in self.believed.items() if until > self.true_ms]
        assert len(live) == len(set(live))

    @invariant()
    def redis_has_what_the_reference_has(self) -> None:
        async def read() -> tuple[list[str], list[Session], int, int]:
            listed = await self.reads.names(0)
            sessions = await self.reads.read(NAMES)
            counts = await self.scripts.vacancies(0, VacanciesRequest(now_ms=self.now))
            return listed, sessions, counts.sessions, counts.vacant

        listed, sessions, wanted, vacant = self.run(read())
        assert listed == sorted(self.model.ends_ms)
        assert (wanted, vacant) == (len(self.model.wanted), self.model.vacant(self.now))
        for session in sessions:
            owner = self.model.owners.get(session.instance_id)
            assert session.wanted == (session.instance_id in self.model.wanted)
            assert session.token == (owner.token if owner else 0)
            assert session.device == (owner.device if owner else None)

    def _given(self, name: str, age: int, other: str | None) -> tuple[str, int]:
        """A lease that was given out, as its owner names it, or (by mistake) another gateway."""
        given = self.given[name]
        gateway, token = given[-1 - min(age, len(given) - 1)]
        return other or gateway, token


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all examples."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def shared_link(redis_server: RedisServer, runner: asyncio.Runner) -> Iterator[RedisLink]:
    link = RedisLink(redis_server.url, timeout_ms=20_000)
    yield link
    runner.run(link.close())


def test_the_scripts_do_what_the_reference_does(
    redis_server: RedisServer, shared_link: RedisLink, runner: asyncio.Runner, *, full: bool
) -> None:
    run_state_machine_as_test(
        # Hypothesis takes whatever makes one; its types only know the class.
        lambda: Machine(redis_server, shared_link, runner),  # type: ignore[arg-type]
        settings=settings(
            max_examples=1_000 if full else 80,
            stateful_step_count=40,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
