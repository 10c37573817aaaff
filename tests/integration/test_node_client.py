"""The Node client: its own tests on a real service, its types, and what is published of it."""

import filecmp
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from sekring.sessions.picture import data_url
from tests.gatewaydouble import QR_CODE, GatewayDouble
from tests.nodeclient import CLIENT, node_environment, node_fixture, packages_fixture
from tests.servers import RedisServer
from tests.serving import ServiceProcess

TSC: Final = CLIENT / "node_modules" / "typescript" / "bin" / "tsc"

#: The longest that one file of tests may take: a hung one fails by itself.
PATIENCE_S: Final = 240

node = pytest.fixture(scope="module")(node_fixture)
packages = pytest.fixture(scope="module", autouse=True)(packages_fixture)


def run(*command: str | Path, seconds: float = 120) -> str:
    """Run a command in the client's folder; return what it printed, or fail with it."""
    done = subprocess.run(
        command,
        cwd=CLIENT,
        env=node_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("name", sorted(path.name for path in (CLIENT / "test").glob("*.test.js")))
def test_the_clients_own_tests_pass(node: str, name: str) -> None:
    printed = run(node, "--test", f"test/{name}", seconds=PATIENCE_S)
    assert "# fail 0" in printed
    assert "# pass 0" not in printed
    assert "# skipped 0" in printed


def test_every_file_is_valid_and_formatted(node: str) -> None:
    prettier = CLIENT / "node_modules" / "prettier" / "bin" / "prettier.cjs"
    run(node, prettier, "--check", "src", "test", "examples")


def test_the_types_are_those_of_the_source(node: str, tmp_path: Path) -> None:
    run(node, TSC, "--project", "tsconfig.json", "--outDir", tmp_path)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == sorted(path.name for path in (CLIENT / "types").iterdir())
    _, different, _ = filecmp.cmpfiles(tmp_path, CLIENT / "types", written, shallow=False)
    assert different == [], "npm run types writes them anew"


def test_authors_in_typescript_are_helped_and_baileys_fits(node: str) -> None:
    run(node, TSC, "--project", "test/tsconfig.json")


def test_what_is_published_is_the_source_its_types_and_a_page() -> None:
    npm = shutil.which("npm")
    assert npm
    [package] = json.loads(run(npm, "pack", "--dry-run", "--json"))
    names = {file["path"] for file in package["files"]}
    sources = {path.stem for path in (CLIENT / "src").iterdir()}
    assert names == {
        "LICENSE",
        "README.md",
        "package.json",
        *(f"src/{name}.js" for name in sources),
        *(f"types/{name}.d.ts" for name in sources),
    }


def test_who_installs_it_gets_no_other_package_and_runs_nothing() -> None:
    manifest = json.loads((CLIENT / "package.json").read_text())
    assert not {"dependencies", "optionalDependencies"} & set(manifest)
    optional = {name: {"optional": True} for name in manifest["peerDependencies"]}
    assert manifest["peerDependenciesMeta"] == optional, "npm installs those that are not"
    assert set(manifest["scripts"]) == {"test", "types"}
    assert manifest["exports"]["."]["types"] == "./types/index.d.ts"


def test_the_lock_names_no_address_to_fetch_from() -> None:
    lock = json.loads((CLIENT / "package-lock.json").read_text())
    assert [name for name, entry in lock["packages"].items() if "resolved" in entry] == []
    assert not [name for name, entry in lock["packages"].items() if name and "version" not in entry]


def test_a_frontend_of_wazipers_gets_its_qr_code(node: str, tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path) as redis,
        ServiceProcess(redis.url, partitions=4) as service,
        ThreadPoolExecutor(1) as pool,
        GatewayDouble(service.url, "gateway-1") as gateway,
    ):
        environment = {**node_environment(), "SEKRING_URL": service.url}
        command = [node, "examples/waziper.mjs", "get_qrcode", "session-1"]
        asked = pool.submit(
            subprocess.check_output, command, cwd=CLIENT, env=environment, text=True, timeout=60
        )
        gateway.own("session-1")
        with gateway.renewing():
            assert gateway.next_errand("qr")["instance_id"] == "session-1"
            gateway.show_qr("session-1")
            assert asked.result() == data_url(QR_CODE) + "\n"
        gateway.release("session-1")
