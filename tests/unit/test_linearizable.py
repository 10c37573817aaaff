"""The checker accepts what some order explains, and nothing else."""

import random
from dataclasses import replace
from typing import Any

import pytest

from sekring.local.instance import Instance
from sekring.policy import Backoff, Policy
from sekring.taxonomy import Kind
from tests.linearizable import (
    Ask,
    Operation,
    Permit,
    Read,
    Refuted,
    Report,
    Reset,
    answer,
    linearize,
)

POLICY = Policy(failure_threshold=3, backoff=Backoff(jitter=0))

#: A call and when it was made and answered; each takes effect in its turn.
Timed = tuple[Ask, float, float]


def done(*asks: Ask | Timed) -> list[Operation]:
    """Let the reference do things in this order; without times, each is over before the next."""
    instance, history = Instance("628", POLICY), []
    for turn, timed in enumerate(asks):
        ask, called, returned = timed if isinstance(timed, tuple) else (timed, turn, turn + 0.5)
        # Epochs are times, as the service's are.
        found = answer(instance, ask, clock=1_700_000_000_000 + 10 * turn, token=f"{turn:08}")
        history.append(Operation(called, returned, ask, found))
    return history


def holds(history: list[Operation]) -> bool:
    return not isinstance(linearize(history, POLICY), Refuted)


def changed(history: list[Operation], place: int, **answers: Any) -> list[Operation]:
    """Return the history with one answer falsified."""
    one = history[place]
    assert set(answers) <= set(one.answer), "no field of this answer"
    assert {name: one.answer[name] for name in answers} != answers, "that changes nothing"
    falsified = replace(one, answer={**one.answer, **answers})
    return [*history[:place], falsified, *history[place + 1 :]]


def swapped(history: list[Operation], one: int, other: int) -> list[Operation]:
    """Return the history with two answers exchanged."""
    assert history[one].answer != history[other].answer
    new = list(history)
    new[one] = replace(history[one], answer=history[other].answer)
    new[other] = replace(history[other], answer=history[one].answer)
    return new


TRIP = (Report("a"), Report("b"), Report("c"))


def test_what_happened_in_turn_holds() -> None:
    assert holds(done())
    assert holds(done(Read(), Permit(), *TRIP, Permit(), Report("d"), Reset(), Permit(), Read()))


def test_what_overlaps_may_be_in_either_order() -> None:
    first, second = (Report("a"), 0.0, 2.0), (Report("b"), 1.0, 3.0)
    history = done(first, second)
    assert holds(history)
    assert holds(swapped(history, 0, 1))


def test_what_was_over_before_stays_before() -> None:
    history = done(Report("a"), Report("b"))
    assert not holds(swapped(history, 0, 1))


def test_a_dropped_count_is_found() -> None:
    history = done(Report("a"), Report("b"), Read())
    assert not holds(changed(history, 1, failures=1))
    assert not holds(changed(history, 2, failures=1))
    overlapping = done((Report("a"), 0, 9), (Report("b"), 0, 9), (Read(), 10, 11))
    assert not holds(changed(overlapping, 1, failures=1)), "one counted, the other was lost"


def test_a_second_trip_is_found() -> None:
    history = done(*((Report(name), 0.0, 9.0) for name in "abcd"))
    assert [one.answer["tripped"] for one in history] == [False, False, True, False]
    trip = history[2].answer
    assert not holds([*history[:3], replace(history[3], answer=trip)])


def test_a_trip_that_nobody_made_is_found() -> None:
    assert not holds(changed(done(Report("a"), Report("b")), 1, tripped=True, state="open"))


def test_a_permit_after_a_trip_was_acknowledged_is_found() -> None:
    before = done(Report("a"), Report("b"), Permit()).pop().answer
    trip = done(*TRIP)
    late = [*trip, Operation(3, 4, Permit(), before)]
    assert not holds(late)
    overlapping = [*trip, Operation(2.1, 4, Permit(), before)]
    assert holds(overlapping)


def test_a_reset_without_effect_is_found() -> None:
    history = done(*TRIP, Permit(), Reset(), Permit())
    assert holds(history)
    refused = history[3].answer
    assert not holds([*history[:5], replace(history[5], answer=refused)])


def test_a_reset_of_what_was_not_open_is_found() -> None:
    assert not holds(changed(done(Report("a"), Reset()), 1, was="open"))


def test_a_repeated_report_that_counts_is_found() -> None:
    history = done(Report("a"), Report("a"), Report("b"))
    assert history[1].answer["why"] == "duplicate"
    assert not holds(changed(history, 1, why="counted", counted=True))
    assert not holds(changed(history, 2, failures=3))


def test_a_report_of_an_older_epoch_that_counts_is_found() -> None:
    old = done(Permit())[0].answer["epoch"]
    history = done(Permit(), Report("a"), Reset(), Report("late", epoch=old))
    assert history[3].answer["why"] == "late"
    assert holds(history)
    assert not holds(changed(history, 3, why="counted", counted=True, failures=1))


def test_an_epoch_that_stands_still_or_goes_back_is_found() -> None:
    history = done(Report("a"), Reset(), Report("b"), Reset(), Read())
    first, second = history[1].answer["epoch"], history[3].answer["epoch"]
    assert 0 < first < second
    assert not holds(changed(history, 3, epoch=first))
    assert not holds(changed(history, 4, epoch=first))
    backwards = changed(changed(history, 1, epoch=second), 3, epoch=first)
    assert not holds(backwards)


def test_an_attempt_that_was_not_registered_is_found() -> None:
    history = done(Permit(), Permit(), Read())
    assert history[2].answer["retry_attempts"] == 1
    assert not holds(changed(history, 2, retry_attempts=0))


def test_a_refutation_shows_how_far_an_order_came() -> None:
    refuted = linearize(changed(done(Report("a"), Report("b"), Read()), 2, failures=1), POLICY)
    assert isinstance(refuted, Refuted)
    assert [type(one.ask) for one in refuted.done] == [Report, Report]
    ((stuck, expected),) = refuted.stuck
    assert (stuck.ask, stuck.answer["failures"], expected["failures"]) == (Read(), 1, 2)
    assert "by now it would be" in str(refuted)


# ----------------------------------------------------------------------------------- at random


def random_history(seed: int, *, overlap: float = 4, length: int = 40) -> list[Operation]:
    """Return what up to twice `overlap` clients at a time may have seen."""
    chance = random.Random(seed)
    ids = [f"r{number}" for number in range(4 * POLICY.failure_threshold)]
    timed: list[Ask | Timed] = []
    for turn in range(length):
        asks: list[Ask] = [
            Permit(),
            Report(chance.choice(ids)),
            Report(chance.choice(ids)),
            Report(chance.choice(ids), kind=Kind.UNKNOWN),
            Report("success", "success"),
            Report("over", "disconnected"),
            Reset(),
            Read(),
        ]
        called, returned = turn - chance.uniform(0, overlap), turn + chance.uniform(0, overlap)
        timed.append((chance.choice(asks), called, returned))
    return done(*timed, (Read(), length + overlap, length + 2 * overlap))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_reference_did_concurrently_holds(seed: int) -> None:
    history = random_history(seed)
    order = linearize(history, POLICY)
    assert not isinstance(order, Refuted), str(order)
    assert len(order) == len(history)


@pytest.mark.parametrize("seed", range(20))
def test_a_falsified_count_never_holds(seed: int) -> None:
    """However much overlaps: a failure more than all that were ever reported."""
    history = random_history(seed)
    place = random.Random(seed).choice(
        [place for place, one in enumerate(history) if "failures" in one.answer]
    )
    assert not holds(changed(history, place, failures=POLICY.failure_threshold + 1))


@pytest.mark.parametrize("seed", range(20))
def test_a_lost_trip_never_holds(seed: int) -> None:
    """Where nothing overlaps, every later answer knows of it."""
    history = random_history(seed, overlap=0.4)
    trips = [one for one in history if one.answer.get("tripped")]
    for trip in trips:
        assert not holds([one for one in history if one is not trip])
