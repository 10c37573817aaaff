"""Puts the Lua scripts together: a verb's file, with the shared parts that it includes.

``python -m sekring.store.assemble DIR`` writes what Redis gets into DIR, for a linter or a reader.
"""

import re
import sys
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

__all__ = ["assemble", "read", "script_names"]

_INCLUDE = re.compile(r"^-- include: (.+)$", re.MULTILINE)


def _folder() -> Traversable:
    # In the wheel the scripts lie inside the package; an editable install has the repository's.
    packaged = resources.files("sekring").joinpath("lua")
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "lua"


def script_names() -> list[str]:
    """Return the names of all scripts, sorted."""
    names = (entry.name for entry in _folder().iterdir())
    return sorted(name.removesuffix(".lua") for name in names if name.endswith(".lua"))


def read(name: str) -> str:
    """Return a script's own text, as it lies in `lua/`."""
    return _folder().joinpath(f"{name}.lua").read_text(encoding="utf-8")


def assemble(name: str) -> str:
    """Return a script as Redis gets it: its include line replaced by the shared parts."""

    def parts(match: re.Match[str]) -> str:
        shared = _folder().joinpath("shared")
        return "\n".join(
            shared.joinpath(f"{part}.lua").read_text(encoding="utf-8")
            for part in match.group(1).split()
        )

    return _INCLUDE.sub(parts, read(name))


def _write_all(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in script_names():
        (folder / f"{name}.lua").write_text(assemble(name), encoding="utf-8")


if __name__ == "__main__":
    _write_all(Path(sys.argv[1]))
