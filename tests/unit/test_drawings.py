"""The drawings on an instance's page, by their geometry."""

import pytest

from sekring.console.statemachine import HEIGHT, WIDTH, Arrow, Box, Machine
from sekring.console.window import SHAPES, Window
from sekring.model import Failure, Snapshot, State
from sekring.policy import Policy
from sekring.taxonomy import COUNTED_KINDS

NOW = 1_800_000_000_000


def on_edge(x: float, y: float, box: Box, gap: float) -> bool:
    """Tell whether a point is on a box's edge, or at most `gap` outside it."""
    beside = max(box.x - x, x - box.x - box.width, box.y - y, y - box.y - box.height)
    return -0.2 <= beside <= gap


@pytest.mark.parametrize("now", State)
@pytest.mark.parametrize("came_from", [None, *State])
def test_arrows_lead_from_box_to_box(now: State, came_from: State | None) -> None:
    machine = Machine.of(now, came_from, Policy())
    boxes = {box.state: box for box in machine.boxes}
    assert [box.state for box in machine.boxes if box.now] == [now]
    assert set(boxes) == set(State)
    for box in machine.boxes:
        assert box.x >= 3
        assert box.x + box.width + 3 <= WIDTH
        assert box.y >= 3
        assert box.y + box.height + 3 <= HEIGHT
    for arrow in machine.arrows:
        assert on_edge(arrow.x1, arrow.y1, boxes[arrow.before], 0.2)
        assert on_edge(arrow.x2, arrow.y2, boxes[arrow.after], 6)
    taken = [arrow for arrow in machine.arrows if arrow.came]
    expected = [] if came_from in {None, now} else [(came_from, now)]
    assert [(arrow.before, arrow.after) for arrow in taken] == expected
    assert not taken or machine.arrows[-1] == taken[0]


def test_the_two_ways_between_two_states_do_not_meet() -> None:
    def way(before: State, after: State) -> Arrow:
        found = Machine.of(State.CLOSED, None, Policy()).arrows
        return next(a for a in found if (a.before, a.after) == (before, after))

    there, back = way(State.CLOSED, State.OPEN), way(State.OPEN, State.CLOSED)
    assert there.y1 == there.y2 < back.y1 == back.y2


def test_an_unknown_state_of_a_newer_version_is_no_way() -> None:
    assert not any(arrow.came for arrow in Machine.of(State.OPEN, "ajar", Policy()).arrows)


def window(*failures: Failure, policy: Policy = Policy()) -> Window:  # noqa: B008
    snapshot = Snapshot(
        instance_id="628",
        known=True,
        state=State.CLOSED,
        epoch=1,
        failures=len(failures),
        failure_threshold=policy.failure_threshold,
        retry_attempts=0,
        suppressed=0,
        connection="",
        probes_in_flight=0,
        probe_successes=0,
        recent_failures=failures,
        now_ms=NOW,
    )
    return Window.of(snapshot, policy)


def test_failures_stand_at_their_time_and_sum_up() -> None:
    shown = window(Failure(NOW - 150_000, "dns"), Failure(NOW - 75_000, "tls"))
    assert [mark.x for mark in shown.marks] == [50, 75]
    assert shown.weight == 2
    # As high as they weigh, on the scale that has the threshold at its place.
    per_failure = (100 - shown.threshold_y) / 15
    assert [round((100 - mark.y) / per_failure) for mark in shown.marks] == [1, 2]
    assert 0 < shown.threshold_y < shown.marks[-1].y
    assert shown.steps[-1].x2 == 100
    for before, after in zip(shown.steps, shown.steps[1:], strict=False):
        assert (before.x2, before.y2) == (after.x1, after.y1)


def test_failures_count_by_their_weights() -> None:
    shown = window(
        Failure(NOW - 2_000, "dns"),
        Failure(NOW - 1_000, "tls"),
        policy=Policy(failure_threshold=4, weights={"dns": 4, "tls": 0}),
    )
    assert shown.weight == 4
    assert [mark.y for mark in shown.marks] == [shown.threshold_y, shown.threshold_y]


def test_each_kind_has_a_shape_of_its_own() -> None:
    assert set(SHAPES) == set(COUNTED_KINDS)
    assert len(set(SHAPES.values())) == len(SHAPES)


def test_thousands_of_failures_are_a_line_that_ends_where_they_do() -> None:
    failures = [Failure(NOW - 300_000 + 30 * number, "dns") for number in range(9_999)]
    shown = window(*failures, policy=Policy(failure_threshold=10_000))
    assert shown.marks == ()
    assert len(shown.steps) < 600
    assert shown.weight == 9_999
    assert shown.steps[-1].y2 == pytest.approx(shown.threshold_y, abs=0.1)
    assert shown.kinds == (("dns", 9_999, SHAPES["dns"]),)


def test_nothing_is_drawn_of_nothing() -> None:
    shown = window()
    assert (shown.marks, shown.steps, shown.kinds) == ((), (), ())
