"""Last words of a worker: the end of its output, bounded, without secrets."""

import pytest

from sekring.gateway.workers.lastwords import LastWords

CODE = "2@AbCdEfGhIjKlMnOpQrSt+/uv,WxYz0123456789==,abcdefgh,1"


def said(*pieces: str) -> str:
    words = LastWords()
    for piece in pieces:
        words.feed(piece.encode())
    return words.text()


def test_nothing_said_is_nothing() -> None:
    assert not said()
    assert not said("\n", "  \n")


def test_pieces_are_put_together_to_lines() -> None:
    assert said("one\ntw", "o\nthr", "ee") == "one | two | three"


def test_the_end_is_kept() -> None:
    text = said(*(f"line {n}\n" for n in range(1000)))

    assert text.startswith("line 988 | ")
    assert text.endswith(" | line 999")


def test_the_cause_of_a_death_is_not_pushed_out_by_its_stacks() -> None:
    stacks = "".join(f"goroutine {n} [running]:\n\tmain.go:{n}\n" for n in range(500))
    text = said("before\n", "panic: assignment to entry in nil map\n", stacks)

    assert text.startswith("panic: assignment to entry in nil map | ")
    assert "before" not in text


@pytest.mark.parametrize("size", [299, 4800, 4801, 100_000])
def test_a_line_without_an_end_is_cut(size: int) -> None:
    text = said(*["y " * 50] * (size // 100), "\nafter")

    assert text.endswith(" | after")
    assert len(text) <= 320


def test_text_is_bounded() -> None:
    assert len(said("panic: here\n", "a b " * 400 + "\n", *["c d " * 100 + "\n"] * 50)) <= 1000
    assert len(said(*["c d " * 100 + "\n"] * 50)) <= 1000


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f"INFO QR code: {CODE}", id="a QR code"),
        pytest.param(f'{{"code":"{CODE}"}}', id="a QR code in JSON"),
        pytest.param("key " + "AbCdEf0123456789" * 4, id="a key"),
        pytest.param("█▄▄▀█ ▄█▄▄▀ AbCdEf", id="a drawn QR code"),
        pytest.param("dial socks5://user:AbCdEf@WxYz@proxy:1080 failed", id="a proxy's password"),
        pytest.param("x " * 2390 + CODE, id="at the edge of what a line may be"),
    ],
)
def test_secrets_are_not_kept(line: str) -> None:
    text = said(line[: len(line) // 2], line[len(line) // 2 :], "\n", "end\n")

    assert "AbCdEf" not in text
    assert "WxYz" not in text
    assert text.endswith("end")


def test_what_is_no_text_does_no_harm() -> None:
    words = LastWords()
    words.feed(b"\xff\xfe\x00 \x1b[31mred\x1b[0m\n")

    assert "red" in words.text()
    assert words.text().isprintable()
