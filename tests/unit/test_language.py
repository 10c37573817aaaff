"""The words of the pages."""

import re

import pytest

from sekring.console.language import read_words
from sekring.taxonomy import Kind

WORDS = read_words()


def test_both_languages_fill_in_the_same_values() -> None:
    english, indonesian = (WORDS[language]._catalogue for language in ("en", "id"))
    assert english.keys() == indonesian.keys()
    for key, text in english.items():
        values = re.findall(r"{(\w+)}", text)
        assert sorted(values) == sorted(re.findall(r"{(\w+)}", indonesian[key])), key


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_failure_has_words(kind: Kind) -> None:
    for words in WORDS.values():
        assert f"cause_{kind}" in words._catalogue


def test_a_kind_of_a_newer_version_is_shown_by_its_name() -> None:
    assert WORDS["en"].cause("newfangled") == "newfangled"


@pytest.mark.parametrize(
    ("ms", "english", "indonesian"),
    [
        (0, "0 s", "0 dtk"),
        (-5, "0 s", "0 dtk"),
        (1, "1 s", "1 dtk"),
        (59_001, "1 min", "1 mnt"),
        (598_000, "9 min 58 s", "9 mnt 58 dtk"),
        (600_000, "10 min", "10 mnt"),
        (3_600_000, "1 h", "1 jam"),
        (3_605_000, "1 h", "1 jam"),
        (86_399_001, "1 d", "1 hari"),
        (100_000_000, "1 d 3 h", "1 hari 3 jam"),
    ],
)
def test_a_length_of_time_in_its_two_largest_units(ms: int, english: str, indonesian: str) -> None:
    assert WORDS["en"].duration(ms) == english
    assert WORDS["id"].duration(ms) == indonesian


def test_a_moment_of_today_goes_without_its_day() -> None:
    noon, day = 1_800_000_000_000, 86_400_000
    assert WORDS["en"].moment(noon, noon) == "08:00:00 UTC"
    assert WORDS["en"].moment(noon + day, noon) == "2027-01-16 08:00:00 UTC"
