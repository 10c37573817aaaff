"""Figures and plots as files: `NAME.json`, indented, and `NAME.svg`."""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

__all__ = ["RESULTS", "keep"]

#: Where results are kept that are worth it.
RESULTS: Final = Path(__file__).parent / "results"


def keep(
    folder: Path, name: str, figures: Struct, plot: str | None = None, indent: int = 1
) -> None:
    """Write figures, and the plot of them if there is one; an `indent` of 0 is one line."""
    folder.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(figures), indent=indent)
    (folder / f"{name}.json").write_bytes(encoded + b"\n")
    if plot is not None:
        (folder / f"{name}.svg").write_text(plot)
