"""The policy's fields as the console has them: the same as the API's, in both languages."""

import re
from decimal import Decimal

import msgspec
import pytest

from sekring.console.language import Words, read_words
from sekring.console.policyfields import FIELDS, GROUPS, Field
from sekring.console.policyform import read_patch
from sekring.errors import InvalidInput
from sekring.policy import Policy, PolicyPatch, apply, flat
from sekring.taxonomy import COUNTED_KINDS

WORDS = read_words()
EN, ID = WORDS["en"], WORDS["id"]
NUMBERS = [field for field in FIELDS.values() if field.form != "switch"]


def typed(name: str, text: str, words: Words = EN) -> tuple[PolicyPatch, dict[str, str]]:
    return read_patch({name: text}, None, words)


def test_every_field_of_the_policy_is_on_the_page_once() -> None:
    shown = [name for names in GROUPS.values() for name in names]
    assert len(shown) == len(set(shown))
    of_the_api = set(flat(Policy())) - {"weights"} | {f"weights.{kind}" for kind in COUNTED_KINDS}
    assert set(shown) == of_the_api == set(FIELDS)


def test_every_field_has_its_words_in_both_languages() -> None:
    for words in WORDS.values():
        for field in FIELDS.values():
            assert words.field(field.name)
            if not field.name.startswith("weights."):
                assert words(f"about_{field.key}")


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS.keys())
@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
def test_a_default_that_is_typed_is_the_default(field: Field, words: Words) -> None:
    patch, errors = typed(field.name, field.text(field.default, words), words)
    assert errors == {}
    assert flat(patch) == {field.name: field.default}


@pytest.mark.parametrize("field", NUMBERS, ids=[field.name for field in NUMBERS])
def test_what_the_page_takes_the_api_takes(field: Field) -> None:
    """And the next step on either side neither takes."""
    step = Decimal("0.001") if field.form == "number" else Decimal(1)
    for value in (field.least, field.least + float(step), field.most, field.most + float(step)):
        exact = Decimal(str(value))
        as_typed = exact / 1000 if field.form == "duration" else exact
        patch, errors = typed(field.name, EN.plain(as_typed))
        parent, _, entry = field.name.rpartition(".")
        number = float(value) if field.form == "number" else int(value)
        body = {parent: {entry: number}} if parent else {entry: number}
        try:
            expected = msgspec.convert(body, PolicyPatch)
            apply(expected)
        except (msgspec.ValidationError, InvalidInput):
            assert set(errors), value
        else:
            assert patch == expected, value
            assert errors == {}, value


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "-1",
        "+1",
        "1e3",
        "0x10",
        "1 000",
        "1,000",
        "1_000",
        ".5",
        "1.",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "NaN",
        "inf",
    ],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    patch, errors = typed("cooldown_factor", text)
    assert patch == PolicyPatch()
    assert errors == {"cooldown_factor": "takes 1 to 100"}


def test_a_part_of_a_whole_is_refused() -> None:
    assert typed("failure_threshold", "2.5")[1] == {"failure_threshold": "takes 1 to 10000"}
    assert typed("window_ms", "1.0005")[1] == {"window_ms": "takes 1 to 86400 s"}
    assert typed("window_ms", "1.005") == (PolicyPatch(window_ms=1005), {})


def test_each_language_has_its_own_decimal_sign() -> None:
    assert typed("window_ms", "1,5", ID) == (PolicyPatch(window_ms=1500), {})
    assert typed("window_ms", "86.400", ID)[1] == {"window_ms": "harus 1 sampai 86400 dtk"}
    assert ID.plain(0.25) == "0,25"


def test_several_wrong_fields_are_all_named_and_the_others_read() -> None:
    patch, errors = read_patch(
        {"failure_threshold": "0", "probes": "3", "backoff.jitter": "1.01", "weights.dns": "x"},
        None,
        EN,
    )
    assert set(errors) == {"failure_threshold", "backoff.jitter", "weights.dns"}
    assert patch == PolicyPatch(probes=3)


@pytest.mark.parametrize(("name", "text"), [("cooldown_max_ms", "599"), ("backoff.cap_ms", "0.5")])
def test_a_contradiction_is_said_at_a_field_in_the_readers_words(name: str, text: str) -> None:
    for words in WORDS.values():
        shown = words.plain(Decimal(text))
        errors = typed(name, shown, words)[1]
        assert list(errors) == [name]
        assert not re.search("cooldown_ms|base_ms", errors[name])


def test_an_override_may_contradict_what_lies_beneath() -> None:
    fleet = PolicyPatch(cooldown_ms=7_200_000)
    assert read_patch({"cooldown_max_ms": "3600"}, fleet, EN)[1].keys() == {"cooldown_max_ms"}
    assert read_patch({"cooldown_max_ms": "3600"}, None, EN)[1] == {}


def test_times_are_told_in_their_largest_units_and_in_full() -> None:
    window = FIELDS["window_ms"]
    assert window.told(300_000, EN) == "5 min"
    assert window.told(61_500, EN) == "61.5 s"
    assert window.told(90_061_000, EN) == "1 d 1 h 1 min 1 s"
    assert FIELDS["cooldown_ms"].told(1, EN) == "0.001 s"
