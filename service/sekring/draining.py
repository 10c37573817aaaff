"""How a supervisor tells its server processes that they are to stop soon: a file that appears."""

import os
from pathlib import Path

__all__ = ["announce_drain", "is_draining", "prepare_drain"]

#: Environment variable with the path of the file.
_VARIABLE = "SEKRING_DRAIN_FILE"


def prepare_drain(folder: str) -> None:
    """Say in the environment, which server processes inherit, where the file will be."""
    os.environ[_VARIABLE] = f"{folder}/draining"


def announce_drain() -> None:
    """Let the file appear; a second time changes nothing.

    Raises:
        KeyError: `prepare_drain` was not called.
    """
    Path(os.environ[_VARIABLE]).touch()


def is_draining() -> bool:
    """Tell whether the file is there; false in a process without a supervisor."""
    path = os.environ.get(_VARIABLE)
    return path is not None and Path(path).exists()
