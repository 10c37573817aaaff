"""Gateways that keep devices apart are told so, each with what to do."""

import pytest

from sekring.errors import DevicesApart, StartError
from sekring.gateway.devices.identity import StoreIdentity, check_shared, machine_id

HERE, THERE = "1" * 16, "2" * 16
FOLDER = StoreIdentity(kind="sqlite", store="a" * 32, machine=HERE)
DATABASE = StoreIdentity(kind="postgresql", store="b" * 32, machine=HERE)


def changed(
    identity: StoreIdentity, *, store: str | None = None, machine: str = HERE
) -> StoreIdentity:
    return StoreIdentity(kind=identity.kind, store=store or identity.store, machine=machine)


@pytest.mark.parametrize(
    ("own", "other"),
    [(FOLDER, FOLDER), (DATABASE, DATABASE), (DATABASE, changed(DATABASE, machine=THERE))],
    ids=["one folder", "one database", "one database, two machines"],
)
def test_gateways_with_one_store_agree(own: StoreIdentity, other: StoreIdentity) -> None:
    check_shared(own, {"gateway-2": str(other)})


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        (FOLDER, changed(FOLDER, store="c" * 32, machine=THERE), "another machine.*postgresql://"),
        (FOLDER, changed(FOLDER, machine=THERE), "same SQLite folder.*postgresql://"),
        (FOLDER, changed(FOLDER, store="c" * 32), "this machine.*same folder"),
        (FOLDER, DATABASE, "in PostgreSQL, this one in SQLite"),
        (DATABASE, changed(FOLDER, machine=THERE), "in SQLite, this one in PostgreSQL"),
        (DATABASE, changed(DATABASE, store="c" * 32), "another PostgreSQL database"),
    ],
    ids=["two machines", "network folder", "two folders", "mixed", "mixed apart", "two databases"],
)
def test_gateways_with_two_stores_do_not(
    own: StoreIdentity, other: StoreIdentity, words: str
) -> None:
    others = {"gateway-1": str(own), "gateway-2": str(other)}

    with pytest.raises(DevicesApart, match=f"gateway-2 .*{words}") as caught:
        check_shared(own, others)

    assert isinstance(caught.value, StartError)


def test_what_a_later_version_sends_is_left_alone() -> None:
    check_shared(FOLDER, {"gateway-2": "mongodb/x", "gateway-3": "", "gateway-4": "sqlite/a/b"})


def test_an_identity_survives_being_sent() -> None:
    for identity in (FOLDER, DATABASE):
        assert StoreIdentity.parse(str(identity)) == identity
        assert len(str(identity)) <= 60


def test_a_machine_has_one_id() -> None:
    assert len(machine_id()) == 16
    assert machine_id() == machine_id()
