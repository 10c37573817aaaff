"""What the page for authors of gateways shows works as it stands."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.replicas import Replica
from tests.servers import RedisServer

PAGE = Path(__file__).parents[2] / "clients" / "README.md"

#: What the examples leave to the reader: a session, and a loop that connects it.
SESSION = """
import asyncio, sys
class Session:
    id = "s"
    def __init__(self, code=0): self.code = code
    async def connect_async(self): raise TimeoutError
    def connect(self): return self.code
    def wait_until_closed(self): pass
"""


@pytest.fixture
def service(redis_server: RedisServer) -> Iterator[Replica]:
    with Replica(redis_server.url, partitions=4) as service:
        yield service


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def run(command: list[str], service: Replica) -> str:
    environment = os.environ | {"SEKRING_URL": service.url}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_three_lines_of_python_report_a_failure(service: Replica) -> None:
    code = SESSION + blocks("python")[0].replace("session.connect()", "session.connect_async()")
    code += "try: asyncio.run(keep_connected(Session()))\nexcept TimeoutError: print('raised')\n"

    assert run([sys.executable, "-c", code], service) == "raised\n"
    seen = service.instance("s")
    assert (seen["failures"], seen["last_failure_kind"]) == (1, "timeout")


def test_the_longer_example_reports_codes_and_connections(service: Replica) -> None:
    code = SESSION + blocks("python")[1].replace("http://localhost:8000", service.url)
    code += "run(Session()); run(Session(402)); breaker.flush(); run(Session())\n"
    code += "connect('here', 'other')\n"

    words = run([sys.executable, "-c", code], service).split()

    assert words[1:] == ["temporary_ban", "open"]
    assert float(words[0]) > 3_600
    seen = service.instance("s")
    assert (seen["failures"], seen["cause"]) == (0, "temporary_ban")
    assert service.instance("other")["connection"] == "connected"


def test_any_other_language_needs_curl_alone(service: Replica) -> None:
    (code,) = blocks("bash")

    said = run(["bash", "-euo", "pipefail", "-c", code], service)

    assert '"permitted":true' in said
    assert said.count('"counted":true') == 2
    assert "transitions of Sekring's circuit breakers" in said
    assert service.instance("6281234567890")["failures"] == 2
    assert service.instance("6289876543210")["connection"] == "connected"


def test_the_page_is_one_page() -> None:
    assert len(PAGE.read_text().splitlines()) <= 90
