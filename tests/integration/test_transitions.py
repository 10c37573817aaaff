"""The state machine, row by row, on the real scripts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import pytest
from msgspec import structs

from sekring.model import Admission, Snapshot, State, Verdict
from sekring.policy import PolicyPatch
from sekring.store.contract import (
    DisableRequest,
    OverrideRequest,
    PermitRequest,
    ReportRequest,
    ResetDone,
    ResetRequest,
    SettleRequest,
    SnapshotRequest,
    TotalsRequest,
    TripRequest,
)
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads, StoredPolicy
from sekring.store.scripts import Scripts
from sekring.taxonomy import EFFECTS, Kind
from tests.servers import RedisServer

ID: Final = "6281234567890"
START: Final = 1_700_000_000_000
SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
DAY: Final = 24 * 60 * MINUTE

CLOSED, OPEN, HALF_OPEN, FORCED, DISABLED = State


@dataclass
class Driver:
    """Does things to one instance, at times that the test decides."""

    scripts: Scripts
    reads: Reads
    clock: int = START
    reports: int = 0
    answer: Any = field(default=None)

    async def fail(
        self,
        kind: Kind = Kind.TIMEOUT,
        *,
        times: int = 1,
        report_id: str | None = None,
        **more: Any,
    ) -> Verdict:
        for _ in range(times):
            self.reports += 1
            self.answer = await self.scripts.report(
                ReportRequest(
                    instance_id=ID,
                    id=report_id or f"report-{self.reports}",
                    outcome="failure",
                    kind=kind,
                    effect=EFFECTS[kind],
                    random=0.0,
                    now_ms=self.clock,
                    **more,
                )
            )
        assert isinstance(self.answer, Verdict)
        return self.answer

    async def report(self, outcome: str, **more: Any) -> Verdict:
        self.reports += 1
        self.answer = await self.scripts.report(
            ReportRequest(
                instance_id=ID,
                id=f"report-{self.reports}",
                outcome=outcome,
                now_ms=self.clock,
                **more,
            )
        )
        assert isinstance(self.answer, Verdict)
        return self.answer

    async def permit(self) -> Admission:
        self.answer = await self.scripts.permit(PermitRequest(instance_id=ID, now_ms=self.clock))
        assert isinstance(self.answer, Admission)
        return self.answer

    async def reset(self, *, force: bool = False) -> ResetDone:
        self.answer = await self.scripts.reset(
            ResetRequest(instance_id=ID, force=force, now_ms=self.clock)
        )
        assert isinstance(self.answer, ResetDone)
        return self.answer

    async def trip(self, for_ms: int | None = None) -> None:
        self.answer = await self.scripts.trip(
            TripRequest(instance_id=ID, for_ms=for_ms, now_ms=self.clock)
        )

    async def disable(self, for_ms: int | None = None) -> None:
        self.answer = await self.scripts.disable(
            DisableRequest(instance_id=ID, for_ms=for_ms, now_ms=self.clock)
        )

    async def wait(self, ms: int) -> None:
        self.answer = None
        self.clock += ms

    async def settle(self) -> None:
        await self.scripts.settle(SettleRequest(instance_id=ID, now_ms=self.clock))

    async def policy(self, patch: PolicyPatch) -> None:
        version = (await self.reads.override(ID)).version
        stored = msgspec.json.encode(StoredPolicy(version + 1, patch)).decode()
        assert await self.scripts.set_override(
            OverrideRequest(instance_id=ID, policy=stored, version=version, now_ms=self.clock)
        )

    async def snapshot(self) -> Snapshot:
        reading = await self.scripts.snapshot(
            SnapshotRequest(instance_id=ID, with_failures=True, now_ms=self.clock)
        )
        return reading.snapshot

    async def actions(self) -> list[str]:
        """What happened to it, oldest first, changes of its policy left out."""
        entries = reversed(await self.reads.history(ID, 100))
        return [entry.action for entry in entries if entry.action != "policy"]


Doing = Callable[[Driver], Awaitable[object]]


def fail(kind: Kind = Kind.TIMEOUT, *, times: int = 1, **more: Any) -> Doing:
    return lambda driver: driver.fail(kind, times=times, **more)


def ban(ms: int) -> Doing:
    return fail(Kind.TEMPORARY_BAN, ban_ms=ms)


def succeed(driver: Driver) -> Awaitable[object]:
    return driver.report("success")


def disconnect(driver: Driver) -> Awaitable[object]:
    return driver.report("disconnected")


def permit(driver: Driver) -> Awaitable[object]:
    return driver.permit()


def reset(driver: Driver) -> Awaitable[object]:
    return driver.reset()


def force_reset(driver: Driver) -> Awaitable[object]:
    return driver.reset(force=True)


def trip(ms: int | None = None) -> Doing:
    return lambda driver: driver.trip(ms)


def disable(ms: int | None = None) -> Doing:
    return lambda driver: driver.disable(ms)


def wait(ms: int) -> Doing:
    return lambda driver: driver.wait(ms)


def policy(patch: PolicyPatch) -> Doing:
    return lambda driver: driver.policy(patch)


GROWS: Final = True


@dataclass(frozen=True)
class Row:
    """Something happens; this follows."""

    name: str
    happens: tuple[Doing, ...]
    after: State
    #: Of the last report.
    why: str | None = None
    #: The newest entry of the history, if there is a new one.
    action: str | None = None
    #: Whether the epoch grows.
    epoch: bool = False
    #: Of the last permit.
    permitted: bool | None = None


@dataclass(frozen=True)
class Section:
    """What may happen in one state, however that was come by."""

    name: str
    before: State
    given: tuple[Doing, ...]
    rows: tuple[Row, ...]


PROBING: Final = PolicyPatch(probes=1, stable_after_ms=10 * SECOND, probe_ttl_ms=30 * SECOND)
TWO_PROBES: Final = structs.replace(PROBING, probes=2)
COOLDOWN: Final = 10 * MINUTE
WINDOW: Final = 5 * MINUTE
PROVEN: Final = wait(10 * SECOND)
TRIPPED: Final = (fail(times=15),)
HOUR_OF_BAN: Final = (ban(60 * MINUTE),)
OUTDATED: Final = fail(Kind.CLIENT_OUTDATED, times=20)
LOGGED_OUT: Final = fail(Kind.LOGGED_OUT)
OLD_BAN: Final = fail(Kind.TEMPORARY_BAN, ban_ms=SECOND, age_ms=2 * SECOND)

TRANSITIONS: Final = [
    Section(
        "closed",
        CLOSED,
        (),
        (
            Row("a permit", (permit,), CLOSED, permitted=True),
            Row("a failure", (fail(),), CLOSED, "counted"),
            Row("a success", (succeed,), CLOSED, "success"),
            Row("disconnected", (succeed, disconnect), CLOSED, "disconnected"),
            Row(
                "an outdated client, 20 times",
                (OUTDATED,),
                CLOSED,
                "build",
            ),
            Row("pairing failed, 20 times", (fail(Kind.PAIRING, times=20),), CLOSED, "ignored"),
            Row("logged out", (LOGGED_OUT,), OPEN, "permanent", "permanent", GROWS),
            Row("locked", (fail(Kind.LOCKED),), OPEN, "permanent", "permanent", GROWS),
            Row("banned for good", (fail(Kind.BANNED),), OPEN, "permanent", "permanent", GROWS),
            Row("banned for a while", (ban(MINUTE),), OPEN, "ban", "ban", GROWS),
            Row("banned until a second ago", (OLD_BAN,), CLOSED, "ban"),
            Row("a conflict", (fail(Kind.CONFLICT),), OPEN, "conflict", "conflict", GROWS),
            Row("an operator opens", (trip(),), FORCED, None, "force_open", GROWS),
            Row("an operator disables", (disable(),), DISABLED, None, "disable"),
        ),
    ),
    Section(
        "closed, 14 failures",
        CLOSED,
        (fail(times=14),),
        (
            Row("the 15th", (fail(),), OPEN, "counted", "trip", GROWS),
            Row(
                "the 15th, just in time", (wait(WINDOW - 1), fail()), OPEN, "counted", "trip", GROWS
            ),
            Row("the 15th, too late", (wait(WINDOW), fail()), CLOSED, "counted"),
            Row("one older than the window", (fail(age_ms=WINDOW),), CLOSED, "stale"),
            Row("a success", (succeed, fail()), OPEN, "counted", "trip", GROWS),
            Row("a reset", (reset, fail()), CLOSED, "counted", "reset", GROWS),
        ),
    ),
    Section(
        "open",
        OPEN,
        TRIPPED,
        (
            Row("a permit", (permit,), OPEN, permitted=False),
            Row("a failure", (fail(),), OPEN, "open"),
            Row("a success", (succeed,), OPEN, "success"),
            Row("just before the cooldown's end", (wait(COOLDOWN - 1),), OPEN),
            Row("the cooldown's end", (wait(COOLDOWN),), CLOSED, None, "recover", GROWS),
            Row("a reset", (reset,), CLOSED, None, "reset", GROWS),
            Row("a longer ban", (ban(60 * MINUTE),), OPEN, "ban", "ban", GROWS),
            Row("logged out", (LOGGED_OUT,), OPEN, "permanent", "permanent", GROWS),
            Row("a conflict", (fail(Kind.CONFLICT),), OPEN, "conflict"),
            Row("an operator opens", (trip(),), FORCED, None, "force_open", GROWS),
            Row("an operator disables", (disable(),), DISABLED, None, "disable"),
        ),
    ),
    Section(
        "open, with probes to come",
        OPEN,
        (policy(PROBING), *TRIPPED),
        (Row("the cooldown's end", (wait(COOLDOWN),), HALF_OPEN, None, "half_open", GROWS),),
    ),
    Section(
        "logged out",
        OPEN,
        (LOGGED_OUT,),
        (
            Row("a permit", (permit,), OPEN, permitted=False),
            Row("a month", (wait(30 * DAY),), OPEN),
            Row("paired anew", (succeed,), CLOSED, "success", "close"),
            Row("paired anew, but banned", (ban(MINUTE), succeed), OPEN, "success", "ban", GROWS),
            Row("a ban", (ban(MINUTE),), OPEN, "ban"),
            Row("a conflict", (fail(Kind.CONFLICT),), OPEN, "conflict"),
            Row("a reset", (reset,), CLOSED, None, "reset", GROWS),
        ),
    ),
    Section(
        "banned for good",
        OPEN,
        (fail(Kind.BANNED),),
        (
            Row("a reset", (reset,), OPEN),
            Row("a reset by force", (force_reset,), CLOSED, None, "reset", GROWS),
            Row("logged out as well, and a reset", (LOGGED_OUT, reset), OPEN),
        ),
    ),
    Section(
        "banned for an hour",
        OPEN,
        HOUR_OF_BAN,
        (
            Row("a reset", (reset,), OPEN),
            Row("a reset by force", (force_reset,), CLOSED, None, "reset", GROWS),
            Row("a success", (succeed,), OPEN, "success"),
            Row("a shorter ban", (ban(MINUTE), wait(30 * MINUTE)), OPEN, None, "ban", GROWS),
            Row("its end", (wait(60 * MINUTE),), CLOSED, None, "recover", GROWS),
            Row("a trip that ends before", (trip(MINUTE), wait(MINUTE)), OPEN, None, "ban", GROWS),
        ),
    ),
    Section(
        "half-open, one probe",
        HALF_OPEN,
        (policy(PROBING), *TRIPPED, wait(COOLDOWN)),
        (
            Row("a permit", (permit,), HALF_OPEN, permitted=True),
            Row("a permit too many", (permit, permit), HALF_OPEN, permitted=False),
            Row("a failure", (permit, fail()), OPEN, "counted", "reopen", GROWS),
            Row("a success, not proven yet", (permit, succeed), HALF_OPEN, "success"),
            Row("a success, proven", (permit, succeed, PROVEN), CLOSED, None, "close"),
            Row("a success that does not last", (permit, succeed, disconnect, PROVEN), HALF_OPEN),
            Row("pairing failed", (permit, fail(Kind.PAIRING)), HALF_OPEN, "ignored"),
            Row("logged out", (LOGGED_OUT,), OPEN, "permanent", "permanent", GROWS),
            Row("a conflict", (fail(Kind.CONFLICT),), OPEN, "conflict", "conflict", GROWS),
            Row("a ban", (ban(MINUTE),), OPEN, "ban", "ban", GROWS),
            Row("a reset", (reset,), CLOSED, None, "reset", GROWS),
            Row("an operator opens", (trip(),), FORCED, None, "force_open", GROWS),
            Row("an operator disables", (disable(),), DISABLED, None, "disable"),
            Row("a policy without probes", (policy(PolicyPatch(probes=0)),), CLOSED, None, "close"),
            Row("a day of silence", (wait(DAY),), CLOSED),
        ),
    ),
    Section(
        "half-open, two probes",
        HALF_OPEN,
        (policy(TWO_PROBES), *TRIPPED, wait(COOLDOWN)),
        (
            Row("one proven", (permit, succeed, PROVEN), HALF_OPEN),
            Row("both proven", (permit, permit, succeed, succeed, PROVEN), CLOSED, None, "close"),
            Row(
                "one proven, one failed",
                (permit, succeed, PROVEN, fail()),
                OPEN,
                "counted",
                "reopen",
                GROWS,
            ),
        ),
    ),
    Section(
        "forced open",
        FORCED,
        (trip(),),
        (
            Row("a permit", (permit,), FORCED, permitted=False),
            Row("a failure", (fail(),), FORCED, "open"),
            Row("a ban", (ban(MINUTE),), FORCED, "ban"),
            Row("logged out", (LOGGED_OUT,), FORCED, "permanent"),
            Row("a month", (wait(30 * DAY),), FORCED),
            Row("a reset", (reset,), CLOSED, None, "reset", GROWS),
            Row("an operator disables", (disable(),), DISABLED, None, "disable"),
        ),
    ),
    Section(
        "forced open, at its end",
        FORCED,
        (trip(MINUTE),),
        (
            Row("nothing else", (wait(MINUTE),), CLOSED, None, "recover", GROWS),
            Row(
                "its end, with probes",
                (policy(PROBING), wait(MINUTE)),
                HALF_OPEN,
                None,
                "half_open",
                GROWS,
            ),
            Row(
                "logged out",
                (LOGGED_OUT, wait(MINUTE)),
                OPEN,
                None,
                "permanent",
                GROWS,
            ),
        ),
    ),
    Section(
        "disabled",
        DISABLED,
        (disable(),),
        (
            Row("a permit", (permit,), DISABLED, permitted=True),
            Row("20 failures", (fail(times=20),), DISABLED, "counted"),
            Row("logged out", (LOGGED_OUT, permit), DISABLED, permitted=True),
            Row("a month", (wait(30 * DAY),), DISABLED),
            Row("a reset", (reset,), CLOSED, None, "reset", GROWS),
            Row("an operator opens", (trip(),), FORCED, None, "force_open", GROWS),
        ),
    ),
    Section(
        "disabled, at its end",
        DISABLED,
        (disable(MINUTE),),
        (
            Row("nothing else", (wait(MINUTE),), CLOSED, None, "enable"),
            Row("banned", (*HOUR_OF_BAN, wait(MINUTE)), OPEN, None, "ban", GROWS),
            Row(
                "logged out",
                (LOGGED_OUT, wait(MINUTE)),
                OPEN,
                None,
                "permanent",
                GROWS,
            ),
            Row(
                "paired anew",
                (LOGGED_OUT, succeed, wait(MINUTE)),
                CLOSED,
                None,
                "enable",
            ),
        ),
    ),
]


@pytest.fixture
def driver(scripts: Scripts, reads: Reads) -> Driver:
    return Driver(scripts, reads)


@pytest.mark.parametrize(
    ("section", "row"),
    [
        pytest.param(section, row, id=f"{section.name}: {row.name}")
        for section in TRANSITIONS
        for row in section.rows
    ],
)
async def test_the_table_of_transitions(driver: Driver, section: Section, row: Row) -> None:
    for doing in section.given:
        await doing(driver)
    await driver.settle()
    before, actions = await driver.snapshot(), await driver.actions()
    assert before.state is section.before

    for doing in row.happens:
        await doing(driver)

    after = await driver.snapshot()
    assert after.state is row.after
    assert (after.epoch > before.epoch) == row.epoch
    if row.why is not None:
        assert driver.answer.why == row.why
        assert driver.answer.counted == (row.why == "counted")
        # A report says that it was this one which opened; a success never is.
        assert driver.answer.tripped == (after.state is OPEN and row.epoch and row.why != "success")
    if row.permitted is not None:
        assert driver.answer.permitted is row.permitted
    await driver.settle()
    assert replace_clock(await driver.snapshot()) == replace_clock(after), "settling changed it"
    new = (await driver.actions())[len(actions) :]
    assert new[-1:] == ([row.action] if row.action else [])


def replace_clock(snapshot: Snapshot) -> Snapshot:
    return structs.replace(snapshot, now_ms=0)


async def test_fifteen_failures_open_once_and_more_change_nothing(driver: Driver) -> None:
    verdicts = [await driver.fail() for _ in range(40)]

    assert [verdict.tripped for verdict in verdicts].index(True) == 14
    assert sum(verdict.tripped for verdict in verdicts) == 1
    assert await driver.actions() == ["trip"]


async def test_a_storm_while_open_changes_only_what_it_suppresses(
    driver: Driver, redis_server: RedisServer
) -> None:
    await driver.fail(times=15)
    await driver.fail(times=64)  # the first ones are on record, for previews
    opened = await driver.snapshot()
    with redis_server.client() as client:
        # The record itself holds the number.
        keys = sorted(key for key in client.scan_iter() if b":instance:" not in key)
        before = [client.dump(key) for key in keys]
        await driver.wait(MINUTE)
        await driver.fail(times=1_000)
        assert sorted(key for key in client.scan_iter() if b":instance:" not in key) == keys
        assert [client.dump(key) for key in keys] == before

    after = await driver.snapshot()
    assert after.suppressed == 1_064
    assert after.resets_at_ms == opened.resets_at_ms == START + COOLDOWN
    assert after.epoch == opened.epoch


async def test_failures_of_one_millisecond_all_count(driver: Driver) -> None:
    await driver.fail(times=10)

    snapshot = await driver.snapshot()
    assert snapshot.failures == 10
    assert {failure.at_ms for failure in snapshot.recent_failures} == {START}


@pytest.mark.parametrize("ended_by", ["nothing", "a trip", "a reset"])
async def test_a_repeated_report_stays_a_duplicate_for_a_window(
    driver: Driver, ended_by: str
) -> None:
    await driver.fail(report_id="the-one")
    if ended_by == "a trip":
        await driver.fail(times=14)
    elif ended_by == "a reset":
        await driver.reset()
    epoch = (await driver.snapshot()).epoch

    await driver.wait(5 * MINUTE - 1)
    assert (await driver.fail(report_id="the-one", epoch=epoch)).why == "duplicate"
    await driver.wait(1)
    again = await driver.fail(report_id="the-one", epoch=epoch)
    assert again.why == ("open" if ended_by == "a trip" else "counted")


async def test_a_repeated_report_does_not_end_the_connection_that_came_after_it(
    driver: Driver,
) -> None:
    await driver.permit()
    await driver.fail(report_id="the-one")
    await driver.permit()

    assert (await driver.fail(report_id="the-one")).why == "duplicate"
    assert (await driver.snapshot()).connection == "connecting"


async def test_a_report_that_comes_late_does_not_end_a_newer_connection(driver: Driver) -> None:
    await driver.wait(MINUTE)
    await driver.report("success")
    await driver.wait(SECOND)

    assert (await driver.fail(age_ms=10 * SECOND)).why == "counted"
    assert (await driver.snapshot()).connection == "connected"
    assert (await driver.fail()).why == "counted"
    assert (await driver.snapshot()).connection == ""


async def test_a_report_under_an_older_epoch_changes_nothing_and_says_so(driver: Driver) -> None:
    await driver.permit()
    before_epoch = (await driver.snapshot()).epoch
    await driver.reset()
    before = await driver.snapshot()

    await driver.wait(SECOND)
    verdict = await driver.fail(epoch=before_epoch)

    assert (verdict.why, verdict.counted, verdict.epoch) == ("late", False, before.epoch)
    assert replace_clock(await driver.snapshot()) == replace_clock(before)


async def test_a_report_under_a_higher_epoch_counts_as_the_state_was_lost(driver: Driver) -> None:
    assert (await driver.fail(epoch=START + DAY)).why == "counted"


async def test_a_clock_that_steps_back_does_not_undo_or_prolong(driver: Driver) -> None:
    await driver.fail(times=15)

    await driver.wait(-MINUTE)
    stepped_back = await driver.snapshot()
    assert stepped_back.now_ms == START
    assert stepped_back.remaining_ms == COOLDOWN
    assert (await driver.fail()).why == "open"
    await driver.wait(MINUTE + COOLDOWN)
    assert (await driver.permit()).permitted
    await driver.wait(-MINUTE)
    assert (await driver.snapshot()).state is CLOSED


async def test_an_instance_that_was_never_seen_is_closed_and_reading_does_not_make_it_known(
    driver: Driver, redis_server: RedisServer
) -> None:
    snapshot = await driver.snapshot()
    assert (snapshot.known, snapshot.state, snapshot.failures) == (False, CLOSED, 0)
    assert not (await driver.reset()).known

    with redis_server.client() as client:
        assert client.dbsize() == 0


async def test_a_day_of_silence_forgets_an_instance(driver: Driver, keyspace: Keyspace) -> None:
    await driver.fail(times=3)
    partition = keyspace.partition_of(ID)

    await driver.wait(DAY)
    assert not (await driver.snapshot()).known
    await driver.settle()
    assert await driver.reads.page(partition, "all", None, 10) == []
    totals = await driver.scripts.totals(partition, TotalsRequest(limit=10, now_ms=driver.clock))
    assert (totals.known, totals.failures, totals.due) == (0, 0, ())


@pytest.mark.parametrize("seen_by", ["a sweep", "its next use"])
async def test_what_the_index_keeps_of_a_lost_record_is_mended(
    driver: Driver, keyspace: Keyspace, redis_server: RedisServer, seen_by: str
) -> None:
    await driver.fail(times=15)
    record, failures, *_ = keyspace.whole(ID)
    with redis_server.client() as client:
        client.delete(record)
        assert client.exists(failures)

    snapshot = await driver.snapshot()
    assert (snapshot.known, snapshot.state, snapshot.recent_failures) == (False, CLOSED, ())

    partition = keyspace.partition_of(ID)
    if seen_by == "a sweep":
        await driver.settle()
        listed: list[str] = []
    else:
        # What was counted before is not counted on.
        assert (await driver.fail()).failures == 1
        assert (await driver.snapshot()).failures == 1
        listed = [ID]
    assert await driver.reads.page(partition, "open", None, 10) == []
    assert await driver.reads.page(partition, "all", None, 10) == listed
    totals = await driver.scripts.totals(partition, TotalsRequest(limit=10, now_ms=driver.clock))
    assert (totals.open, totals.known) == (0, len(listed))


async def test_lost_failures_do_not_stay_in_the_count(
    driver: Driver, keyspace: Keyspace, redis_server: RedisServer
) -> None:
    await driver.fail(times=5)
    with redis_server.client() as client:
        client.delete(keyspace.failures(ID))

    await driver.wait(5 * MINUTE)
    assert (await driver.fail()).failures == 1


async def test_each_transition_is_recorded_with_its_time_and_what_was_before(
    driver: Driver,
) -> None:
    await driver.fail(times=15)
    await driver.wait(DAY - 1)
    await driver.settle()

    recovered, tripped = await driver.reads.history(ID, 10)
    assert (tripped.action, tripped.before, tripped.after, tripped.cause) == (
        "trip",
        "closed",
        "open",
        "failures",
    )
    assert (recovered.action, recovered.before, recovered.after) == ("recover", "open", "closed")
    # By its own time, however late somebody looked.
    assert (tripped.at_ms, recovered.at_ms) == (START, START + COOLDOWN)
    assert recovered.source == "clock"
