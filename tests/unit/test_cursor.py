"""A cursor over many streams: it comes back as it was, and forgets nothing that it was told."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekring.cursor import Cursor, Place

PARTITIONS = 64
BASE_MS = 1_795_446_878_959

places = st.builds(
    Place, st.integers(0, 2**48), st.one_of(st.integers(0, 9), st.integers(0, 2**64 - 1))
)
partitions = st.integers(0, PARTITIONS - 1)
cursors = st.builds(Cursor, st.integers(0, 2**48), st.dictionaries(partitions, places))


@given(cursor=cursors)
def test_what_was_encoded_comes_back(cursor: Cursor) -> None:
    text = cursor.encode()

    assert Cursor.decode(text, PARTITIONS) == cursor
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()


@given(cursor=cursors, steps=st.lists(st.tuples(partitions, places)))
def test_a_place_is_the_farthest_that_was_read(
    cursor: Cursor, steps: list[tuple[int, Place]]
) -> None:
    expected = {number: cursor[number] for number in range(PARTITIONS)}
    for partition, place in steps:
        cursor.advance(partition, place)
        expected[partition] = max(expected[partition], place)

    assert {number: cursor[number] for number in range(PARTITIONS)} == expected


@given(cursor=cursors, base_ms=st.integers(0, 2**48))
def test_a_new_base_moves_no_partition_back(cursor: Cursor, base_ms: int) -> None:
    before = {number: cursor[number] for number in range(PARTITIONS)}
    cursor.rebase(base_ms)

    for number, place in before.items():
        assert cursor[number] == max(place, Place.end_of(base_ms))


def test_it_is_short_in_quiet_times() -> None:
    cursor = Cursor(BASE_MS)
    for partition in range(PARTITIONS):
        cursor.advance(partition, Place(BASE_MS + 5_000, 3))
    long = cursor.encode()
    cursor.rebase(BASE_MS + 6_000)

    assert len(cursor.encode()) < 16
    assert len(long) < 400


@given(cursor=cursors, data=st.data())
def test_a_damaged_one_is_refused(cursor: Cursor, data: st.DataObject) -> None:
    encoded = bytearray(base64.urlsafe_b64decode(cursor.encode() + "=="))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    damaged = base64.urlsafe_b64encode(encoded).decode().rstrip("=")

    with pytest.raises(ValueError, match="no cursor"):
        Cursor.decode(damaged, PARTITIONS)


@given(cursor=cursors)
def test_one_that_was_cut_off_is_refused(cursor: Cursor) -> None:
    text = cursor.encode()
    for length in range(len(text)):
        with pytest.raises(ValueError, match=r"no cursor|no base64url"):
            Cursor.decode(text[:length], PARTITIONS)


@given(text=st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no cursor|no base64url"):
        Cursor.decode(text, PARTITIONS)


def test_one_of_a_larger_keyspace_is_refused() -> None:
    text = Cursor(BASE_MS, {99: Place(BASE_MS + 1, 0)}).encode()

    with pytest.raises(ValueError, match="no such partition"):
        Cursor.decode(text, PARTITIONS)


@given(place=places)
def test_right_in_front_of_a_place_there_is_no_other(place: Place) -> None:
    if place > Place(0, 0):
        before = place.before()
        assert before < place
        assert Place.parse(str(before)) == before
