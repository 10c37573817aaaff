"""Lengths of time: what a person may type, and what a person is shown."""

import argparse

import pytest

from sekring.cli.durations import duration, in_words

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("typed", "ms"),
    [
        ("1ms", 1),
        ("500ms", 500),
        ("90s", 90 * SECOND),
        ("30m", 30 * MINUTE),
        ("2h", 2 * HOUR),
        ("1d", DAY),
        ("365d", 365 * DAY),
        ("1h30m", 90 * MINUTE),
        ("1d12h", 36 * HOUR),
        ("1m500ms", MINUTE + 500),
        ("1d1h1m1s1ms", DAY + HOUR + MINUTE + SECOND + 1),
        ("0h5m", 5 * MINUTE),
        ("007s", 7 * SECOND),
        (" 2h ", 2 * HOUR),
    ],
)
def test_a_length_of_time_is_read(typed: str, ms: int) -> None:
    assert duration(typed) == ms


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "0",
        "0s",
        "5",
        "s",
        "-5s",
        "+5s",
        "1.5h",
        "1,5h",
        "30m1h",
        "1h1h",
        "2 h",
        "2H",
        "5min",
        "5sec",
        "1w",
        "1_000s",
        "５s",  # noqa: RUF001  # a digit to int(), not to a person
        "nan",
        "inf",
        "1e3s",
        "9999999999999s",
        "5s; reset",
    ],
)
def test_anything_else_is_refused_with_examples(typed: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        duration(typed)

    assert str(caught.value).startswith(repr(typed))
    assert "90s, 30m, 2h, 1d, 500ms or 1h30m" in str(caught.value)


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (-1, "0 ms"),
        (0, "0 ms"),
        (1, "1 ms"),
        (999, "999 ms"),
        (SECOND, "1 s"),
        (1_500, "1.5 s"),
        (1_999, "1.9 s"),
        (9_999, "9.9 s"),
        (10_900, "10 s"),
        (59_999, "59 s"),
        (MINUTE, "1 min"),
        (4 * MINUTE + 12 * SECOND, "4 min 12 s"),
        (5 * MINUTE + 999, "5 min"),
        (HOUR - 1, "59 min 59 s"),
        (HOUR, "1 h"),
        (HOUR + 59 * SECOND, "1 h"),
        (2 * HOUR + 5 * MINUTE, "2 h 5 min"),
        (DAY - 1, "23 h 59 min"),
        (DAY, "1 d"),
        (3 * DAY + 4 * HOUR, "3 d 4 h"),
        (365 * DAY, "365 d"),
    ],
)
def test_a_length_of_time_is_told_in_its_two_largest_units(ms: int, words: str) -> None:
    assert in_words(ms) == words


@pytest.mark.parametrize(
    ("ms", "words"),
    [(4 * MINUTE + 12 * SECOND, "4 min"), (2 * HOUR + 5 * MINUTE, "2 h"), (12 * SECOND, "12 s")],
)
def test_a_coarse_one_is_told_in_the_largest_alone(ms: int, words: str) -> None:
    assert in_words(ms, coarse=True) == words
