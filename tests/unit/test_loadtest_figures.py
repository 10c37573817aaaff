"""The arithmetic of the load tests: ratios, medians, what chance explains, slopes."""

import random
from xml.etree import ElementTree as ET

import pytest

from loadtest.chart import Bar, Line, bars, lines
from loadtest.commands import commands_in
from loadtest.figures import Ratio, slope
from loadtest.soak import judged
from loadtest.targets import TARGETS, plot, table, worse

SECONDS = [float(second) for second in range(60)]


def test_a_ratio_is_taken_within_each_round() -> None:
    # The machine was half as fast in the second round, for both.
    ratio = Ratio.between([200, 100, 330], [100, 50, 110])

    assert ratio.rounds == [2, 2, 3]
    assert (ratio.median, ratio.least, ratio.most) == (2, 2, 3)


def test_a_single_round_says_nothing_of_chance() -> None:
    assert Ratio.of([1.5]).error == 0


def test_more_rounds_make_a_median_surer_and_one_outlier_does_not_matter() -> None:
    few, many = Ratio.of([0.9, 1.0, 1.1]), Ratio.of([0.9, 1.0, 1.1] * 4)

    assert many.error == pytest.approx(few.error / 2)
    assert Ratio.of([0.9, 1.0, 1.1, 0.9, 9.0]).error < 2 * few.error


def test_a_slope_is_that_of_the_line_whatever_single_peaks_do() -> None:
    values = [5 + 0.5 * second for second in SECONDS]
    values[10] = values[50] = 1_000

    assert slope(SECONDS, values)[0] == pytest.approx(0.5)


def test_noise_makes_a_slope_unsure() -> None:
    chance = random.Random(1)
    noisy = [10 + chance.uniform(-5, 5) for _ in SECONDS]

    growth, explained = slope(SECONDS, noisy)

    assert abs(growth) < explained
    assert slope(SECONDS, [10.0] * 60) == (0, 0)


def test_what_grows_all_the_time_is_found() -> None:
    leaking = judged(SECONDS, [100 + second for second in SECONDS])

    assert not leaking.flat
    assert leaking.growth == pytest.approx(35)  # over the last 60 percent: seconds 24 to 59


def test_what_grows_in_the_beginning_alone_is_flat() -> None:
    assert judged(SECONDS, [min(second, 20) * 10 for second in SECONDS]).flat


def test_a_table_shows_what_was_measured_beside_its_target() -> None:
    found = {"report": Ratio.of([0.9]), "redis_cost": Ratio.of([2.5])}

    good, bad = table(found).splitlines()[1:]

    assert good.split()[-4:] == ["0.9", ">=", "0.8", "ok"]
    assert bad.split()[-4:] == ["2.5", "<=", "2", "short"]


@pytest.mark.parametrize(
    ("name", "before", "now", "expected"),
    [
        ("report", 1.0, 0.96, []),
        ("report", 1.0, 0.9, ["report, one a request"]),
        ("report", 1.0, 2.0, []),
        ("redis_cost", 2.0, 2.05, []),
        ("redis_cost", 2.0, 2.2, ["Redis CPU per report"]),
        ("redis_cost", 2.0, 1.0, []),
    ],
)
def test_worse_is_less_or_more_as_the_target_wants_it(
    name: str, before: float, now: float, expected: list[str]
) -> None:
    lines_of = worse({name: Ratio.of([before] * 5)}, {name: Ratio.of([now] * 5)})

    assert [line.partition(" (against")[0] for line in lines_of] == expected


def test_rounds_that_lie_far_apart_allow_for_more() -> None:
    steady, uneven = Ratio.of([1.0] * 5), Ratio.of([0.7, 0.85, 1.0, 1.15, 1.3])

    assert worse({"report": steady}, {"report": Ratio.of([0.85] * 5)})
    assert worse({"report": uneven}, {"report": Ratio.of([0.85] * 5)}) == []


def test_what_was_not_measured_is_not_worse() -> None:
    assert worse({name: Ratio.of([1]) for name in TARGETS}, {}) == []


def test_plots_are_svg_whatever_names_hold() -> None:
    drawn = [
        bars([Bar("a < b & c", 10, "10 > 1"), Bar("d", 1, "1")], title="<t>", note="&", mark=2),
        lines([Line("x & y", [(1, 0), (1000, 0)])], title="t", note="n", axis="<s>", log=True),
        plot({"report": Ratio.of([0.9])}, "note"),
    ]

    for text in drawn:
        assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own


def test_commands_are_read_as_a_server_reads_them() -> None:
    sent = b"*2\r\n$3\r\nGET\r\n$5\r\na\r\nb\x00\r\n*1\r\n$4\r\nPING\r\n"

    assert list(commands_in(sent)) == [[b"GET", b"a\r\nb\x00"], [b"PING"]]
