"""Writes the dashboards: `python -m deploy.grafana`, from the repository's root.

`--check` writes nothing and exits 1 if a file is not what the code makes.
"""

import argparse
import sys

from deploy.grafana.render import FOLDER, render


def main(argv: list[str] | None = None) -> int:
    """Write or check every dashboard; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    check = parser.parse_args(argv).check
    stale = []
    for name, text in render().items():
        path = FOLDER / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'differs from the code' if check else 'written'}")  # noqa: T201
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
