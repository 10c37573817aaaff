"""What a server process does not load."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "process",
    [
        pytest.param("import sekring.lean, sekring.http.app", id="a server process"),
        pytest.param("import sekring.lean, sekring.cli.server", id="its supervisor"),
    ],
)
def test_a_server_process_loads_nothing_in_case_it_is_wanted(process: str) -> None:
    listed = subprocess.check_output(
        [sys.executable, "-c", f"{process}\nimport sys\nprint(*sys.modules)"], text=True
    )
    loaded = set(listed.split())
    assert {"structlog", "redis.asyncio"} <= loaded
    assert not {"rich.traceback", "opentelemetry.sdk.metrics"} & loaded


def test_who_wants_it_loads_it_later() -> None:
    code = (
        "import sekring.lean, rich.traceback, opentelemetry.sdk.metrics as metrics\nmetrics.Meter"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_server_process_that_has_started_looks_for_garbage_again() -> None:
    code = "import gc; gc.disable(); from sekring.http.garbage import settle_garbage as settle"
    subprocess.run([sys.executable, "-c", f"{code}; settle(); assert gc.isenabled()"], check=True)
