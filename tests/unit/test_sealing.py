"""Sealing: what is stored tells nothing, and opens only where it belongs."""

import base64

import pytest

from sekring.errors import SealBroken
from sekring.sessions.sealing import Seal

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
OTHER = base64.urlsafe_b64encode(b"o" * 32).decode()
TEXT = "2@secret,of,a,QR-code é"


def test_what_was_sealed_opens_with_the_same_key_on_another_replica() -> None:
    sealed = Seal(KEY).seal(TEXT, "qr 628")

    assert TEXT not in sealed
    assert "secret" not in sealed
    assert Seal(KEY).open(sealed, "qr 628") == TEXT


def test_the_same_text_is_sealed_otherwise_each_time() -> None:
    seal = Seal(KEY)

    assert len({seal.seal(TEXT, "qr 628") for _ in range(10)}) == 10


@pytest.mark.parametrize(("key", "says"), [(None, "has no key"), (OTHER, "with another key")])
def test_a_replica_without_the_key_says_so(key: str | None, says: str) -> None:
    sealed = Seal(KEY).seal(TEXT, "qr 628")

    with pytest.raises(SealBroken, match=says) as refused:
        Seal(key).open(sealed, "qr 628")
    assert "SEKRING_SEAL_KEY" in str(refused.value)


def test_it_does_not_open_in_another_place() -> None:
    sealed = Seal(KEY).seal(TEXT, "qr 628")

    with pytest.raises(SealBroken, match="belongs to another place"):
        Seal(KEY).open(sealed, "qr 629")


@pytest.mark.parametrize("place", [-1, -8, 20, 40])
def test_what_was_changed_does_not_open(place: int) -> None:
    sealed = Seal(KEY).seal(TEXT, "qr 628")
    changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place:][1:]

    with pytest.raises(SealBroken):
        Seal(KEY).open(changed, "qr 628")


@pytest.mark.parametrize("stored", ["", "sealed:", "nonsense"])
def test_what_was_never_sealed_does_not_open(stored: str) -> None:
    for key in (KEY, None):
        with pytest.raises(SealBroken):
            Seal(key).open(stored, "qr 628")


def test_without_a_key_it_is_stored_as_it_is_and_opens_everywhere() -> None:
    stored = Seal(None).seal(TEXT, "qr 628")

    assert TEXT in stored
    assert Seal(KEY).open(stored, "qr 628") == Seal(None).open(stored, "qr 628") == TEXT
