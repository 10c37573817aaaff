"""The view and the decisions of the Python client: what goes before what."""

import time

import pytest

from sekring.client.decisions import Decisions
from sekring.client.follower import _Clock
from sekring.client.record import Facts, Record
from sekring.client.view import View
from sekring.model import State, Transition
from sekring.taxonomy import Kind
from sekring.wire import AliveNotice, BatchResult, OutcomeBody

#: Redis' clock when everything was known.
NOW = 1_800_000_000_000

OPEN = Facts(State.OPEN, NOW - 1_000, "failures", "", NOW + 600_000)


@pytest.fixture
def view() -> View:
    view = View(staleness_s=60)
    view.prove(time.monotonic(), NOW)
    return view


@pytest.fixture
def decisions(view: View) -> Decisions:
    return Decisions(view, lambda _: None)


def transition(action: str, after: State, epoch: int) -> Transition:
    return Transition(
        id="0-1-0", instance_id="s", at_ms=epoch, action=action, after=after, epoch=epoch
    )


def verdict(state: State, failures: int, epoch: int) -> BatchResult:
    return BatchResult(
        instance_id="s",
        state=state,
        failures=failures,
        epoch=epoch,
        retry_attempts=failures - 1,
        retry_after_ms=5_000,
    )


def fail(decisions: Decisions, record: Record, number: int) -> None:
    decisions.report(record, OutcomeBody(outcome="failure", kind=Kind.DNS, id=f"r-{number}"))


def test_an_attempt_carries_the_time_up_to_which_everything_is_known(
    view: View, decisions: Decisions
) -> None:
    admission = decisions.admit(view.record("s"), alone=False)

    assert admission
    assert admission.attempt_id
    assert int(admission.attempt_id.partition("-")[0], 16) == NOW


def test_an_attempt_carries_the_instances_own_epoch_if_that_is_later(
    view: View, decisions: Decisions
) -> None:
    view.apply(transition("reset", State.CLOSED, NOW + 5_000))

    admission = decisions.admit(view.record("s"), alone=False)

    assert admission
    assert admission.attempt_id
    assert int(admission.attempt_id.partition("-")[0], 16) == NOW + 5_000


def test_an_old_view_decides_nothing(decisions: Decisions, view: View) -> None:
    view.load({"s": OPEN})
    view.prove(time.monotonic() - 61, NOW)

    assert decisions.admit(view.record("s"), alone=False) is None
    assert decisions.permitted(view.record("s"), alone=False) is None
    assert decisions.permitted(view.record("s"), alone=True) is False


def test_what_comes_late_changes_nothing(view: View) -> None:
    view.load({"s": OPEN})
    view.apply(transition("reset", State.CLOSED, OPEN.epoch - 1))
    assert view.record("s").facts == OPEN

    view.apply(transition("reset", State.CLOSED, OPEN.epoch + 1))
    view.load({"s": OPEN})
    assert view.record("s").plain


def test_an_open_state_ends_by_itself_and_then_the_service_is_asked(
    view: View, decisions: Decisions
) -> None:
    view.load({"s": Facts(State.OPEN, NOW - 1_000, "failures", "", NOW - 1)})

    assert decisions.admit(view.record("s"), alone=False) is None
    alone = decisions.admit(view.record("s"), alone=True)
    assert alone
    assert (alone.permitted, alone.degraded) == (True, True)


def test_what_is_listed_no_more_is_closed(view: View) -> None:
    view.load({"s": OPEN})
    view.load({})

    assert view.record("s").plain


def test_half_open_is_the_services_to_decide(view: View, decisions: Decisions) -> None:
    view.load({"s": Facts(State.HALF_OPEN, NOW - 1_000)})

    assert decisions.admit(view.record("s"), alone=False) is None


def test_an_operators_state_without_end_is_refused_until_a_person_acts(
    view: View, decisions: Decisions
) -> None:
    view.load({"s": Facts(State.FORCED_OPEN, NOW - 1_000, "operator", "a new SIM")})

    admission = decisions.admit(view.record("s"), alone=False)

    assert admission
    assert (admission.permitted, admission.retry_after_ms) == (False, None)
    assert (admission.cause, admission.reason) == ("operator", "a new SIM")


def test_failures_of_its_own_pace_it_before_the_service_has_answered(
    view: View, decisions: Decisions
) -> None:
    record = view.record("s")
    fail(decisions, record, 1)

    admission = decisions.admit(record, alone=False)

    assert not record.plain
    assert admission
    assert 800 <= admission.backoff_ms <= 1_000


def test_the_threshold_that_it_has_seen_reached_refuses_at_once(
    view: View, decisions: Decisions
) -> None:
    record = view.record("s")
    for number in range(15):
        fail(decisions, record, number)

    admission = decisions.admit(record, alone=False)

    assert admission
    assert (admission.permitted, admission.cause) == (False, "failures")


def test_the_services_count_goes_before_its_own(view: View, decisions: Decisions) -> None:
    record = view.record("s")
    fail(decisions, record, 1)
    decisions.learn(record, verdict(State.CLOSED, 13, NOW))
    fail(decisions, record, 2)
    assert (found := decisions.admit(record, alone=False))
    assert (found.permitted, found.failures) == (True, 14)
    fail(decisions, record, 3)

    admission = decisions.admit(record, alone=False)

    assert admission
    assert not admission.permitted
    decisions.learn(record, verdict(State.CLOSED, 0, NOW + 1))
    assert record.plain


def test_a_verdict_waits_for_those_on_their_way(view: View, decisions: Decisions) -> None:
    record = view.record("s")
    fail(decisions, record, 1)
    fail(decisions, record, 2)
    record.unsent = 1
    decisions.learn(record, verdict(State.CLOSED, 1, NOW))

    admission = decisions.admit(record, alone=False)

    assert admission
    assert admission.failures == 2


def test_a_trip_that_a_verdict_tells_is_gone_by_at_once(view: View, decisions: Decisions) -> None:
    record = view.record("s")
    fail(decisions, record, 1)
    decisions.learn(record, verdict(State.OPEN, 15, NOW + 1))

    admission = decisions.admit(record, alone=False)

    assert admission
    assert (admission.permitted, admission.cause) == (False, "failures")
    assert 4_000 <= (admission.retry_after_ms or 0) <= 5_000


def test_while_it_decides_alone_what_it_has_recovered_keeps_its_epoch(
    view: View, decisions: Decisions
) -> None:
    view.set_alone(alone=True)
    over = Facts(State.OPEN, NOW - 60_000, "failures", "", NOW - 1)
    view.load({"s": over})

    for _ in range(2):
        admission = decisions.admit(view.record("s"), alone=True)
        assert admission
        assert admission.attempt_id
        assert int(admission.attempt_id.partition("-")[0], 16) >= over.until_ms
    assert view.record("s").epoch == over.epoch, "only the service's epochs are known ones"


# ------------------------------------------------------------------------------------- proof


def notice(since_ms: int, sent_ms: int, proven_ms: int) -> AliveNotice:
    return AliveNotice(
        keyspace="k", since_ms=since_ms, sent_ms=sent_ms, proven_ms=proven_ms, redis_ms=NOW
    )


def test_a_proof_is_never_taken_for_younger_than_it_is() -> None:
    """The stream began after it was asked for, at 1,000 there."""
    asked_s = time.monotonic() - 50
    clock = _Clock(asked_s)

    assert clock.here(notice(1_000, 1_500, 1_400)) == pytest.approx(asked_s + 0.4)
    # Whenever a message comes here, what it proves is as old as it was there.
    assert clock.here(notice(1_000, 12_000, 11_500)) == pytest.approx(asked_s + 10.5)


def test_a_clock_that_runs_fast_there_is_not_believed() -> None:
    clock = _Clock(time.monotonic())

    assert clock.here(notice(1_000, 9_000, 9_000)) <= time.monotonic()
