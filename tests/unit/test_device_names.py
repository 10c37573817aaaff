"""Files of instances: one each, on whatever file system."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekring.errors import InvalidInput
from sekring.gateway.devices.names import file_name

IDS = st.text(string.ascii_letters + string.digits + "._:@-", min_size=1, max_size=128)
#: What SQLite appends to a database's name.
BESIDE = ("", "-journal", "-wal", "-shm")


def variants(instance_id: str) -> st.SearchStrategy[str]:
    """Ids that differ in nothing but what might get lost."""
    letters = [st.sampled_from(sorted({c, c.upper(), c.lower()})) for c in instance_id]
    near = [instance_id + end for end in (".", ".db", "-journal", ".db-journal", "-1")]
    return st.one_of(
        st.tuples(*letters).map("".join),
        st.sampled_from([name[:128] for name in near]),
        st.just(instance_id.replace(":", ".")),
        st.just(instance_id.replace("@", "-")),
    )


@given(st.data())
def test_no_two_instances_share_a_file_even_where_case_is_folded(data: st.DataObject) -> None:
    one = data.draw(IDS)
    other = data.draw(st.one_of(IDS, variants(one)))

    files = [{(file_name(name) + end).casefold() for end in BESIDE} for name in (one, other)]

    assert one == other or not files[0] & files[1]


@given(IDS)
def test_a_file_name_is_one_that_file_systems_and_sqlites_uris_take(instance_id: str) -> None:
    name = file_name(instance_id)

    assert re.fullmatch(r"device-[a-z0-9._@+~-]+\.db", name)
    assert len(name + "-journal") <= 255


def test_a_plain_id_can_be_read_in_its_file_name() -> None:
    assert file_name("6281234567890") == "device-6281234567890.db"
    assert file_name("Shop:1") == "device-shop+1~20.db"


@pytest.mark.parametrize("wrong", ["", "../x", "a/b", "a b", "a\n", "é", "x" * 129])
def test_what_is_no_id_gets_no_file(wrong: str) -> None:
    with pytest.raises(InvalidInput, match="1 to 128"):
        file_name(wrong)
