"""Text that others wrote cannot steer the terminal that shows it."""

import pytest

from sekring.cli.printable import printable


@pytest.mark.parametrize("text", ["", "number under review", "café 電話 ✓", "a\\b"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
        ("\x07\x08\x7f", r"\x07\x08\x7f"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_could_steer_it_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
