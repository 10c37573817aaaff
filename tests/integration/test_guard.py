"""The fleet guard: when it opens, how it paces, how it recovers, and what an operator may do.

The scripts run on a real server, in virtual time.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest
import redis

from loadtest.virtual import NOW_MS, AtTime, together
from sekring.fleetguard import Guard
from sekring.http.decisions import Decisions
from sekring.model import Admission, FleetTotals, GuardState, Origin, State
from sekring.policies import Policies
from sekring.policy import FleetGuardPatch, PolicyPatch
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.sweep import Sweep
from sekring.wire import OutcomeBody
from tests.servers import RedisServer

START: Final = 1_800_000_000_000
ORIGIN: Final = Origin(actor="ops", reason="known beforehand")


class Replica:
    """What the guard needs of one."""

    def __init__(self, client: redis.Redis, link: RedisLink) -> None:
        keyspace = Keyspace(partitions=4)
        self.scripts = Scripts(AtTime(client), keyspace)
        self.reads = Reads(link, keyspace)
        decisions = Decisions(
            self.scripts,
            self.reads,
            keyspace,
            staleness_ms=0,  # the view's time is not virtual
            replay_max=1,
            available=lambda _: True,
        )
        self.guard = decisions.guard
        self.breaker = decisions.breaker
        self.permits = decisions.permits
        self.policies = Policies(self.scripts, self.reads, keyspace)
        self.sweep = Sweep(
            self.scripts,
            self.reads,
            keyspace,
            self.policies,
            replica=decisions.replica,
            guard=self.guard,
        )


class Fleet:
    """Three replicas on one server, and the time."""

    def __init__(self, client: redis.Redis, link: RedisLink) -> None:
        self.replicas = [Replica(client, link) for _ in range(3)]
        self.one = self.replicas[0]
        self.wait(0)

    @property
    def now(self) -> int:
        return NOW_MS.get(START)

    def wait(self, ms: int) -> None:
        NOW_MS.set(self.now + ms)

    async def policy(self, **fields: float) -> None:
        guard = FleetGuardPatch(**fields)  # type: ignore[arg-type]
        await self.one.policies.change_fleet(PolicyPatch(fleet_guard=guard), ORIGIN)

    async def evaluate(self, failing: int, connected: int) -> GuardState:
        """Evaluate once on every replica; return what the last one saw."""
        sums = FleetTotals(failing=failing, connected=connected, known=failing + connected)
        return [await replica.guard.evaluate(sums) for replica in self.replicas][-1]

    async def ask(self, seconds: int, per_s: int) -> int:
        """Have all replicas ask for permits; return how many were granted."""
        granted = 0
        for _ in range(seconds * 10):
            self.wait(100)
            for number in range(per_s // 10):
                granted += (await self.replicas[number % 3].guard.pace()).granted
        return granted

    async def step(self, failing: int, connected: int, *, per_s: int = 100) -> GuardState:
        """Let one step of the ramp pass in which permits are asked for; then evaluate."""
        await self.ask(5, per_s)
        return await self.evaluate(failing, connected)

    async def actions(self) -> list[str]:
        return [one.action for one in (await self.one.guard.history(100))[::-1]]

    async def fail(self, *names: str, times: int = 1) -> None:
        body = OutcomeBody(outcome="failure")
        for name in names:
            for _ in range(times):
                await self.one.breaker.report(name, body, Origin())

    async def permit(self, name: str, replica: int = 0) -> Admission:
        return await self.replicas[replica].permits.permit(name, Origin())


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as client:
        yield client


@pytest.fixture
async def fleet(client: redis.Redis, link: RedisLink) -> AsyncIterator[Fleet]:
    token = NOW_MS.set(START)
    yield Fleet(client, link)
    NOW_MS.reset(token)


# ------------------------------------------------------------------------------ when it opens


async def test_many_replicas_open_it_once_when_half_of_the_fleet_fails(fleet: Fleet) -> None:
    await fleet.fail(*(f"628{number}" for number in range(200)))
    sweeps = [(fleet.now + delay, one.sweep.once) for delay, one in enumerate(fleet.replicas)]
    await together(sweeps * 5)  # type: ignore[arg-type]

    guard = await fleet.one.guard.state()
    assert (guard.state, guard.cause, guard.rate_per_s) == (State.OPEN, "failures", 20)
    assert (guard.failing, guard.connected) == (200, 0)
    (trip,) = await fleet.one.guard.history(100)
    assert (trip.instance_id, trip.action, trip.before, trip.after) == (
        "*", "guard_trip", "closed", "open",
    )  # fmt: skip
    assert (trip.epoch, trip.cause, trip.rate_per_s) == (guard.epoch, "failures", 20)
    assert not any(one.guard.is_closed_hint() for one in fleet.replicas)


@pytest.mark.parametrize(
    ("failing", "connected", "state"),
    [
        pytest.param(99, 0, State.CLOSED, id="a small fleet, all of it"),
        pytest.param(100, 0, State.OPEN, id="just large enough"),
        pytest.param(999, 1_001, State.CLOSED, id="just below the share"),
        pytest.param(1_000, 1_000, State.OPEN, id="just the share"),
        pytest.param(0, 0, State.CLOSED, id="nobody there"),
    ],
)
async def test_it_opens_at_the_share_of_a_fleet_that_is_large_enough(
    fleet: Fleet, failing: int, connected: int, state: State
) -> None:
    assert (await fleet.evaluate(failing, connected)).state is state


async def test_idle_sessions_do_not_hide_an_outage(fleet: Fleet) -> None:
    sums = FleetTotals(known=200_000, failing=9_000, connected=1_000)
    assert (await fleet.one.guard.evaluate(sums)).state is State.OPEN


async def test_a_small_fleet_has_it_once_its_policy_says_so(fleet: Fleet) -> None:
    assert (await fleet.evaluate(10, 0)).state is State.CLOSED
    await fleet.policy(min_instances=10)
    assert (await fleet.evaluate(10, 0)).state is State.OPEN


async def test_it_can_be_switched_off_even_while_it_is_open(fleet: Fleet) -> None:
    await fleet.evaluate(500, 0)
    await fleet.policy(enabled=False)

    assert (await fleet.evaluate(500, 0)).state is State.CLOSED
    assert (await fleet.evaluate(500, 0)).state is State.CLOSED
    assert await fleet.actions() == ["guard_trip", "guard_recover"]


# ------------------------------------------------------------------------------- how it paces


async def test_all_replicas_together_keep_the_rate(fleet: Fleet) -> None:
    await fleet.evaluate(500, 0)

    granted = await fleet.ask(10, per_s=120)

    assert 10 * 20 <= granted <= 10 * 20 + 20  # the burst
    guard = await fleet.one.guard.state()
    assert (guard.granted, guard.refused) == (granted, 10 * 120 - granted)


async def test_while_it_is_closed_nothing_is_counted_or_refused(fleet: Fleet) -> None:
    assert await fleet.ask(5, per_s=300) == 1_500
    assert await fleet.one.guard.state() == GuardState()


async def test_the_refused_do_not_return_in_one_wave(fleet: Fleet) -> None:
    await fleet.evaluate(2_000, 0)
    answers = [await fleet.one.guard.pace() for _ in range(120)]

    waits = [one.retry_after_ms for one in answers if not one.granted]
    # 2,000 wait, and 20 a second are permitted: 4 of them ask for each.
    assert len(waits) == 100
    assert 12_500 <= min(waits) <= max(waits) <= 25_050
    assert max(waits) - min(waits) > 5_000


async def test_an_instance_that_must_wait_is_told_so_and_nothing_else_happens(fleet: Fleet) -> None:
    await fleet.fail("628")
    await fleet.one.guard.trip(None, ORIGIN)
    while (await fleet.one.guard.pace()).granted:
        pass

    answer = await fleet.permit("628")

    assert (answer.permitted, answer.cause, answer.state) == (False, "fleet", State.CLOSED)
    assert answer.failures == 1
    assert answer.retry_after_ms
    snapshot = (await fleet.one.breaker.status("628")).snapshot
    assert (snapshot.connection, snapshot.retry_attempts, snapshot.failures) == ("", 0, 1)


async def test_who_is_refused_anyway_takes_no_permit_of_the_fleet(fleet: Fleet) -> None:
    await fleet.fail("628", times=15)
    await fleet.one.breaker.disable("629", None, ORIGIN)
    await fleet.one.guard.trip(None, ORIGIN)

    assert (await fleet.permit("628")).cause == "failures"
    assert (await fleet.permit("629")).permitted
    assert (await fleet.one.guard.state()).granted == 0


async def test_a_probe_takes_a_permit_and_a_probe_without_a_slot_does_not(fleet: Fleet) -> None:
    await fleet.one.policies.change_fleet(PolicyPatch(probes=1), ORIGIN)
    await fleet.fail("628", times=15)
    await fleet.one.guard.trip(None, ORIGIN)
    fleet.wait(600_000)

    assert (await fleet.permit("628")).state is State.HALF_OPEN
    assert (await fleet.permit("628")).cause == "probing"
    assert (await fleet.one.guard.state()).granted == 1


async def test_the_wait_for_a_turn_counts_as_backoff(fleet: Fleet) -> None:
    await fleet.fail("628", "629", times=10)
    await fleet.one.guard.trip(None, ORIGIN)

    fleet.wait(5_000)
    assert 11_000 <= (await fleet.permit("628")).backoff_ms <= 15_000
    fleet.wait(15_000)
    assert (await fleet.permit("629")).backoff_ms == 0


# ----------------------------------------------------------------------------- how it recovers


async def test_it_recovers_in_a_ramp_and_closes_when_nobody_is_refused(fleet: Fleet) -> None:
    await fleet.evaluate(2_000, 0)
    rates = []
    connected = 0
    for _ in range(4):
        granted = await fleet.ask(5, per_s=400)
        connected += granted
        guard = await fleet.evaluate(2_000 - connected, connected)
        rates.append((guard.state, guard.rate_per_s))
    assert rates == [(State.HALF_OPEN, rate) for rate in (40, 80, 160, 320)]

    # Nobody is refused, but most still fail: their breakers are open.
    assert (await fleet.step(1_500, connected, per_s=10)).state is State.HALF_OPEN
    assert (await fleet.step(200, 1_800, per_s=10)).state is State.CLOSED
    assert await fleet.actions() == ["guard_trip", *["guard_ramp"] * 4, "guard_recover"]
    epochs = [one.epoch for one in (await fleet.one.guard.history(100))[::-1]]
    assert epochs == sorted(set(epochs))


async def test_a_step_is_judged_once_however_many_look(fleet: Fleet) -> None:
    await fleet.evaluate(2_000, 0)
    await fleet.ask(5, per_s=100)
    for _ in range(3):
        assert (await fleet.evaluate(1_880, 120)).rate_per_s == 40
    fleet.wait(4_999)
    assert (await fleet.evaluate(0, 2_000)).rate_per_s == 40


async def test_a_long_outage_does_not_look_like_a_recovery(fleet: Fleet) -> None:
    """Those who wait for a permit leave the window: then nobody fails, and nobody is connected."""
    await fleet.evaluate(2_000, 0)
    for minute in range(20):
        guard = await fleet.step(max(0, 2_000 - 200 * minute), 0)
        assert (guard.state, guard.rate_per_s) == (State.OPEN, 20)
        fleet.wait(55_000)
    assert await fleet.actions() == ["guard_trip"]


async def test_it_closes_in_the_end_if_nobody_asks_any_more(fleet: Fleet) -> None:
    await fleet.evaluate(2_000, 0)
    for _ in range(59):
        fleet.wait(5_000)
        assert (await fleet.evaluate(0, 0)).state is State.OPEN
    fleet.wait(5_000)  # a whole window
    assert (await fleet.evaluate(0, 0)).state is State.CLOSED


async def test_where_one_attempt_in_three_succeeds_more_are_made(fleet: Fleet) -> None:
    await fleet.evaluate(20_000, 0)
    connected, rates = 0, []
    for _ in range(4):
        connected += await fleet.ask(5, per_s=600) // 3
        rates.append((await fleet.evaluate(20_000, connected)).rate_per_s)
    assert rates == [40, 80, 160, 320]


async def test_more_than_whatsapp_takes_is_not_asked_for_long(fleet: Fleet) -> None:
    await fleet.evaluate(20_000, 0)
    connected, rates = 0, []
    for takes_per_s in [30] * 5 + [5] * 4:
        connected += min(await fleet.ask(5, per_s=200), 5 * takes_per_s)
        rates.append((await fleet.evaluate(20_000, connected)).rate_per_s)
    # A raise that brings nothing is the last one; where most attempts fail, it goes back.
    assert rates == [40, 80, 80, 80, 80, 40, 20, 20, 20]


async def test_a_second_outage_in_the_ramp_begins_anew(fleet: Fleet) -> None:
    await fleet.evaluate(2_000, 0)
    await fleet.step(1_880, 120)
    assert (await fleet.step(1_680, 320)).rate_per_s == 80

    guard = await fleet.step(1_990, 10, per_s=200)

    assert (guard.state, guard.rate_per_s, guard.cause) == (State.OPEN, 20, "failures")
    assert (await fleet.actions())[-1] == "guard_trip"


async def test_it_does_not_open_and_close_by_turns_at_the_threshold(fleet: Fleet) -> None:
    await fleet.evaluate(1_000, 1_000)
    await fleet.step(1_000, 1_130)  # the ramp
    for failing in (990, 1_000, 950, 1_010) * 3:
        await fleet.step(failing, 2_000 - failing, per_s=10)
    assert await fleet.actions() == ["guard_trip", "guard_ramp"]


# --------------------------------------------------------------------------------- an operator


async def test_an_operator_opens_it_beforehand_and_the_ramp_follows(fleet: Fleet) -> None:
    guard = await fleet.one.guard.trip(60_000, ORIGIN)
    assert (guard.state, guard.reason) == (State.FORCED_OPEN, ORIGIN.reason)
    for _ in range(11):
        guard = await fleet.step(0, 2_000, per_s=10)
        assert (guard.state, guard.rate_per_s) == (State.FORCED_OPEN, 20)

    assert (await fleet.step(0, 2_000, per_s=10)).state is State.HALF_OPEN
    assert (await fleet.step(0, 2_000, per_s=10)).state is State.CLOSED
    assert await fleet.actions() == ["guard_force_open", "guard_ramp", "guard_recover"]


async def test_a_reset_is_not_undone_by_the_failures_it_knew_of(fleet: Fleet) -> None:
    await fleet.evaluate(2_000, 0)
    guard = await fleet.one.guard.reset(ORIGIN)
    assert (guard.state, guard.until_ms) == (State.CLOSED, fleet.now + 300_000)
    assert fleet.one.guard.is_closed_hint()

    assert (await fleet.evaluate(2_000, 0)).state is State.CLOSED
    fleet.wait(299_999)
    assert (await fleet.evaluate(2_000, 0)).state is State.CLOSED
    fleet.wait(1)
    assert (await fleet.evaluate(2_000, 0)).state is State.OPEN


async def test_after_a_reset_and_a_recovery_the_next_outage_opens_it(fleet: Fleet) -> None:
    await fleet.evaluate(2_000, 0)
    await fleet.one.guard.reset(ORIGIN)
    await fleet.evaluate(700, 1_300)

    assert (await fleet.evaluate(1_500, 500)).state is State.OPEN
    assert await fleet.actions() == ["guard_trip", "guard_reset", "guard_trip"]
    entry = (await fleet.one.guard.history(2))[1]
    assert (entry.actor, entry.reason) == (ORIGIN.actor, ORIGIN.reason)


# --------------------------------------------------------------------------------- without Redis


async def test_a_replica_on_its_own_keeps_the_first_rate_if_it_was_open(
    redis_server: RedisServer, keyspace: Keyspace
) -> None:
    link = RedisLink(redis_server.url, timeout_ms=2_000)
    guard = Guard(Scripts(link, keyspace), Reads(link, keyspace))
    nowhere = RedisLink("redis://127.0.0.1:1/0", timeout_ms=200)
    await guard.evaluate(FleetTotals(failing=0, connected=0))
    guard._scripts = Scripts(nowhere, keyspace)
    assert (await guard.pace()).granted

    guard._scripts = Scripts(link, keyspace)
    assert (await guard.evaluate(FleetTotals(failing=500))).state is State.OPEN
    guard._scripts = Scripts(nowhere, keyspace)
    answers = [await guard.pace() for _ in range(60)]
    refused = [one for one in answers if not one.granted]
    assert answers[0].granted
    assert refused
    assert all(one.retry_after_ms > 1_000 and one.rate_per_s == 20 for one in refused)
    await link.close()
    await nowhere.close()
