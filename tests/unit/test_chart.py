"""Failures per minute as a drawing."""

from itertools import pairwise

import pytest

from sekring.console.chart import HEIGHT, WIDTH, Chart
from sekring.wire import Minute


def chart(*failures: int) -> Chart:
    return Chart.of([Minute(place * 60_000, count) for place, count in enumerate(failures)])


def test_a_bar_is_as_high_as_its_minute_has_failures() -> None:
    drawn = chart(0, 5, 10)
    assert drawn.top == 10
    assert [bar.height for bar in drawn.bars] == [0, HEIGHT / 2, HEIGHT]
    assert all(bar.y + bar.height == HEIGHT for bar in drawn.bars)


def test_bars_stand_side_by_side_within_the_drawing() -> None:
    bars = chart(*[1] * 60).bars
    assert bars[0].x == 0
    assert all(one.x + one.width < other.x for one, other in pairwise(bars))
    assert bars[-1].x + bars[-1].width < WIDTH


@pytest.mark.parametrize(
    ("peak", "top"), [(0, 10), (1, 10), (10, 10), (11, 20), (21, 50), (51, 100), (3_915, 5_000)]
)
def test_the_scale_ends_with_a_round_number(peak: int, top: int) -> None:
    assert chart(peak).top == top


def test_the_figures_are_the_sum_and_the_latest_of_the_highest() -> None:
    drawn = chart(3, 7, 1, 7, 0)
    assert drawn.total == 18
    assert drawn.peak == Minute(3 * 60_000, 7)
