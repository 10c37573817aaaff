"""API tokens: made, stored hashed, read from a file or the environment, recognised."""

from itertools import count
from pathlib import Path

import pytest

from sekring.errors import SettingsError
from sekring.tokens import ANYONE, Caller, NewToken, Permission, Role, TokenBook, TokenEntry

MADE = NewToken.make("ops", Role.OPERATOR)
OTHER = NewToken.make("wall-display", Role.VIEWER)
HASH = MADE.entry.hash
SECRET = MADE.token.split("_", 2)[2]

ENTRY = f'[[token]]\nname = "ops"\nrole = "operator"\nhash = "{HASH}"\n'


def file_with(folder: Path, text: str) -> Path:
    file = folder / "tokens.toml"
    file.write_text(text, encoding="latin-1")
    return file


# ----------------------------------------------------------------------------------- made, known


def test_a_new_token_is_recognised_by_its_hash_alone() -> None:
    book = TokenBook([TokenEntry("ops", Role.OPERATOR, HASH)])

    assert book.caller_of(MADE.token) == Caller("ops", Role.OPERATOR)


def test_no_two_tokens_are_alike() -> None:
    made = {NewToken.make("x", Role.VIEWER).token for _ in range(100)}

    assert len(made) == 100


def test_the_entry_does_not_hold_the_secret() -> None:
    assert SECRET not in repr(MADE.entry)
    assert len(SECRET) >= 43


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="nothing"),
        pytest.param(OTHER.token, id="somebody else's"),
        pytest.param(MADE.token[:-1], id="too short"),
        pytest.param(MADE.token + "x", id="too long"),
        pytest.param(MADE.token + "\n", id="with a line break"),
        pytest.param(MADE.token.upper(), id="in upper case"),
        pytest.param(HASH, id="its hash"),
        pytest.param(HASH.partition(":")[2], id="the digest in its hash"),
        pytest.param(f"{MADE.token[:13]}{'A' * 43}", id="its id with another secret"),
        pytest.param("skr_\udcff", id="broken text"),
        pytest.param("é" * 60, id="other letters"),
    ],
)
def test_nothing_else_is_recognised(token: str) -> None:
    assert TokenBook([MADE.entry]).caller_of(token) is None


def test_of_several_the_right_one_is_found() -> None:
    book = TokenBook([MADE.entry, OTHER.entry])

    assert book.caller_of(OTHER.token) == Caller("wall-display", Role.VIEWER)
    assert book.caller_of(MADE.token) == Caller("ops", Role.OPERATOR)


# ---------------------------------------------------------------------------------------- roles


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (Role.VIEWER, {Permission.READ}),
        (Role.GATEWAY, {Permission.READ, Permission.REPORT}),
        (Role.OPERATOR, {Permission.READ, Permission.REPORT, Permission.OPERATE}),
    ],
)
def test_what_a_role_may(role: Role, may: set[Permission]) -> None:
    assert role.permissions == may


def test_without_tokens_everybody_is_an_operator() -> None:
    assert not TokenBook()
    assert TokenBook([MADE.entry])
    assert ANYONE.role is Role.OPERATOR


# -------------------------------------------------------------------------- file and environment


def test_a_file_has_a_table_for_each_token(tmp_path: Path) -> None:
    other = (
        ENTRY.replace("ops", "wall").replace("operator", "viewer").replace(HASH, OTHER.entry.hash)
    )
    book = TokenBook.load(file_with(tmp_path, ENTRY + other), None)

    assert book.caller_of(MADE.token) == Caller("ops", Role.OPERATOR)
    assert book.caller_of(OTHER.token) == Caller("wall", Role.VIEWER)


@pytest.mark.parametrize("between", [",", " ", "\n", ",\n  "])
def test_the_environment_has_them_in_a_row(between: str) -> None:
    row = between.join([f"ops=operator:{HASH}", f"wall=viewer:{OTHER.entry.hash}"])
    book = TokenBook.load(None, f" {row} ")

    assert book.caller_of(MADE.token) == Caller("ops", Role.OPERATOR)
    assert book.caller_of(OTHER.token) == Caller("wall", Role.VIEWER)


def test_both_together_are_one_book(tmp_path: Path) -> None:
    book = TokenBook.load(file_with(tmp_path, ENTRY), f"wall=viewer:{OTHER.entry.hash}")

    assert book.caller_of(MADE.token)
    assert book.caller_of(OTHER.token)


def test_neither_is_an_empty_book() -> None:
    assert not TokenBook.load(None, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "has no token, which would let everybody in", id="an empty file"),
        pytest.param("# later\n", "has no token", id="nothing but a comment"),
        pytest.param("[[token]", "is not a token file", id="no TOML"),
        pytest.param("\xff\xfe", "cannot be read", id="no UTF-8"),
        pytest.param(ENTRY.replace("operator", "root"), "is not a token file", id="no such role"),
        pytest.param(ENTRY.replace('name = "ops"\n', ""), "is not a token file", id="no name"),
        pytest.param(ENTRY.replace("[[token]]", "[[tokens]]"), "is not a token file", id="tokens"),
        pytest.param(ENTRY.replace("[[token]]", "[token]"), "is not a token file", id="one table"),
        pytest.param(ENTRY + "until = 1\n", "is not a token file", id="an unknown field"),
        pytest.param(ENTRY.replace(HASH, MADE.token), "hash of token 'ops'", id="the token itself"),
        pytest.param(ENTRY.replace(HASH, HASH[:-1]), "hash of token 'ops'", id="half a hash"),
        pytest.param(ENTRY + ENTRY, "two tokens of the name or id of 'ops'", id="twice"),
        pytest.param(
            ENTRY + ENTRY.replace("ops", "wall"), "two tokens of the name or id", id="one id twice"
        ),
    ],
)
def test_a_file_that_is_none_is_refused_in_words(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        TokenBook.load(file_with(tmp_path, text), None)

    assert says in str(refusal.value)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("kind", ["absent", "folder"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    file = tmp_path if kind == "folder" else tmp_path / "absent.toml"

    with pytest.raises(SettingsError, match=f"SEKRING_TOKENS_FILE: {file} cannot be read"):
        TokenBook.load(file, None)


@pytest.mark.parametrize(
    "inline",
    [
        "ops",
        f"operator:{HASH}",
        f"=operator:{HASH}",
        f"ops=root:{HASH}",
        f"ops={HASH}",
        "ops=operator:",
        f"ops=operator:{HASH[:-1]}",
        f"ops=operator:{HASH},",
        MADE.token,
    ],
    ids=count(),  # not by the tokens, which are random
)
def test_a_row_that_is_none_is_refused_without_showing_it(inline: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        TokenBook.load(None, inline)

    assert "name=role:hash" in str(refusal.value)
    assert SECRET not in str(refusal.value)
    assert HASH not in str(refusal.value)
