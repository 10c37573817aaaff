"""The images, as far as they can be made without an engine: what is in the wheel, where it runs.

The wheel is built as the Dockerfile does, and put into an environment that has what the extra
`service` asks for and nothing else, far from the repository. What the image does not have, and what
it may not write, is missing and refused here too.
"""

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.dockerfile import DOCKERFILE, REPOSITORY, environment, lineage, read_stages
from tests.imagebuild import can_build, script_of
from tests.polling import text_of
from tests.servers import RedisServer, free_port, wait_until
from tests.settingnames import known_to

#: The user of the images.
UID = 65_532

TARGETS = ("service", "gateway")

#: Runs a command as a container engine would: as another user, with a root file system that nobody
#: writes and a /tmp of its own. Two folders that this user may not go to are bound to where it may.
_CONTAINED = """
mount --bind "$1" "$2"; mount --bind "$3" "$4"
export LD_LIBRARY_PATH="$2/lib"
mount -o bind,remount,ro /
mount -t tmpfs -o mode=1777 tmpfs "$5"
shift 5
exec setpriv --reuid=65532 --regid=65532 --clear-groups --no-new-privs --bounding-set=-all "$@"
"""


class Image:
    """What an image has: /opt/sekring, the interpreter, and what starts a command in it."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        """Install `wheel` as pip does, but for the commands, beside what it needs."""
        self.folder = folder
        self.python = folder / "sekring" / "bin" / "python"
        base, here = (
            Path(sys.base_prefix),
            Path(str(metadata.distribution("httpx").locate_file(""))),
        )
        self._bound = [base, folder / "python", here, folder / "packages"]
        run(sys.executable, "-m", "venv", "--without-pip", str(folder / "sekring"))
        self.python.unlink()
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.python.symlink_to(folder / "python" / "bin" / name)
        (folder / "sekring" / "pyvenv.cfg").write_text(f"home = {folder}/python/bin\n")
        (packages,) = (folder / "sekring").glob("lib/python*/site-packages")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
        tops = {
            file.parts[0]
            for distribution in needed("sekring", {"service"}) - {"sekring"}
            for file in metadata.files(distribution) or ()
        }
        for top in tops - {"..", "bin"}:
            (packages / top).symlink_to(folder / "packages" / top)
        (folder / "tmp").mkdir()
        self._contained = self._try_containment()

    def command(self, *words: str) -> list[str]:
        """Return the command line of a Python in the image."""
        return [*self._contained, str(self.python), "-P", *words]

    def _try_containment(self) -> list[str]:
        """Needs root and a kernel that lets it mount; without, the folders are links."""
        base, base_here, packages, packages_here = self._bound
        for place in (base_here, packages_here):
            place.mkdir()
        bound = map(str, (*self._bound, self.folder / "tmp"))
        contained = ["unshare", "--mount", "sh", "-ec", _CONTAINED, "sh", *bound]
        try:
            tried = [*contained, str(self.python), "-c", "import ssl"]
            if subprocess.run(tried, capture_output=True, check=False).returncode == 0:
                return contained
        except FileNotFoundError:
            pass
        for place, real in ((base_here, base), (packages_here, packages)):
            place.rmdir()
            place.symlink_to(real)
        return []


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The service's image."""
    with tempfile.TemporaryDirectory(prefix="sekring-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
        run(*build, "--directory", str(folder / "dist"), cwd=REPOSITORY)
        (wheel,) = (folder / "dist").glob("sekring-*.whl")
        yield Image(folder, wheel)


def run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def needed(name: str, extras: set[str]) -> set[str]:
    """Return the distributions that `name[extras]` needs, itself included, as they are here."""
    found: set[str] = set()
    waiting = [(name, extras)]
    while waiting:
        name, extras = waiting.pop()
        found.add(canonicalize_name(name))
        for text in metadata.requires(name) or ():
            one = Requirement(text)
            wanted = one.marker is None or any(
                one.marker.evaluate({"extra": extra}) for extra in extras | {""}
            )
            if wanted and (canonicalize_name(one.name) not in found or one.extras):
                waiting.append((one.name, set(one.extras)))
    return found


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def service(
    image: Image, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The service of the image, in a folder that it may not write."""
    stages = read_stages()
    variables = environment(stages, "service")
    port = free_port()
    variables |= {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": "/",
        "TMPDIR": str(image.folder / "tmp"),
        "SEKRING_HOST": "127.0.0.1",
        "SEKRING_PORT": str(port),
        "SEKRING_REDIS_URL": redis.url,
        "SEKRING_DRAIN_MS": "0",
    }
    words = [step.exec_form for stage in lineage(stages, "service") for step in stage.steps
             if step.name in {"ENTRYPOINT", "CMD"}]  # fmt: skip
    assert words[0] == ["sekring"]
    command = image.command("-m", "sekring", *words[1])
    log = tmp_path_factory.mktemp("image") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd="/", env=variables, stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        return text_of(port, "/ready") is not None

    try:
        wait_until(ready, "the service of the image", seconds=60)
        yield url
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "path", ["/", "/policy", "/instances/628", "/health", "/schema/openapi.json"]
)
def test_every_page_is_in_the_wheel(service: str, path: str) -> None:
    headers = {"Accept": "text/html"} if path in {"/", "/policy", "/instances/628"} else {}

    answer = httpx.get(f"{service}{path}", headers=headers)

    assert answer.status_code == 200, answer.text


def test_what_a_page_links_to_is_in_the_wheel(service: str) -> None:
    page = httpx.get(f"{service}/", headers={"Accept": "text/html"}).text
    assets = set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', page))

    assert len(assets) > 3
    assert {httpx.get(f"{service}{asset}").status_code for asset in assets} == {200}


def test_every_script_is_in_the_wheel(service: str) -> None:
    report = {"outcome": "failure", "kind": "websocket"}

    answer = httpx.post(f"{service}/v1/instances/628/outcomes", json=report)

    assert answer.json()["failures"] == 1
    assert httpx.post(f"{service}/v1/instances/628/reset").status_code == 200


def test_the_service_goes_without_writing(service: str, image: Image) -> None:
    """Where containment is to be had, it could not; and all the same nothing has failed."""
    before = {file for file in image.folder.rglob("*") if "tmp" not in file.parts}

    httpx.get(f"{service}/health")

    assert {file for file in image.folder.rglob("*") if "tmp" not in file.parts} == before


# ------------------------------------------------------------------------------ the Dockerfile


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint has no wheel for this machine")

    found = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)

    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_nobody_in_particular_and_is_told_to_stop(target: str) -> None:
    steps = [step for stage in lineage(read_stages(), target) for step in stage.steps]
    last = {step.name: step for step in steps}

    assert last["USER"].text == f"{UID}:{UID}"
    assert last["STOPSIGNAL"].text == "SIGTERM"
    assert last["ENTRYPOINT"].exec_form == ["sekring"]
    assert last["CMD"].exec_form == [{"service": "serve"}.get(target, target)]
    assert last["HEALTHCHECK"].exec_form[:2] == ["python", "-c"]
    compile(last["HEALTHCHECK"].exec_form[2], "HEALTHCHECK", "exec")


def test_the_service_is_healthy_when_it_is_ready(service: str, image: Image) -> None:
    (check,) = read_stages()["service"].all("HEALTHCHECK")
    port = service.rpartition(":")[2]

    def ask(port: str) -> int:
        words = image.command(*check.exec_form[1:])
        variables = {"SEKRING_PORT": port, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
        return subprocess.run(words, env=variables, capture_output=True, check=False).returncode

    assert ask(port) == 0
    assert ask(str(free_port())) != 0


@pytest.mark.parametrize("target", TARGETS)
def test_every_variable_of_an_image_is_a_setting(target: str) -> None:
    ours = {name for name in environment(read_stages(), target) if name.startswith("SEKRING_")}

    assert ours
    assert [name for name in ours if not known_to(target, name)] == []


def test_whatever_is_copied_is_there_and_not_ignored() -> None:
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    copied = {
        word
        for stage in read_stages().values()
        for step in stage.all("COPY")
        if "from" not in step.flags
        for word in step.words[:-1]
    }

    assert "*" in ignored
    assert {f"!{word}" for word in copied} == {line for line in ignored if line.startswith("!")}
    assert [word for word in copied if not (REPOSITORY / word).exists()] == []


def test_no_compiler_gets_into_an_image() -> None:
    """What runs is copied from where it was built; only libmagic is installed beside it."""
    stages = read_stages()
    for target in TARGETS:
        runs = [step.text for stage in lineage(stages, target) for step in stage.all("RUN")]
        installed = re.findall(r"apt-get install[^&]*", " ".join(runs))

        assert not any("pip" in run for run in runs)
        assert [text.split()[-1] for text in installed] == {"gateway": ["libmagic1"]}.get(
            target, []
        )
        assert [step.flags["from"] for step in stages[target].all("COPY")] == [f"{target}-packages"]
    assert "neonize" not in needed("sekring", {"service"})
    assert "neonize" in needed("sekring", {"gateway"})


# ------------------------------------------------------- every step of the Dockerfile (--full)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_is_built_and_runs_on_a_root_that_nobody_writes(
    target: str, redis: RedisServer, tmp_path: Path, *, full: bool
) -> None:
    """With packages from the index, and some minutes for each; see `tests/imagebuild.py`."""
    if not full or os.geteuid() != 0 or not can_build():
        pytest.skip("needs --full, root and overlayfs")
    port = str(free_port())
    variables = {
        "service": {
            "SEKRING_HOST": "127.0.0.1",
            "SEKRING_PORT": port,
            "SEKRING_REDIS_URL": redis.url,
            "SEKRING_DRAIN_MS": "0",
        },
        # Without its service it is not ready, and lives.
        "gateway": {
            "SEKRING_GATEWAY_PROBE_PORT": port,
            "SEKRING_URL": f"http://127.0.0.1:{free_port()}",
            "SEKRING_DEVICE_STORE": "/tmp/devices",  # noqa: S108 - the container's
        },
    }
    work = tmp_path / "layers"
    work.mkdir()
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script_of(target, work, variables[target])],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip

    def lives() -> bool:
        assert process.poll() is None, log.read_text()
        return text_of(int(port), "/live") is not None

    try:
        wait_until(lives, f"the image {target}", seconds=280)
        status = Path(f"/proc/{process.pid}/status").read_text()
        mounts = Path(f"/proc/{process.pid}/mountinfo").read_text()
        assert f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}" in status
        assert "CapEff:\t0000000000000000" in status
        assert re.search(r" / / ro,.* overlay overlay ", mounts)
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
