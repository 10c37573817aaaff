"""The Node client's folder as its authors have it: Node.js, and the packages of its tests."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

__all__ = ["CLIENT", "node_environment", "node_fixture", "packages_fixture"]

CLIENT: Final = Path(__file__).parents[1] / "clients" / "node"

#: The oldest Node.js that the client supports.
_OLDEST: Final = 20

#: Says from which lock the packages were installed.
_STAMP: Final = CLIENT / "node_modules" / ".sekring-lock"


def _lacking(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def node_fixture() -> str:
    """Return the program; without one the test is skipped, except in CI."""
    node = shutil.which("node")
    if node is None:
        _lacking("node is missing (Debian: apt-get install nodejs)")
        raise AssertionError
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < _OLDEST:
        _lacking(f"node is {version.strip()}: the client needs {_OLDEST} or newer")
    return node


def packages_fixture() -> Iterator[None]:
    """Install the packages of `package-lock.json`, where they are not there already."""
    npm = shutil.which("npm")
    if npm is None:
        _lacking("npm is missing (Debian: apt-get install npm)")
        raise AssertionError
    wanted = hashlib.sha256((CLIENT / "package-lock.json").read_bytes()).hexdigest()
    if not (_STAMP.exists() and _STAMP.read_text() == wanted):
        command = [npm, "ci", "--no-audit", "--no-fund", "--prefer-offline"]
        done = subprocess.run(command, cwd=CLIENT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"npm ci failed:\n{done.stdout}{done.stderr}"
        _STAMP.write_text(wanted)
    yield


def node_environment() -> dict[str, str]:
    """Return the environment of the client's own tests: which service they start."""
    names = ("PATH", "HOME", "LANG", "TMPDIR")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "SEKRING_COMMAND": str(Path(sys.executable).with_name("sekring"))}
