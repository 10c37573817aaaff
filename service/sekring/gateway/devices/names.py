"""The name of an instance's file: no two instances share one, whatever the file system folds."""

import re
from typing import Final

from sekring.errors import InvalidInput
from sekring.model import INSTANCE_ID_PATTERN

__all__ = ["file_name"]

_INSTANCE_ID: Final = re.compile(INSTANCE_ID_PATTERN)


def file_name(instance_id: str) -> str:
    """Return the file's name: lower case, at most 171 characters of `a-z0-9._@+~-`.

    File systems may take `A` and `a` for the same, so which letters were capital is added after a
    `~` (hex digits; the id's last character is the lowest bit). A colon, which some do not take,
    becomes `+`. What SQLite puts beside a file (`….db-journal`) is no other instance's name.

    Raises:
        InvalidInput: it is no instance's id.
    """
    if not _INSTANCE_ID.fullmatch(instance_id):
        raise InvalidInput("An instance's id takes 1 to 128 of A-Z a-z 0-9 . _ : @ -.")
    capitals = 0
    for letter in instance_id:
        capitals = capitals << 1 | letter.isupper()
    plain = instance_id.lower().replace(":", "+")
    return f"device-{plain}~{capitals:x}.db" if capitals else f"device-{plain}.db"
