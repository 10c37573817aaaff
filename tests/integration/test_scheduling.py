"""How a server process shares a core among its threads."""

import os
import sys
from pathlib import Path

import pytest

from tests.servers import RedisServer
from tests.serving import ServiceProcess


def process_group(group: int) -> list[Path]:
    """Return the folders in /proc of a group's processes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group:
                found.append(folder)
        except ProcessLookupError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="policies are Linux'")
def test_the_network_does_not_interrupt_the_interpreter(redis_process: RedisServer) -> None:
    with ServiceProcess(redis_process.url) as service:
        policies = {
            (task / "comm").read_text().strip(): os.sched_getscheduler(int(task.name))
            for folder in process_group(service.pid)
            for task in (folder / "task").iterdir()
        }
    # granian's thread for the network is made by the server process, after its policy is set.
    assert policies["tokio-rt-worker"] == os.SCHED_BATCH
