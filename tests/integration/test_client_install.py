"""The client in an interpreter that has httpx and msgspec, and nothing else."""

import os
import subprocess
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.replicas import Replica
from tests.servers import RedisServer

REPOSITORY = Path(__file__).parents[2]

#: What the client needs, and what that needs in turn.
LIGHT = {"anyio", "certifi", "h11", "httpcore", "httpx", "idna", "msgspec", "typing_extensions"}

USE = """
import sys, sekring
for _ in range(16):
    try:
        with sekring.guard("s"):
            raise ConnectionRefusedError
    except ConnectionRefusedError:
        pass
    except sekring.Open as error:
        print(error.state, error.cause)
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"litestar", "redis", "structlog", "cryptography", "rich", "jinja2"}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own; the packages are those that are installed here, linked."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in LIGHT:
        for file in metadata.files(name) or ():
            top = file.parts[0]
            if top != ".." and not (packages / top).exists():
                here = Path(str(file.locate())).parents[len(file.parts) - 1]
                (packages / top).symlink_to(here / top)
    (packages / "sekring").symlink_to(REPOSITORY / "service" / "sekring")
    return folder / "bin" / "python"


@pytest.fixture
def service(redis_server: RedisServer) -> Iterator[Replica]:
    with Replica(redis_server.url, partitions=4) as service:
        yield service


def run(python: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [python, *words], env=clean | environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_it_is_what_pyproject_says() -> None:
    needed = {
        requirement.partition(">")[0]
        for requirement in metadata.requires("sekring") or ()
        if "extra ==" not in requirement
    }

    assert needed == {"httpx", "msgspec"}


def test_the_client_works_with_those_alone(python: Path, service: Replica) -> None:
    done = run(python, "-c", USE, SEKRING_URL=service.url)

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["open failures", "[]"]
    assert service.instance("s")["failures"] == 15


def test_the_command_says_in_one_sentence_what_it_lacks(python: Path) -> None:
    for words in ((), ("serve",), ("status", "s"), ("--help",)):
        done = run(python, "-m", "sekring", *words)

        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert "is missing" in line
        assert "pip install 'sekring[service]'" in line


def test_the_version_needs_nothing(python: Path) -> None:
    done = run(python, "-c", "import sekring; print(sekring.__version__)")

    assert done.stdout.strip() == metadata.version("sekring")
